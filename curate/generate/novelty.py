"""How new a text is: its largest ROUGE-L against texts that are there already.

ROUGE-L (Lin 2004): F1 = 2 LCS / (m + n), with LCS the longest common subsequence of two texts of m and
n words. Self-Instruct keeps an instruction whose largest F1 is at most 0.7 (Wang et al. 2022,
arXiv:2212.10560). Words are runs of letters and digits in any script, case folded, and single characters
where a script puts no space between words (`curate.text.words`); the original keeps those of a-z and 0-9
alone and so sees nothing of other scripts.

Each word becomes one character of a string, and 2 LCS / (m + n) is the normalised indel similarity,
which rapidfuzz computes 64 words at a time.
"""

from collections.abc import Iterable

import regex
from rapidfuzz.distance import Indel
from rapidfuzz.process import extractOne

from curate.text.words import cased_words

WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
# Code points that are no characters of their own cannot stand in a string.
SURROGATES = range(0xD800, 0xE000)
CODES = 0x110000 - len(SURROGATES)


def words_of(text: str) -> list[str]:
    """Return the runs of letters and digits of a text, case folded, whatever its script."""
    return WORD.findall(text.casefold())


def word_units(text: str) -> list[str]:
    """Return the words of a text, case folded; characters where a script puts no space between words."""
    return cased_words(text.casefold())


class RougeIndex:
    """Texts that are there already; grows as candidates are kept."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._codes: dict[str, int] = {}
        self._texts: list[str] = []
        self.add(texts)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, texts: Iterable[str]) -> None:
        """Add texts; their numbers go on from those that are there."""
        self._texts.extend(self._encode(text) for text in texts)

    def nearest(self, text: str, above: float = 0.0) -> tuple[float, int] | None:
        """Return the largest ROUGE-L F1 and the number of its text, None if none is above a limit."""
        encoded = self._encode(text)
        if not encoded:
            return None
        match = extractOne(
            encoded, self._texts, scorer=Indel.normalized_similarity, score_cutoff=above
        )
        if match is None or match[1] <= above:
            return None
        return float(match[1]), int(match[2])

    def _encode(self, text: str) -> str:
        return "".join(self._code(word) for word in word_units(text))

    def _code(self, word: str) -> str:
        # Beyond a million different words two may share a character.
        number = self._codes.setdefault(word, len(self._codes) % CODES)
        if number >= SURROGATES.start:
            number += len(SURROGATES)
        return chr(number)
