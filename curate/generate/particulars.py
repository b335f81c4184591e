"""Particulars of a text, which other words for it must keep: names, code, links, what is denied.

Ours. Names are words with a capital within a sentence, so none are seen in scripts without case, and
negations are those of English.
"""

from collections import Counter

import regex

WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{M}\p{N}'’-]*")
# What stands before the first word of a sentence, a line, a quotation or an item.
OPENS = regex.compile(r"(?:^|[.!?:\n])[\s\"'“‘«(\[*#-]*$")
NEGATION = regex.compile(
    r"\b(?:no|not|never|none|nobody|nothing|nowhere|neither|nor|without|cannot)\b|n['’]t\b", regex.I
)
CODE = regex.compile(r"```.*?```|`[^`\n]+`|https?://[^\s)>\]]+", regex.S)


def count_names(source: str, paraphrase: str) -> tuple[Counter[str], Counter[str]]:
    """Return how often each name of either text is in both, wherever in a sentence it stands."""
    names = find_names(source) | find_names(paraphrase)
    counted = [
        Counter(word for word in WORD.findall(text) if word in names)
        for text in (source, paraphrase)
    ]
    return counted[0], counted[1]


def find_names(text: str) -> set[str]:
    """Return the words with a capital that do not open a sentence, and those with one inside."""
    names = set()
    for match in WORD.finditer(text):
        word = match.group()
        inner = regex.search(r"\p{Lu}", word[1:]) is not None
        opens = OPENS.search(text, max(match.start() - 8, 0), match.start()) is not None
        within = word[0].isupper() and len(word) > 1 and not word.startswith(("I'", "I’"))
        if inner or (within and not opens):
            names.add(word)
    return names
