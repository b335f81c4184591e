"""Options that a prompt lists below its question, one a line.

A) Rhine
B) Alps
"""

import regex

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
OPTION = regex.compile(r"^[ \t]*[-*]?[ \t]*\(?([A-Z])[).:][ \t]+(\S.*)$", regex.M)
FEWEST = 2


def split_options(prompt: str) -> tuple[str, list[str]]:
    """Return a prompt without its options, and these; only A, B, C ... in their order are some."""
    lettered = list(OPTION.finditer(prompt))
    letters = [match.group(1) for match in lettered]
    if len(lettered) < FEWEST or letters != list(LETTERS[: len(lettered)]):
        return prompt, []
    bare = OPTION.sub("", prompt)
    return regex.sub(r"\n{2,}", "\n", bare).strip(), [match.group(2).strip() for match in lettered]
