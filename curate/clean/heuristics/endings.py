"""Whether a response breaks off."""

import polars as pl

from curate.text.patterns import only

TAIL_CHARS = 40
# A shorter last line is an item, a signature, a verse or a heading, which need no full stop.
LONG_LINE = 60
FENCE = r"(?m)^\s*```"
SENTENCE_END = r"[.!?][\"'”’)\]]*\s|[。！？।؟۔]"
LAST_LINE = r"([^\n]*)\s*\z"
# Items of lists, quotes, code, and lines of dialogues.
ITEM = (
    r"^(?:\t| {4})|^\s*(?:[-*+•|>#/$]|\d+[.):]|[A-Za-z][.)]\s|https?:|[\p{L}\p{N} .'_-]{1,30}:\s)"
)
# A word in small letters, or a sign that leads on: who signs does so in capitals.
OPEN_END = r"(?:\s\p{Ll}[\p{Ll}'’-]*|[,(\[{，、،（「])\s*\z"
# The last sign of an open end, white space left out.
OPEN_SIGN = r"[\p{Ll}'’,(\[{，、،（「-]"
FENCE_SIGN = "```"

SIGNED = r"(?i)(?:sincerely|regards|yours|faithfully|respect|love|wishes|hope|thanks),\s[^.!?\n]+\z"


def find_open_end(response: pl.Expr) -> pl.Expr:
    """Return the last characters of a response that breaks off: in code, or in a long line of prose.

    Prose is a last line of some length that opens no list item, after at least one whole sentence.
    Whether the response is long enough to be judged is up to the caller.
    """
    end = response.str.strip_chars_end().str.slice(-TAIL_CHARS)
    fenced = only(response, response.str.contains(FENCE_SIGN, literal=True))
    in_code = fenced.str.count_matches(FENCE) % 2 == 1
    open_ = only(response, end.str.slice(-1).str.contains(OPEN_SIGN))
    line = open_.str.extract(LAST_LINE, 1)
    in_prose = (
        (line.str.len_chars() >= LONG_LINE)
        & ~line.str.contains(ITEM)
        & open_.str.contains(OPEN_END)
        & open_.str.contains(SENTENCE_END)
    )
    return pl.when(in_code | in_prose).then(end)


def unsigned(end: pl.Expr) -> pl.Expr:
    """Return the last characters of a response that breaks off, null where they are a signature."""
    return pl.when(~end.str.contains(SIGNED)).then(end)
