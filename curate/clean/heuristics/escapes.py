r"""Escapes that stand in a text as they were typed: \n for a line break, \" for a quote, \u00e9."""

import polars as pl

from curate.clean.heuristics.signs import OF_CODE, without_code
from curate.text.patterns import EDGE, find_on_some, piece

# \nu and \times are LaTeX's, C:\new is a path: a small letter behind \n or \t says nothing, unless a
# sentence ends before it.
ESCAPE = "|".join(
    [
        r"\\(?:r\\)?n(?:\\n)*(?:[^a-z\\]|\z)",
        r"(?:[.!?;,][\"”)]?|[a-z]{2}:)\\n[a-z]",
        r"\\t(?:[^a-z\\]|\z)",
        r"(?:\A|[^\\])\\\"",
        r"[a-z]\\'(?:s|t|re|ve|ll|d|m)(?-u:\b)",
        r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}",
    ]
)
OF_ESCAPES = (
    OF_CODE + rf"|(?i){EDGE}(?:strings?|escap\w*|newlines?|backslash\w*|characters?|unicode){EDGE}"
)
# Code that is not set as such.
CALL = (
    r"(?:print\w*|console\.log|println!?|cout|echo|format|join|split|replace|re\.\w+|System\.out\.\w+)\s*"
    r"(?:\(|<<|\"|')"
)


def find_escape(rows: pl.DataFrame) -> pl.Series:
    """Return the first literal escape of each row; null where it speaks of code or holds some.

    Args:
        rows: prompt and response.
    """
    whole = pl.concat_str("prompt", "response", separator="\n")
    of_code = whole.str.contains(OF_ESCAPES) | whole.str.contains(CALL)
    typed = pl.any_horizontal(pl.col("prompt", "response").str.contains("\\", literal=True))
    escape = piece(without_code(whole), ESCAPE).str.strip_chars()
    return find_on_some(rows, typed, escape, unless=of_code)
