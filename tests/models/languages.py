"""Clean pools in scripts other than Latin: rows that no honest person would call duplicates.

Each row asks about something somewhere and is told something about someone, in sentences drawn from
templates and word lists of one language. `near_copy` changes one word or the punctuation of a row.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

Pair = tuple[str, str]


@dataclass(frozen=True)
class Language:
    """Sentences with the slots {t} thing, {p} place, {w} person and {d} deed, and words for them."""

    asks: list[str]
    tells: list[str]
    things: list[str]
    places: list[str]
    persons: list[str]
    deeds: list[str]
    period: str = "."


DATA = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
LANGUAGES = {name: Language(**lists) for name, lists in DATA.items()}


def clean_rows(name: str, count: int, seed: int = 0) -> list[Pair]:
    """Return prompts and responses in a language, no two of which ask the same."""
    language, rng = LANGUAGES[name], random.Random(seed)
    rows: list[Pair] = []
    seen: set[str] = set()
    while len(rows) < count:
        ask = _fill(language, rng.choice(language.asks), rng)
        tells = [_fill(language, tell, rng) for tell in rng.sample(language.tells, 3)]
        if ask not in seen:
            seen.add(ask)
            rows.append((ask, " ".join(tells)))
    return rows


def _fill(language: Language, sentence: str, rng: random.Random) -> str:
    lists = {"t": language.things, "p": language.places, "w": language.persons, "d": language.deeds}
    return sentence.format(**{slot: rng.choice(words) for slot, words in lists.items()})


def near_copy(name: str, row: Pair, rng: random.Random) -> Pair:
    """Return a row with another word for one of its things or persons, or other punctuation."""
    language, (ask, answer) = LANGUAGES[name], row
    if rng.random() < 0.5:
        return ask, answer.removesuffix(language.period) + "!"
    for words in rng.sample([language.things, language.persons, language.places], 3):
        present = [word for word in words if word in answer]
        if present:
            word = rng.choice(present)
            return ask, answer.replace(word, rng.choice([w for w in words if w != word]), 1)
    return f"{ask}{language.period}", answer
