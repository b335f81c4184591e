"""Whole numbers as English words, as far as they stand beside their figures: 12 (twelve)."""

import regex

SMALL = regex.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen",
)
TENS = regex.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety")
TOO_LARGE = 10**6


def is_spelled(number: int, words: str) -> bool:
    """Return whether words spell a number below a million: "a hundred" no, "one hundred and two" yes."""
    if not 0 <= number < TOO_LARGE:
        return False
    said = [word for word in regex.findall(r"[a-z]+", words.casefold()) if word != "and"]
    return said == _spell(number)


def _spell(number: int) -> list[str]:
    if number < 20:
        return [SMALL[number]]
    for size, name in ((1_000, "thousand"), (100, "hundred")):
        if number >= size:
            many, rest = divmod(number, size)
            return [*_spell(many), name, *(_spell(rest) if rest else [])]
    ten, rest = divmod(number, 10)
    return [TENS[ten - 2], *([SMALL[rest]] if rest else [])]
