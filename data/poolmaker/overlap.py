"""Word overlap between texts: near-duplicate Jaccard and leak coverage, over inverted indexes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

WORD = re.compile(r"[^\W_]+")
NEAR_GRAM = 5
LEAK_GRAM = 8


def tokens(text: str) -> list[str]:
    return WORD.findall(unicodedata.normalize("NFC", text).lower())


def grams(words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    """All runs of ``size`` words; a shorter text counts as one run, so it can be compared too."""
    if len(words) < size:
        return {tuple(words)} if words else set()
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}


def collapsed(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


class Ledger:
    """The texts admitted so far, to keep a new one apart from all of them."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._holders: dict[tuple[str, ...], list[int]] = defaultdict(list)

    def add(self, text: str) -> int:
        number = len(self._sizes)
        runs = grams(tokens(text), NEAR_GRAM)
        self._sizes.append(len(runs))
        for run in runs:
            self._holders[run].append(number)
        return number

    def overlaps(self, text: str) -> dict[int, float]:
        """Jaccard with every admitted text that shares a run."""
        runs = grams(tokens(text), NEAR_GRAM)
        shared = Counter(holder for run in runs for holder in self._holders.get(run, ()))
        return {
            holder: count / (len(runs) + self._sizes[holder] - count)
            for holder, count in shared.items()
        }

    def closest(self, text: str) -> float:
        return max(self.overlaps(text).values(), default=0.0)


class Guard:
    """Prompts that must not leak, and how much of each a text would give away."""

    def __init__(self) -> None:
        self._lengths: dict[str, int] = {}
        self._places: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)

    def add(self, name: str, prompt: str) -> None:
        words = tokens(prompt)
        self._lengths[name] = len(words)
        for at in range(len(words) - LEAK_GRAM + 1):
            self._places[tuple(words[at : at + LEAK_GRAM])].append((name, at))

    def coverage(self, text: str) -> dict[str, float]:
        """Share of each prompt's words that lie in a run shared with the text."""
        words = tokens(text)
        covered: dict[str, set[int]] = defaultdict(set)
        for at in range(len(words) - LEAK_GRAM + 1):
            for name, place in self._places.get(tuple(words[at : at + LEAK_GRAM]), ()):
                covered[name].update(range(place, place + LEAK_GRAM))
        return {name: len(hit) / self._lengths[name] for name, hit in covered.items()}

    def worst(self, text: str) -> float:
        return max(self.coverage(text).values(), default=0.0)
