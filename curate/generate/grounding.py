"""Grounding: whether texts bear an answer out, and whether they may hold it at all."""

from itertools import pairwise

from curate.generate.novelty import word_units
from curate.generate.sift import numbers_of
from curate.text.words import is_character

# Words so short say little about what an answer holds.
TELLING = 4


def unsupported(answer: str, evidence: str, least: float) -> str | None:
    """Return what of an answer its evidence lacks, None if it bears the answer out.

    All numbers have to be in it, and of the answer's telling words at least a share.
    """
    source_numbers = set(numbers_of(evidence))
    strange = [number for number in numbers_of(answer) if number not in source_numbers]
    if strange:
        return f"the number {strange[0]} is not in the passages"
    telling = telling_words(answer)
    share = len(telling & telling_words(evidence)) / len(telling) if telling else 1.0
    return None if share >= least else f"{share:.0%} of its words are in the passages"


def telling_words(text: str) -> set[str]:
    """Return the words of four letters or more, and pairs of characters where words have no spaces."""
    words = word_units(text)
    pairs = {a + b for a, b in pairwise(words) if is_character(a) and is_character(b)}
    return pairs | {word for word in words if len(word) >= TELLING and not is_character(word)}


class AnswerTraces:
    """What an answer says that its question does not: by this a text may hold the answer.

    Args:
        least: share of these words, beside all of the numbers, with which a text may hold it.
    """

    def __init__(self, question: str, answer: str, least: float) -> None:
        self.least = least
        self.numbers = set(numbers_of(answer)) - set(numbers_of(question))
        self.words = telling_words(answer) - telling_words(question)

    @property
    def telling(self) -> bool:
        """Return whether there are any: of a yes or a no, texts cannot tell."""
        return bool(self.numbers or self.words)

    def may_be_in(self, text: str) -> bool:
        """Return whether a text has all of the numbers and at least the share of the words."""
        if not self.telling or not self.numbers <= set(numbers_of(text)):
            return False
        return len(self.words & telling_words(text)) >= self.least * len(self.words)
