r"""Where a text announces its final answer, and what stands there: LaTeX and Markdown taken off.

    "So the answer is **12 hours**. Good luck!"    12 hours
    "... \boxed{\text{(2, 5)}}"                  (2, 5)
    "... #### 72"                                  72

What counts is the last announcement, up to the end of its sentence, line, display or brace.
"""

import regex

ANNOUNCED = regex.compile(
    r"####|\\boxed\s*\{|\b(?:final )?answer[*_ ]*(?:is|:|=)|\bresult\s*(?:is|:|=)", regex.I
)
DISPLAYED = regex.compile(
    r"[\s:*_]*(?:\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\))[\s.*_]*(?:\n|$)", regex.S
)
SENTENCE = regex.compile(r"[\s:*_]*(.*?)(?:[.!?]?[*_\"')\]]*(?:\n|$)|[.!?][*_\"')\]]*\s)", regex.S)
SENTENCE_END = regex.compile(r"\n+|(?<=[.!?])\s+")
# LaTeX that changes how a text looks and not what it says.
LOOKS = (
    (regex.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}"), r" \1 "),
    (regex.compile(r"\\[dtc]frac\b|\\[dtc]frac(?=\d)"), r"\\frac"),
    (regex.compile(r"\{,\}|,\\!|\\,(?=\d{3}\b)"), ","),
    (regex.compile(r"(?<!\\)\\[,;:! ]|~|\\q?quad\b"), " "),
    (regex.compile(r"\\(?:left|right)\b(?!\s*\.)"), ""),
    (regex.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree\b"), "°"),
    (regex.compile(r"\\([%$€£#&])"), r"\1"),
    (regex.compile("[−–](?=\\s?[\\d.\\\\])"), "-"),
)
WRAPPED = (
    regex.compile(r"\$\$(.*)\$\$", regex.S),
    regex.compile(r"\$([^$]*)\$"),
    regex.compile(r"\\\[(.*)\\\]", regex.S),
    regex.compile(r"\\\((.*)\\\)", regex.S),
    regex.compile(r"[*_`\"'“”‘’]+(.*?)[*_`\"'“”‘’]+", regex.S),
    regex.compile(r"\{([^{}]*)\}"),
)


CUT_OFF = regex.compile(r"\.\.|…|\\[lc]?dots\b")


def announced_span(text: str) -> str | None:
    """Return what is announced as the answer, None where nothing is; empty where it never comes."""
    place = announced_range(text)
    return None if place is None else text[slice(*place)]


def announced_range(text: str) -> tuple[int, int] | None:
    """Return start and end of what is announced as the answer, None where nothing is."""
    announced = list(ANNOUNCED.finditer(text))
    if not announced:
        return None
    last, start = announced[-1], announced[-1].end()
    if last.group().startswith("\\"):
        return _braced(text, start)
    if last.group() == "####":
        end = text.find("\n", start)
        return start, len(text) if end < 0 else end
    if displayed := DISPLAYED.match(text, start):
        return next(displayed.span(i) for i in (1, 2, 3) if displayed[i] is not None)
    sentence = SENTENCE.match(text, start)
    return sentence.span(1) if sentence else (start, len(text))


def _braced(text: str, start: int) -> tuple[int, int]:
    """Return the place of what stands before the brace that closes; an empty one if none does."""
    depth = 0
    for brace in regex.finditer(r"\\.|[{}]", text[start:]):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth < 0:
            return start, start + brace.start()
    return start, start


def plain_math(text: str) -> str:
    """Return a text without the LaTeX and Markdown that say nothing, on one line."""
    for pattern, replacement in LOOKS:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def bare_span(text: str) -> str:
    """Return an answer without the marks around it: $5$ is 5, and **5 cm.** is 5 cm."""
    text = plain_math(text).lstrip("*_ ").rstrip(" .,;:*_")
    for _ in range(len(WRAPPED)):
        inner = next((match[1] for wrap in WRAPPED if (match := wrap.fullmatch(text))), None)
        if inner is None:
            break
        text = inner.strip().rstrip(" .,;:")
    return text
