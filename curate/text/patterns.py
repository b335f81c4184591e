"""What patterns of text are made of, for Polars' engine, which takes linear time on any text.

Word boundaries are those of ASCII: those of Unicode make the engine ten times as slow on a text with one
letter beyond.
"""

import polars as pl

EDGE = r"(?-u:\b)"


def in_ascii(pattern: str) -> str:
    r"""Return a pattern whose \s and \w are ASCII's: those of Unicode take ten times as long."""
    for short, long in ((r"\s", r"[ \t\n\r]"), (r"\w", "[A-Za-z0-9_]"), (r"\W", "[^A-Za-z0-9_]")):
        pattern = pattern.replace(short, long)
    return pattern


def any_word(*alternatives: str) -> str:
    """Return the pattern of any of some words, with boundaries."""
    return f"{EDGE}(?:{'|'.join(alternatives)}){EDGE}"


def only(text: pl.Expr, where: pl.Expr) -> pl.Expr:
    """Return a text where a condition holds, and an empty one elsewhere, which takes no time to read."""
    return pl.when(where).then(text).otherwise(pl.lit(""))


def piece(text: pl.Expr, pattern: str) -> pl.Expr:
    """Return the first piece of a text that the pattern matches, null where there is none."""
    return text.str.extract(pattern, 0)


def find_on_some(
    rows: pl.DataFrame, maybe: pl.Expr, matched: pl.Expr, unless: pl.Expr | None = None
) -> pl.Series:
    """Return what an expression finds in the rows where a cheaper condition holds; null elsewhere.

    Args:
        rows: the texts.
        maybe: the cheaper condition.
        matched: a piece, null where there is none.
        unless: where this holds nothing counts; it may read the piece, as the column matched.
    """
    # Patterns that no row is asked for need not be built, which takes longer than to match them.
    pieces = pl.Series("matched", [None] * rows.height, dtype=pl.String)
    at = rows.select(maybe.fill_null(value=False)).to_series().arg_true()
    if len(at):
        pieces = pieces.scatter(at, rows[at].select(matched).to_series())
    hits = pieces.is_not_null().arg_true()
    if unless is None or not len(hits):
        return pieces
    counts = (
        rows[hits].with_columns(pieces[hits]).select(~unless.fill_null(value=False)).to_series()
    )
    return pieces.scatter(hits.filter(~counts), None)
