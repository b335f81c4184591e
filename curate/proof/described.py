"""The JSON of what stands beside a verdict: spread of draws, what stages earned, parts of the order."""

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


class PartValues(TypedDict):
    """A part of the order; rows and tokens of its fine-tunes, and what these reach, if there are any."""

    part: int
    first_rank: int
    last_rank: int
    rows: int | None
    tokens: float | None
    mean: NotRequired[float]
    by_seed: NotRequired[Sequence[float]]


class QuantileValues(TypedDict):
    """What the parts of an order show: the sentence alone where nothing was trained.

    correlation, by_seed: of places and gains, so that above 0 higher ranks are better. p: of `orders`
    orders of the parts. least_correlation: which can be shown at all, None where none can.
    """

    metric: str
    unit: str
    rows: int
    parts: Sequence[PartValues]
    trend: str
    sentence: str
    base: NotRequired[float]
    correlation: NotRequired[float]
    p: NotRequired[float]
    orders: NotRequired[int]
    by_seed: NotRequired[Sequence[float]]
    first_over_last: NotRequired[IntervalValues]
    least_correlation: NotRequired[float | None]


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
