"""What the report tells of watch sets and of groups of eval examples, read from proof.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rise:
    """How much worse than the base a selection does, and what random draws do.

    difference, half: against the mean of the draws, and what another draw stays within; positive
    differences mean that the selection does less harm. by_arm: the rise of each arm.
    """

    mean: float
    low: float
    high: float
    difference: float
    half: float
    against_random: str
    by_arm: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class WatchedSet:
    """A verdict on a watch set; `rise` is None where nothing could be measured."""

    source: str
    metric: str
    margin: float
    alpha: float
    examples: int
    verdict: str
    sentence: str
    rise: Rise | None


@dataclass(frozen=True)
class Gain:
    """How much better the selection does than something else, with its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupGains:
    """Gains on the eval examples of one origin or source; None where these are too few."""

    name: str
    examples: int
    unit: str
    random: Gain | None
    base: Gain | None


def read_watched(lines: Sequence[Mapping[str, Any]]) -> tuple[WatchedSet, ...]:
    """Return the verdicts on watch sets from `watch` of a proof.json."""
    return tuple(
        WatchedSet(
            line["source"],
            line["metric"],
            line["margin"],
            line["alpha"],
            line["examples"],
            line["verdict"],
            line["sentence"],
            _rise(line) if "rise" in line else None,
        )
        for line in lines
    )


def _rise(line: Mapping[str, Any]) -> Rise:
    random = line["random"]
    arms = tuple((arm, rise) for arm, rise in line["rises"].items() if arm != "base")
    return Rise(
        line["rise"],
        line["low"],
        line["high"],
        random["difference"],
        random["half"],
        random["verdict"],
        arms,
    )


def read_groups(lines: Sequence[Mapping[str, Any]]) -> tuple[GroupGains, ...]:
    """Return results by groups of eval examples from `groups` of a proof.json."""
    return tuple(
        GroupGains(
            line["group"],
            line["examples"],
            line["unit"],
            Gain(**line["random"]) if line["random"] else None,
            Gain(**line["base"]) if line["base"] else None,
        )
        for line in lines
    )
