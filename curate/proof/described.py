"""The JSON of what stands beside a verdict: the spread of draws, and what stages earned."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from curate.proof.values import WatchSetValues


class SpreadValues(TypedDict):
    """How far random draws lie apart, and the difference that they let a proof show.

    step: by how much draws are taken to differ at least; older files have none.
    """

    draws: int
    mean: float
    sd: float
    low: float
    high: float
    metric: str
    alpha: float
    factor: float
    step: NotRequired[float]
    detectable: float
    detectable_low: float
    detectable_high: float


class IntervalValues(TypedDict):
    """A difference with its 95 % interval."""

    difference: float
    low: float
    high: float


class StageValues(TypedDict):
    """What a stage did to rows.

    new_rows: that it made. back: rows that are selected from without it alone. unjudged: later stages
    that have not judged these. changed: rows of the selection that are others without it. leaking: of
    these, how many hold prompts of eval or watch sets. guards: what it keeps out.
    """

    stage: str
    dropped: int
    new_rows: int
    back: int
    unjudged: Sequence[str]
    guards: str | None
    changed: int
    leaking: int


class EarnedValues(StageValues):
    """What a stage earned; nothing where the same rows are selected without it, as `note` says."""

    earned: IntervalValues | None
    over_random: float | None
    note: str | None


class AblationValues(TypedDict):
    """What the stages of a recipe earned."""

    metric: str
    unit: str
    control: str
    trainings: int
    compared: int
    spread: float
    over_random: float
    stages: Sequence[EarnedValues]
    sentence: NotRequired[str]


class StageBill(TypedDict):
    """What a stage took."""

    seconds: float
    calls: NotRequired[int]


class CountedSet(WatchSetValues):
    """A watch set with its number of examples."""

    examples: int
