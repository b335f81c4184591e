"""Charts of the report as data: what is drawn, and the words for those who do not see it."""

from dataclasses import dataclass

from curate.core.histogram_bins import HistogramBin


@dataclass(frozen=True)
class Histogram:
    """Bins of one value, with a dashed line at the threshold; `words` for those who do not see it."""

    bins: tuple[HistogramBin, ...]
    title: str
    words: str
    threshold: float | None = None


@dataclass(frozen=True)
class Histograms:
    """Small histograms side by side, each with a title."""

    panels: tuple[tuple[str, tuple[HistogramBin, ...]], ...]
    words: str


@dataclass(frozen=True)
class CurveChart:
    """A line through points, and this run's own point with its label."""

    points: tuple[tuple[float, float], ...]
    own: tuple[float, float]
    own_label: str
    x_title: str
    y_title: str
    words: str


@dataclass(frozen=True)
class ReliabilityChart:
    """How often what is told with a confidence is right: points of (confidence, share right)."""

    points: tuple[tuple[float, float], ...]
    words: str


@dataclass(frozen=True)
class Strip:
    """A line of dots and their mean."""

    name: str
    values: tuple[float, ...]
    mean: float | None = None


@dataclass(frozen=True)
class Strips:
    """Strips of dots over one axis, with a dashed line at a limit and a thin one at zero."""

    strips: tuple[Strip, ...]
    title: str
    words: str
    limit: float | None = None
    zero: bool = False


@dataclass(frozen=True)
class Dumbbell:
    """Two values of one name: one of all rows (grey), one of the selection (in colour)."""

    name: str
    all_rows: float
    selected: float


@dataclass(frozen=True)
class Dumbbells:
    """Pairs of values joined by a line, one below the other, with a dashed line at a limit."""

    pairs: tuple[Dumbbell, ...]
    words: str
    title: str = ""
    limit: float | None = None
    shares: bool = False


@dataclass(frozen=True)
class SplitHistogram:
    """Two histograms of one value, of the selected rows and of the others: bins of (low, high, n, n).

    cut: the lowest selected value, a dashed line.
    """

    bins: tuple[tuple[float, float, int, int], ...]
    cut: float
    title: str
    words: str


@dataclass(frozen=True)
class CountBars:
    """A bar for each name as long as its count, and a word of its own at the right end."""

    lines: tuple[tuple[str, int, str], ...]
    count_title: str
    word_title: str
    words: str


Chart = (
    Histogram
    | Histograms
    | CurveChart
    | ReliabilityChart
    | Strips
    | Dumbbells
    | SplitHistogram
    | CountBars
)
