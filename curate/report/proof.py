"""What the report tells of the proof, read from proof.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from curate.proof.contamination import leaks_clause
from curate.proof.described import SpreadValues
from curate.proof.questions import question_sentences
from curate.proof.spread import tie_sentence
from curate.proof.validity import validity_sentence
from curate.proof.verdict import RULE
from curate.report.curve import AbilityCurves, read_curve
from curate.report.watch import GroupGains, WatchedSet, read_groups, read_watched

DRAWN = 2
# What an earlier version wrote, which judged by an interval of the mean.
EARLIER_RULE = "earlier rule"
EARLIER = (
    "This proof was judged by an earlier version, whose rule called random sets better or worse far "
    "more often than it said; its figures are in proof.json. Run the recipe again to have it judged."
)


@dataclass(frozen=True)
class ArmMetric:
    """An arm's mean of one metric, and its value for every fine-tune."""

    name: str
    mean: float
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class ArmPanel:
    """A training set of the proof; rows, tokens and steps are listed by fine-tune."""

    name: str
    rows: tuple[int, ...]
    tokens: tuple[int, ...]
    steps: tuple[int, ...]
    metrics: tuple[ArmMetric, ...]


@dataclass(frozen=True)
class ControlComparison:
    """The selection against one control: positive differences mean that the selection is better.

    half: a random draw hardly ever lies further from the mean of the draws. by_draw: the draws' own
    differences to that mean. low, high: the estimate. another: what another random set would score.
    examples: on how many it was measured; None in proofs of earlier versions.
    verdict: None for a metric that decides nothing.
    """

    control: str
    metric: str
    unit: str
    mean: float
    half: float
    low: float
    high: float
    another: tuple[float, float]
    by_draw: tuple[float, ...]
    share_better: float
    verdict: str | None
    examples: int | None = None


@dataclass(frozen=True)
class Power:
    """How far random draws lie apart, and what difference so many of them can show.

    tie: what is to be said instead where all of them score the same.
    """

    draws: int
    spread: float
    spread_range: tuple[float, float]
    detectable: float
    detectable_range: tuple[float, float]
    tie: str | None = None


@dataclass(frozen=True)
class RankView:
    """The selection's place among itself and the draws, and its exact p value."""

    place: int
    of: int
    p: float


@dataclass(frozen=True)
class Leak:
    """A training row or target example that holds an eval prompt."""

    row_id: str
    eval_id: str
    place: str
    coverage: float
    shared: str


@dataclass(frozen=True)
class MethodVerdict:
    """The verdict on one of several methods judged together; by control, difference and half.

    watched: its own verdicts on watch sets.
    """

    name: str
    verdict: str
    differences: tuple[tuple[str, float, float], ...]
    watched: tuple[WatchedSet, ...] = ()


@dataclass(frozen=True)
class ArmDifference:
    """How far one arm lies from another, with a 95 % interval and no verdict."""

    arm: str
    against: str
    unit: str
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class ProofPanel:
    """What proof.json says; `arms` and `comparisons` are empty where nothing was measured."""

    verdict: str
    detail: str
    metric: str | None
    arms: tuple[ArmPanel, ...]
    comparisons: tuple[ControlComparison, ...]
    eval_examples: int
    too_long: int
    seeds: int
    alpha: float | None
    judged: int
    control: str | None
    power: Power | None
    rank: RankView | None
    validity: str | None
    generation: str | None
    shared_control: str | None
    methods: tuple[MethodVerdict, ...]
    beside: tuple[ArmDifference, ...]
    curve: AbilityCurves | None
    has_quantiles: bool
    questions: tuple[str, ...]
    style: str | None
    leaking: Mapping[str, int]
    leaking_sets: str
    watched: tuple[WatchedSet, ...]
    groups: tuple[GroupGains, ...]
    leaks: tuple[Leak, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of the compared metrics, the deciding one first."""
        return tuple(dict.fromkeys(c.metric for c in self.comparisons))

    @property
    def watched_by_method(self) -> tuple[tuple[str, WatchedSet], ...]:
        """Return every verdict on a watch set, with the method where several are judged together."""
        several = [(method.name, line) for method in self.methods for line in method.watched]
        return tuple(several) or tuple(("", line) for line in self.watched)

    @property
    def drawn_metrics(self) -> tuple[str, ...]:
        """Return the metrics that have a figure: the deciding one and the next."""
        return self.metrics[:DRAWN]


def read_proof(path: Path) -> ProofPanel | None:
    """Return what a proof.json says, None if there is none."""
    if not path.is_file():
        return None
    proof = orjson.loads(path.read_bytes())
    leaks = proof["leaks"]
    # Proofs that measured nothing judged by no rule.
    earlier = "comparisons" in proof and proof.get("rule") != RULE
    now = {} if earlier else proof
    return ProofPanel(
        verdict=EARLIER_RULE if earlier else proof["verdict"],
        detail=EARLIER if earlier else proof.get("detail", proof["sentence"]),
        metric=now.get("metric"),
        arms=tuple(_arm(arm) for arm in now.get("arms", [])),
        comparisons=tuple(_comparison(c) for c in now.get("comparisons", [])),
        eval_examples=now.get("eval_examples", 0),
        too_long=now.get("eval_examples_too_long", 0),
        seeds=proof["settings"]["seeds"],
        alpha=now.get("alpha"),
        judged=now.get("judged", 1),
        control=now.get("control"),
        power=_power(now["spread"]) if "spread" in now else None,
        rank=RankView(**now["rank"]) if "rank" in now else None,
        validity=validity_sentence(**v) if (v := now.get("score_validity")) else None,
        generation=now.get("generation"),
        shared_control=shared["sentence"] if (shared := now.get("shared_control")) else None,
        methods=tuple(_judged(line) for line in now.get("methods", [])),
        beside=tuple(ArmDifference(**pair) for pair in now.get("others", [])),
        curve=read_curve(now.get("curve")),
        has_quantiles="quantiles" in now,
        questions=tuple(question_sentences(q)) if (q := now.get("questions")) else (),
        style=style["sentence"] if (style := now.get("style")) else None,
        leaking=leaks["leaking_rows"],
        leaking_sets=leaks_clause(leaks),
        watched=read_watched(now.get("watch", [])),
        groups=read_groups(now.get("groups", [])),
        leaks=tuple(
            Leak(hit["row_id"], hit["eval_id"], hit.get("place", ""), hit["coverage"], hit["span"])
            for hit in leaks["examples"]
        ),
    )


def _judged(line: Mapping[str, Any]) -> MethodVerdict:
    differences = ((c["control"], c["mean_difference"], c["half"]) for c in line["comparisons"])
    watched = read_watched(line.get("watch", []))
    return MethodVerdict(line["method"], line["verdict"], tuple(differences), watched)


def _power(spread: SpreadValues) -> Power:
    return Power(
        spread["draws"],
        spread["sd"],
        (spread["low"], spread["high"]),
        spread["detectable"],
        (spread["detectable_low"], spread["detectable_high"]),
        None if spread["sd"] else tie_sentence(spread, spread["factor"]),
    )


def _arm(arm: Mapping[str, Any]) -> ArmPanel:
    metrics = (ArmMetric(name, arm[name], tuple(seeds)) for name, seeds in arm["by_seed"].items())
    return ArmPanel(
        arm["arm"],
        tuple(arm["rows"]),
        tuple(arm["tokens"]),
        tuple(arm["steps"]),
        tuple(sorted(metrics, key=lambda metric: metric.name)),
    )


def _comparison(comparison: Mapping[str, Any]) -> ControlComparison:
    low, high = comparison["another_draw"]
    return ControlComparison(
        comparison["control"],
        comparison["metric"],
        comparison["unit"],
        comparison["mean_difference"],
        comparison["half"],
        comparison["estimate"]["low"],
        comparison["estimate"]["high"],
        (low, high),
        tuple(comparison["by_draw"]),
        comparison["share_of_examples_better"],
        comparison["verdict"],
        comparison.get("examples"),
    )
