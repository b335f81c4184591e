"""A small raw corpus: village notices and diary pages that speak of dates, and passages that do not."""

from __future__ import annotations

import random

from .appointment import EVENTS, PEOPLE, PLACES, clock_words, say_place
from .base import capital, fill
from .reading import BLAME, PRAISE
from .words import NAMES, WEEKDAYS, draw

COUNT = 120
DATED = 0.6
OPENINGS = {
    "notice": (
        "Notes from the [village|parish] board.", "This week around the [square|harbour].",
        "From the [caretaker's|clerk's] desk.", "What is on, and what is off.",
    ),
    "diary": (
        "A [long|quiet|busy] week ahead.", "Wrote this on the [train|bus] home.",
        "The calendar on the fridge is full again.", "Too much to remember, so here it is.",
    ),
    "passage": (
        "A [word|note] from our [guests|customers].", "Overheard at the [counter|bar].",
        "Letters to the [editor|manager].",
    ),
}  # fmt: skip
DATES = (
    "The {event} is on {day} at {time}, as always [in|at] {place}.",
    "{name} is down for {event} at {place} on {day}, {time} sharp.",
    "On {day} at {time} it is {event} [in|at] {place}; {name} and {name2} will come.",
    "The {event} moved from {day2} to {day}, same place, {place}, but at {time} now.",
    "{name} sees the {person} on {day}; it starts at {time} over at {place}.",
    "Please do not forget the {event} with {name} on {day}, {time}.",
    "[Nobody|No one] knows yet where the {event} on {day} will be, but {time} is fixed.",
)  # fmt: skip
FILLERS = (
    "The {colour} door [sticks|squeaks] when it rains.", "Someone left a {item} by the gate.",
    "The {animal} got out again and {name} brought it back.",
    "There are {n} new chairs, all of {material}.", "Bring {food} if you can.",
    "It cost {big} coins, which nobody believed.", "The road to {town} is closed for works.",
    "{name} still looks for the {item} that went missing in the {building}.",
)  # fmt: skip


def make_document(rng: random.Random) -> str:
    dated = rng.random() < DATED
    kind = rng.choice(("notice", "diary")) if dated else "passage"
    opinions = (*PRAISE, *BLAME)
    lines = [
        dated_line(rng) if dated else passage_line(rng, opinions) for _ in range(rng.randint(2, 4))
    ]
    lines += [passage_line(rng, FILLERS) for _ in range(rng.randint(1, 3))]
    rng.shuffle(lines)
    return " ".join([fill(rng, rng.choice(OPENINGS[kind])), *lines])


def dated_line(rng: random.Random) -> str:
    day, day2 = rng.sample(WEEKDAYS, 2)
    name, name2 = rng.sample(NAMES, 2)
    place = rng.choice(PLACES)[0]
    time = clock_words(rng.randint(7, 20), rng.choice((0, 10, 15, 20, 30, 40, 45)))
    return capital(
        fill(
            rng, rng.choice(DATES), event=rng.choice(EVENTS)[0], person=rng.choice(PEOPLE), day=day,
            day2=day2, name=name, name2=name2, place=say_place(place), time=time,
        )
    )  # fmt: skip


def passage_line(rng: random.Random, templates: tuple[str, ...]) -> str:
    return capital(fill(rng, rng.choice(templates), **draw(rng)))


def documents(seed: int) -> list[dict[str, str]]:
    """Documents with ids, all different."""
    rng = random.Random(f"corpus {seed}")
    texts: dict[str, None] = {}
    while len(texts) < COUNT:
        texts.setdefault(make_document(rng))
    return [{"id": f"doc-{i:03}", "text": text} for i, text in enumerate(texts, start=1)]
