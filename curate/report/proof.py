"""What the report tells of the proof, read from proof.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

# Below this many seeds, redrawing them says little of how far other seeds would lie apart.
FEW_SEEDS = 5


@dataclass(frozen=True)
class Metric:
    """An arm's mean of one metric, and its value for every seed."""

    name: str
    mean: float
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class Arm:
    """A training set of the proof; rows, tokens and steps are listed by seed."""

    name: str
    rows: tuple[int, ...]
    tokens: tuple[int, ...]
    steps: tuple[int, ...]
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class Comparison:
    """The selection against one control: positive differences mean that the selection is better."""

    control: str
    metric: str
    unit: str
    mean: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    share_better: float
    verdict: str


@dataclass(frozen=True)
class Leak:
    """A training row or target example that holds an eval prompt."""

    row_id: str
    eval_id: str
    place: str
    coverage: float
    shared: str


@dataclass(frozen=True)
class Proof:
    """What proof.json says; `arms` and `comparisons` are empty where the proof was refused."""

    verdict: str
    detail: str
    metric: str | None
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    eval_examples: int
    too_long: int
    seeds: int
    resamples: int
    leaking: Mapping[str, int]
    leaks: tuple[Leak, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of the compared metrics, the deciding one first."""
        return tuple(dict.fromkeys(c.metric for c in self.comparisons))

    @property
    def few_seeds(self) -> bool:
        """Return whether the seeds are too few to show how far seeds lie apart."""
        return self.seeds < FEW_SEEDS


def read_proof(path: Path) -> Proof | None:
    """Return what a proof.json says, None if there is none."""
    if not path.is_file():
        return None
    told = orjson.loads(path.read_bytes())
    settings, leaks = told["settings"], told["leaks"]
    return Proof(
        verdict=told["verdict"],
        detail=told.get("detail", told["sentence"]),
        metric=told.get("metric"),
        arms=tuple(_arm(arm) for arm in told.get("arms", [])),
        comparisons=tuple(_comparison(c) for c in told.get("comparisons", [])),
        eval_examples=told.get("eval_examples", 0),
        too_long=told.get("eval_examples_too_long", 0),
        seeds=settings["seeds"],
        resamples=settings["resamples"],
        leaking=leaks["leaking_rows"],
        leaks=tuple(
            Leak(hit["row_id"], hit["eval_id"], hit.get("place", ""), hit["coverage"], hit["span"])
            for hit in leaks["examples"]
        ),
    )


def _arm(told: Mapping[str, Any]) -> Arm:
    metrics = (Metric(name, told[name], tuple(seeds)) for name, seeds in told["by_seed"].items())
    return Arm(
        told["arm"],
        tuple(told["rows"]),
        tuple(told["tokens"]),
        tuple(told["steps"]),
        tuple(sorted(metrics, key=lambda metric: metric.name)),
    )


def _comparison(told: Mapping[str, Any]) -> Comparison:
    return Comparison(
        told["control"],
        told["metric"],
        told["unit"],
        told["mean_difference"],
        told["low"],
        told["high"],
        tuple(told["by_seed"]),
        told["share_of_examples_better"],
        told["verdict"],
    )
