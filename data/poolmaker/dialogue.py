"""Ways a chat upstream wraps a task: a system turn, small talk first, or two tasks in a row."""

from __future__ import annotations

import random

from .base import Draft, Family, ask
from .rows import Turn, single_turn
from .words import draw

SYSTEMS = (
    "You are a [careful|friendly|precise] assistant [at|of] the {building} in {town}.",
    "[Answer|Reply] briefly [and correctly|].", "You help {name}, a {job}. [Be|Stay] concise.",
    "[Never|Do not] add [remarks|comments] that nobody asked for.",
    "You [work|answer] for the {group}.", "Keep to [plain English|the point].",
    "You are {name}'s [helper|aide]. [Accuracy|Brevity] first.",
    "If a [detail|fact] is missing, [say so|leave it out].",
)  # fmt: skip
OPENERS = (
    ("[Hi|Hello], [are you there|got a minute]?", "[Yes|Sure], [what is it?|go ahead.]"),
    ("I [have|brought] a [small|little] job for you.", "[Fine|Good], [send|show] it."),
    ("[Morning|Evening]. {name} [says|thinks] you can help.", "[I will try|Gladly]. What is it?"),
    ("Can I [ask|send] you something [about {hobby}|for {day}]?", "[Of course|Sure]."),
    ("[Thanks|Thank you] for [yesterday|the last one].", "[Any time|Welcome]. [More|Next]?"),
)  # fmt: skip
LINKS = ("[And|Now] this[ one|]: ", "[Next|Another]: ", "", "[Also|Then]: ", "[Good|Great]. ")


def dressed(rng: random.Random, family: Family, draft: Draft, answer: str) -> tuple[Turn, ...]:
    """The draft as a chat that ends with ``answer``."""
    turns = single_turn(draft.prompt, answer)
    dice = rng.random()
    if dice < 0.12:
        opener, reply = rng.choice(OPENERS)
        slots = draw(rng)
        turns = (("user", ask(rng, (opener,), **slots)), ("assistant", ask(rng, (reply,))), *turns)
    elif dice < 0.24:
        first = family.make(rng)
        linked = ask(rng, (rng.choice(LINKS) + "{p}",), p=draft.prompt)
        turns = single_turn(first.prompt, first.response) + single_turn(linked, answer)
    if rng.random() < 0.25:
        turns = (("system", ask(rng, SYSTEMS, **draw(rng))), *turns)
    return turns
