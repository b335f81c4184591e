"""A line of an estimate: a stage, how many rows it reads at most, and how long that takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from curate.core.workload import Workload
from curate.estimate.pace import Range


@dataclass(frozen=True)
class EstimateLine:
    """One stage of the estimate; rows is an upper bound, seconds are for that many rows, roughly.

    up_to: a model makes some of the rows, so that there may be far fewer. For the making itself the
    tokens are the most that can be written, and seconds are not told. asks: a model is called for the
    rows, whose seconds are not told either.
    """

    stage: str
    rows: int
    does: str
    tokens: int = 0
    seconds: Range = field(default_factory=Range)
    up_to: bool = False
    asks: bool = False


def calls_sentences(work: Workload) -> list[str]:
    """Return what is to be told of the calls of a language model, nothing where there are none."""
    return [f"at most {work.calls:,} calls of a model"] if work.calls else []


def minutes_range(lines: Sequence[EstimateLine]) -> tuple[float, float]:
    """Return least and most minutes of an estimate whose stages drop no row."""
    total = sum((line.seconds for line in lines), Range())
    return total.low / 60, total.high / 60
