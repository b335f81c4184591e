"""Marked-up texts as a reader sees them: HTML entities, tags, Markdown and escapes taken away.

A prompt that was scraped from a page, rendered for one or escaped for a file is still that prompt. What
is looked for and what it is looked for in are read through here, once and before anything else.
"""

import html

import polars as pl

# Texts with any of these are read; most have none.
MARKUP = (
    r"&#?\w+;|</?[A-Za-z]|\*\*|(?:^|[\s(\"'“‘])\*\S|\\[^a-zA-Z0-9\s]|\\[rn]"
    r"|[：\u2010-\u2013\u2212]|\]\(| --? "
)
ENTITY = r"&#?\w+;"
# An entity that was escaped once more.
TIMES = 2
BOLD = r"\*\*([^*\n]*\p{L}[^*\n]*)\*\*"
EMPHASIS = r"(^|[\s(\"'“‘])\*{1,3}([^\s*](?:[^*\n]*[^\s*])?)\*{1,3}($|[\s).,;:!?\"'”’])"
LINK = r"!?\[([^\[\]\n]+)\]\([^()\s]+\)"
INLINE_TAG = r"(?i)</?(?:a|b|code|em|font|i|mark|s|small|span|strong|sub|sup|u)(?:\s[^<>]*)?>"
BLOCK_TAG = r"(?i)</?(?:br|div|h[1-6]|hr|li|ol|p|pre|table|tbody|td|th|tr|ul)(?:\s[^<>]*)?/?>"
# Followed by a small letter they may be a sign of LaTeX: \nu.
LINE_BREAK = r"(?:\\r|\\n)+([^a-z\\]|$)"
# Between words, where a sum has none.
DASH = r"(\p{L}{2}[.)]?)[ \t]+--?[ \t]+(\p{L}{2})"
ESCAPE = r"\\([*_#&%$~'\"!?.>\-])"


def without_markup(texts: pl.Series) -> pl.Series:
    """Return texts without markup, those that have some."""
    marked = texts.str.contains(MARKUP).arg_true()
    if not len(marked):
        return texts
    return texts.scatter(marked, _plain(_decoded(texts.gather(marked))))


def _decoded(texts: pl.Series) -> pl.Series:
    for _ in range(TIMES):
        some = texts.str.contains(ENTITY).arg_true()
        texts = texts.scatter(some, [html.unescape(text) for text in texts.gather(some)])
    return texts


def _plain(texts: pl.Series) -> pl.Series:
    untagged = texts.str.replace_all(INLINE_TAG, "").str.replace_all(BLOCK_TAG, "\n")
    unmarked = untagged.str.replace_all(LINK, "$1").str.replace_all(BOLD, "$1")
    # Twice, since the space behind one word stands before the next.
    for _ in range(2):
        unmarked = unmarked.str.replace_all(EMPHASIS, "$1$2$3")
    unescaped = unmarked.str.replace_all(LINE_BREAK, "\n$1").str.replace_all(ESCAPE, "$1")
    # A colon of full width has no space behind it.
    return (
        unescaped.str.replace_all("：", ": ", literal=True)
        .str.replace_all("[\u2010-\u2013\u2212]", "-")
        .str.replace_all(DASH, "$1 — $2")
    )
