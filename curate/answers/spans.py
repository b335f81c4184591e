r"""Where a text announces its final answer, and what stands there: LaTeX and Markdown taken off.

    "So the answer is **12 hours**. Good luck!"    12 hours
    "... \boxed{\text{(2, 5)}}"                  (2, 5)
    "... #### 72"                                  72

What counts is the last announcement, up to the end of its sentence, line, display or brace; nothing
where that joins another one ("\boxed{5} or \boxed{6}") or is taken back ("Wait, no.").
"""

import unicodedata

import regex

ANNOUNCED = regex.compile(
    r"####|\\boxed\s*\{|\b(?:final )?answer[*_ ]*(?:is|:|=)|\bresult\s*(?:is|:|=)", regex.I
)
DISPLAYED = regex.compile(
    r"[\s:*_]*(?:\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\))[\s.*_]*(?:\n|$)", regex.S
)
SENTENCE = regex.compile(r"[\s:*_]*(.*?)(?:[.!?]?[*_\"')\]]*(?:\n|$)|[.!?][*_\"')\]]*\s)", regex.S)
# Two announcements in a row are a list of answers.
JOINED = regex.compile(
    r"(?:[^.!?\n]|\.\d){0,60}?(?:\b(?:and|or)\b|[,;&])[\s$*(]*(?:the\s+)?(?:final\s+)?"
    r"|[^.!?\n{}]{0,60}\}[\s$]*"
)
TAKEN_BACK = regex.compile(
    r"(?:^|[.!?\n])[\s*_)\]}$]*(?:wait|hmm+|actually|oops|sorry|no(?=,)|correction|scratch that"
    r"|on second thought|let me re-?(?:check|think|consider|do))\b",
    regex.I,
)
SENTENCE_END = regex.compile(r"\n+|(?<=[.!?])(?<!\b(?:no|nr|approx|ca)\.)\s+", regex.I)
# Signs of other scripts and typographies for what ASCII has too.
SIGNS = str.maketrans({
    "\u2212": "-", "\uff0d": "-", "\ufe63": "-", "\u2044": "/", "\uff0f": "/", "\uff0c": ",",
    "\u066c": ",", "\u066b": ".", "\uff0e": ".", "\uff05": "%", "\u066a": "%", "\uff04": "$",
    "\uff08": "(", "\uff09": ")",
})  # fmt: skip
DIGIT = regex.compile(r"[\p{Nd}--[0-9]]", regex.V1)
VULGAR = regex.compile(r"\s*([\u00bc-\u00be\u2150-\u215e])")
RAISED = regex.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")
LOWERED = regex.compile("[\u2080-\u2089]+")
# LaTeX that changes how a text looks and not what it says.
LOOKS = (
    (regex.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}"), r" \1 "),
    (regex.compile(r"\\[dtc]frac\b|\\[dtc]frac(?=\d)"), r"\\frac"),
    (regex.compile(r"\{,\}|,\\!|\\,(?=\d{3}\b)"), ","),
    (regex.compile(r"(?<!\\)\\[,;:! ]|(?<=\S)~|\\q?quad\b"), " "),
    (regex.compile(r"\\(?:left|right)\b(?!\s*\.)"), ""),
    (regex.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree\b"), "°"),
    (regex.compile(r"\\([%$€£#&])"), r"\1"),
    # Between two numbers it is no minus but a range.
    (regex.compile(r"(?<![\w)\]}]\s?)–(?=\s?[\d.\\])"), "-"),
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
    if announced[:-1] and JOINED.fullmatch(text, announced[-2].end(), last.start()):
        return start, start
    place = _announced_by(last, text)
    return (start, start) if TAKEN_BACK.search(text, place[1]) else place


def _announced_by(last: "regex.Match[str]", text: str) -> tuple[int, int]:
    """Return the place of what an announcement announces."""
    start = last.end()
    if last.group().startswith("\\"):
        return _braced(text, start)
    if last.group() == "####":
        end = text.find("\n", start)
        return start, len(text) if end < 0 else end
    if displayed := DISPLAYED.match(text, start):
        return next(displayed.span(i) for i in (1, 2, 3) if displayed[i] is not None)
    sentence = SENTENCE.match(text, start)
    if sentence is None:
        return start, len(text)
    end = sentence.end(1)
    # 5! may be a factorial, and what is asked is no answer.
    marked = text[end : end + 1] == "?" or regex.match(r"[\d)\]}]!", text[end - 1 : end + 1])
    return sentence.start(1), end + bool(marked)


def _braced(text: str, start: int) -> tuple[int, int]:
    """Return the place of what stands before the brace that closes; an empty one if none does."""
    depth = 0
    for brace in regex.finditer(r"\\.|[{}]", text[start:]):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth < 0:
            return start, start + brace.start()
    return start, start


def plain_math(text: str) -> str:
    """Return a text without the LaTeX and Markdown that say nothing, on one line, in ASCII's signs."""
    if not text.isascii():
        text = _plain_signs(text)
    for pattern, replacement in LOOKS:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def _plain_signs(text: str) -> str:
    """Return a text with ASCII's digits and signs: ½ as 1/2, ² as ^{2}, ₂ as _{2}."""
    text = DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text.translate(SIGNS))
    text = VULGAR.sub(lambda part: " " + _compatible(part[1]).replace("\u2044", "/"), text)
    text = RAISED.sub(lambda part: f"^{{{_compatible(part[0])}}}".replace("\u2212", "-"), text)
    return LOWERED.sub(lambda part: f"_{{{_compatible(part[0])}}}", text)


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def bare_span(text: str) -> str:
    """Return an answer without the marks around it: $5$ is 5, and **5 cm.** is 5 cm."""
    text = plain_math(text).lstrip("*_ ").rstrip(" .,;:*_")
    for _ in range(len(WRAPPED)):
        inner = next((match[1] for wrap in WRAPPED if (match := wrap.fullmatch(text))), None)
        if inner is None:
            break
        text = inner.strip().rstrip(" .,;:")
    return text
