"""What every task family shares: the draft of a row, and the small template language."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

CHOICE = re.compile(r"\[([^\[\]]*)\]")
SPACES = re.compile(r" {2,}")
BARE_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])(?!uni|use|one|eu)")


@dataclass(frozen=True)
class Draft:
    """One prompt with its right answer and, of the same form, a wrong one."""

    prompt: str
    response: str
    wrong: str
    reason: str


@dataclass(frozen=True)
class Family:
    """One task: its name, a line for the README, its clean row count and its generator."""

    name: str
    about: str
    size: int
    make: Callable[[random.Random], Draft]


def expand(rng: random.Random, template: str) -> str:
    """Resolve every ``[a|b|c]`` to one of its options, innermost first."""
    while choice := CHOICE.search(template):
        option = rng.choice(choice[1].split("|"))
        template = template[: choice.start()] + option + template[choice.end() :]
    # An empty option leaves two neighbouring spaces behind.
    return SPACES.sub(" ", template).strip(" ")


def fill(rng: random.Random, template: str, **slots: object) -> str:
    """Expand the options first, so that brackets inside slot values stay as they are."""
    # A template cannot know whether its slot will start with a vowel.
    return BARE_ARTICLE.sub(r"\1n ", expand(rng, template).format(**slots))


def ask(rng: random.Random, templates: Sequence[str], **slots: object) -> str:
    return fill(rng, rng.choice(templates), **slots)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def listed(words: Sequence[str]) -> str:
    """Join as in running text: ``a, b and c``."""
    if len(words) == 1:
        return words[0]
    return ", ".join(words[:-1]) + " and " + words[-1]


def other_than(rng: random.Random, options: Sequence[str], *taken: str) -> str:
    return rng.choice([option for option in options if option not in taken])
