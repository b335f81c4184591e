"""Word lists that several families draw from."""

from __future__ import annotations

import random

from .base import ask, capital

# Some names carry accents so that Unicode normalisation has something to act on.
NAMES = (
    "Priya", "Tom", "Maya", "Zoë", "José", "Anaïs", "Chloé", "André", "Noémie", "Léo",
    "Ivan", "Kofi", "Amara", "Hana", "Yusuf", "Leila", "Marek", "Sofia", "Diego", "Ingrid",
    "Owen", "Rhys", "Niamh", "Callum", "Fatima", "Omar", "Kenji", "Yuki", "Mei", "Arjun",
    "Nadia", "Pavel", "Greta", "Lukas", "Elif", "Tariq", "Rosa", "Bruno", "Carla", "Dmitri",
    "Esther", "Felix", "Gemma", "Hugo", "Iris", "Jonas", "Kira", "Lorna", "Mateo", "Nell",
    "Oscar", "Petra", "Quinn", "Ravi", "Selma", "Theo", "Uma", "Viktor", "Wanda", "Xavier",
    "Yara", "Zane", "Beatriz", "Cormac", "Dalia", "Emeka", "Freya", "Gustav", "Imani", "Tove",
)  # fmt: skip

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

TOWNS = (
    "Penbrook", "Harlow Vale", "Eastmere", "Thornby", "Lower Ashe", "Dunwick", "Marrow Bay",
    "Stonehollow", "Wexcombe", "Port Alder", "Fenwater", "Birchley", "Copperton", "Larkfield",
    "Oldmoor", "Saltby", "Quarrytown", "Westering", "Hazelden", "Millstead", "Ravensford",
    "Greyport", "Tillerton", "Ashgrove", "Brackenhill",
)  # fmt: skip

SLOTS: dict[str, tuple[str, ...]] = {
    "name": NAMES,
    "town": TOWNS,
    "day": WEEKDAYS,
    "month": MONTHS,
    "animal": (
        "goat", "heron", "donkey", "tortoise", "parrot", "ferret", "pony", "rabbit", "goose",
        "hedgehog", "lizard", "sheepdog", "kitten", "badger", "otter", "hamster",
    ),
    "colour": (
        "green", "crimson", "yellow", "grey", "violet", "orange", "brown", "silver", "blue",
        "white", "purple", "turquoise",
    ),
    "food": (
        "lentil soup", "plum cake", "rye bread", "fish pie", "noodles", "pancakes", "dumplings",
        "cheese scones", "apple tart", "rice salad", "onion bhajis", "mushroom stew", "waffles",
        "stuffed peppers", "ginger biscuits", "potato curry",
    ),
    "item": (
        "lantern", "bicycle", "kettle", "backpack", "toaster", "umbrella", "violin", "camera",
        "tent", "armchair", "clock", "printer", "suitcase", "telescope", "blender", "keyboard",
        "lamp", "raincoat", "desk", "guitar", "mirror", "heater", "drill", "rucksack",
    ),
    "hobby": (
        "pottery", "chess", "rowing", "knitting", "birdwatching", "fencing", "baking", "climbing",
        "photography", "juggling", "woodwork", "gardening", "archery", "calligraphy", "origami",
    ),
    "job": (
        "baker", "nurse", "plumber", "tailor", "librarian", "welder", "beekeeper", "surveyor",
        "pilot", "gardener", "carpenter", "teacher", "locksmith", "florist", "potter", "farmer",
    ),
    "building": (
        "library", "swimming pool", "museum", "town hall", "ferry terminal", "market hall",
        "bus station", "theatre", "sports hall", "community centre", "skate park", "lighthouse",
    ),
    "group": (
        "walking club", "choir", "parents' group", "drama society", "cycling club", "chess club",
        "allotment society", "brass band", "history circle", "rowing team", "book club",
        "film society", "school council", "youth orchestra",
    ),
    "reason": (
        "a burst pipe", "heavy snow", "a power cut", "a staff shortage", "a leaking roof",
        "high winds", "a broken boiler", "late deliveries", "a flooded road", "a wasp nest",
        "roadworks", "a faulty alarm",
    ),
    "material": (
        "oak", "copper", "glass", "clay", "wool", "bamboo", "slate", "recycled paper", "steel",
        "linen", "cork", "leather",
    ),
}  # fmt: skip


def draw(rng: random.Random) -> dict[str, str]:
    """One value for every slot; ``name2`` and the like differ from their namesakes."""
    slots: dict[str, str] = {}
    for kind, values in SLOTS.items():
        slots[kind], slots[kind + "2"] = rng.sample(values, 2)
    slots["n"], slots["n2"] = (str(number) for number in rng.sample(range(3, 13), 2))
    slots["big"], slots["big2"] = (str(number) for number in rng.sample(range(14, 96), 2))
    slots["year"] = str(rng.randrange(1962, 2025))
    return slots


# Remarks beside the task, as people make them.
ASIDES = (
    "It's for {name} in {town}.", "My {job} friend asked.", "The {group} meets on {day}.",
    "We have until {month}.", "I am {big} and new to this.", "[Keep|Make] it [simple|short].",
    "My {animal} is watching me type.", "I [thought|wondered] about it during {hobby}.",
    "{name} and {name2} can't agree.", "There's {food} in it for you.",
    "This came up at the {building}.", "A {job} from {town} [wants|needs] to know.",
    "I [wrote|scribbled] it on a {colour} {item}.", "[Blame|Thank] {reason} for my hurry.",
    "The {group} [bet|promised] me some {food}.", "[Nobody|No one] at the {building} knew.",
    "I'm stuck in {town2} with a {animal2} and a {item}.", "{name}'s {item} has no manual.",
    "It [has|needs] to be done before {day}.", "We [argued|talked] about it over {food}.",
    "My {month} {hobby} class [starts|ends] with it.", "{n} people have asked me already.",
    "I [used to|once did] know that, back in {year}.", "It goes on a {material} sign.",
)  # fmt: skip


def with_asides(rng: random.Random, prompt: str, count: int) -> str:
    """The prompt with some remarks, ``count`` at most, before or after it."""
    parts = [capital(prompt)]
    for aside in rng.sample(ASIDES, rng.randint(count // 2, count)):
        parts.insert(rng.choice((0, len(parts))), capital(ask(rng, (aside,), **draw(rng))))
    # A list or a code line has no full stop to set it off from a remark.
    *heads, tail = parts
    return "".join(head + (" " if head[-1] in ".?!" else "\n") for head in heads) + tail
