"""The JSON of a proof's settings, as keys of cached calls and proof.json have it."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypeAlias, TypedDict

from curate.core.jsontypes import JSON
from curate.models.lora_values import LoraValues

# A recipe's `prove.metric`, or that of a watch set: a name, or what is asked of written answers.
MetricSetting: TypeAlias = str | Mapping[str, JSON]


class NoveltyValues(TypedDict):
    """The recipe's `prove.novelty`."""

    texts: int
    tokens: int
    start: str
    iterative: bool
    alpha: float
    gamma: float


class ArmValues(TypedDict):
    """An arm of a file's rows in the recipe's `prove.arms`; where they lie is no part of a verdict."""

    name: str


class ProofValues(TypedDict):
    """The recipe's `prove`; an exploration of novelty is no part of the proof's own key."""

    draws: int | str
    seeds: int
    strict: bool
    arms: Sequence[str | ArmValues]
    then: JSON
    base: str | None
    curve: int | None
    quantiles: int | None
    ablate: bool
    metric: MetricSetting
    tasks: Sequence[str | dict[str, JSON]]
    allow_leaks: bool
    lora: LoraValues
    novelty: NotRequired[NoveltyValues]
    written: int
    keep: bool
    # Of a proof by preference pairs alone.
    objective: NotRequired[str]
    beta: NotRequired[float]


def learns_pairs(prove: ProofValues) -> bool | None:
    """Return whether a proof is by preference pairs; None if not, which is in no key."""
    return "beta" in prove or None


def row_tokens(prove: ProofValues) -> int:
    """Return how many tokens of a row are trained on at most: of a pair, those of both answers."""
    return prove["lora"]["max_length"] * (2 if "beta" in prove else 1)


def tuning_of(prove: ProofValues) -> dict[str, object]:
    """Return how models are tuned: the LoRA settings, and beta of a proof by preference pairs."""
    return {**prove["lora"], **({"beta": prove["beta"]} if "beta" in prove else {})}


class WatchSetValues(TypedDict):
    """A watch set as the proof judges it: where its rows come from, which fall is no harm, by what."""

    source: str
    margin: float
    metric: MetricSetting
