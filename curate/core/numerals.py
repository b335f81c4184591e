"""Numbers as people read them: signs, percentages, ratios, durations, memory."""

import math

FRACTIONS = {
    2: "half",
    3: "third",
    4: "quarter",
    5: "fifth",
    10: "tenth",
    20: "twentieth",
    100: "hundredth",
}
FRACTION_ERROR = 0.1


def overlap(value: float | None) -> str:
    """Return a similarity with two decimals, or a dash for none."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def correlation(value: float | None) -> str:
    """Return a correlation with its sign and two decimals, or a dash for none."""
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


def fraction(share: float) -> str:
    """Return a share of a whole as one says it: tenth, or 12 %."""
    parts = next((n for n in FRACTIONS if abs(share * n - 1) <= FRACTION_ERROR), None)
    return FRACTIONS[parts] if parts else percent(share)


def similarity(value: float | None, *, fixed: bool = False) -> str:
    """Return a similarity with four decimals, without zeros at the end if not fixed; a dash for none.

    It is cut, not rounded: what lies below a limit looks so.
    """
    if value is None:
        return "–"
    cut = f"{math.floor(value * 10_000 + 1e-6) / 10_000:.4f}".replace("-", "−")
    return cut if fixed else cut.rstrip("0").rstrip(".")


def number(value: float | None) -> str:
    """Return a count with thousands separators, or a dash for none."""
    return "–" if value is None else f"{value:,.0f}".replace("-", "−")


def counted(value: int, one: str, many: str = "") -> str:
    """Return a number of things: "1 row", "2,000 rows"."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def significant(value: float | None) -> str:
    """Return three significant digits, or a dash for none."""
    if value is None or value != value:
        return "–"
    return "0" if value == 0 else f"{value:#.3g}".rstrip(".").replace("-", "−")


def signed(value: float | None) -> str:
    """Return a difference with its sign and three significant digits."""
    text = significant(value)
    return text if value is None or not value > 0 else f"+{text}"


def measure(value: float | None) -> str:
    """Return a loss or score with four decimals, or a dash for none."""
    return "–" if value is None or value != value else f"{value:.4f}".replace("-", "−")


def percent(value: float | None) -> str:
    """Return a share as a percentage."""
    if value is None:
        return "–"
    hundredths = 100 * value
    if 0 < hundredths < 0.005:
        return "< 0.01\u202f%"
    digits = 0 if hundredths in (0, 100) else 1 if hundredths >= 1 else 2
    return f"{hundredths:.{digits}f}\u202f%"


def ratio(value: float | None) -> str:
    """Return how many times as frequent something is."""
    return "–" if value is None else f"{value:.2f}\u202f×" if value < 10 else f"{value:.1f}\u202f×"


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if 0 < seconds < 0.01:
        return "< 0.01\u202fs"
    if seconds < 60:
        return f"{seconds:.2f}\u202fs" if seconds < 10 else f"{seconds:.1f}\u202fs"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u202fmin {rest}\u202fs"
    return f"{minutes // 60}\u202fh {minutes % 60}\u202fmin"


def memory(mebibytes: float) -> str:
    """Return MiB as MiB or GiB."""
    if mebibytes < 1024:
        return f"{mebibytes:.0f}\u202fMiB"
    return f"{mebibytes / 1024:.2f}\u202fGiB"


def span(values: list[int] | tuple[int, ...]) -> str:
    """Return the values of all fine-tunes: one number if they agree, else smallest to largest."""
    if not values:
        return "–"
    low, high = min(values), max(values)
    return number(low) if low == high else f"{number(low)}–{number(high)}"


def file_size(count: float) -> str:
    """Return a number of bytes in decimal units, as file managers do."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            digits = 1 if unit != "bytes" and count < 10 else 0
            return f"{count:.{digits}f}\u202f{unit}"
        count /= 1000
    return f"{count:.1f}\u202fGB"
