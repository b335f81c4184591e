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
    announced = list(ANNOUNCED.finditer(text))
    if not announced:
        return None
    last, rest = announced[-1], text[announced[-1].end() :]
    if last.group().startswith("\\"):
        return _braced(rest)
    if last.group() == "####":
        return rest.split("\n", 1)[0]
    displayed = DISPLAYED.match(rest)
    if displayed:
        return next(part for part in displayed.groups() if part is not None)
    sentence = SENTENCE.match(rest)
    return sentence[1] if sentence else rest


def _braced(text: str) -> str:
    """Return what stands before the brace that closes; nothing if none does."""
    depth = 0
    for brace in regex.finditer(r"\\.|[{}]", text):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth < 0:
            return text[: brace.start()]
    return ""


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
