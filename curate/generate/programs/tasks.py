"""The table of programmed tasks, an entry each: how it is drawn, and in which words it is asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from curate.generate.programs.needles import draw_dictionary, draw_subkeys
from curate.generate.programs.nested import draw_nested
from curate.generate.programs.passages import draw_long
from curate.generate.programs.question import Draw, Question

TaskName = Literal["dictionary", "subkeys", "long", "arithmetic"]


@dataclass(frozen=True)
class Task:
    """A kind of programmed rows.

    draw: returns the question of a size (keys, or characters) from what it is drawn from.
    wordings: of what is asked, with its slots in braces.
    opening: of the prompt, before the context.
    template: the sentence that the answer follows, for those who show it in the prompt.
    unit: tokens that a step of the size takes, about; 0 where a row has its own length.
    reads_pool: whether it is made of rows of the pool.
    """

    draw: Callable[[Draw, int], Question]
    wordings: tuple[str, ...]
    opening: str = ""
    template: str = ""
    unit: float = 0.0
    reads_pool: bool = False


TASKS: dict[TaskName, Task] = {
    "dictionary": Task(
        draw_dictionary,
        wordings=(
            "Above is a list of dictionaries such that each key and value is an integer. Report the "
            "value of key {key} and the dictionary it is in.",
            "What is the value of key {key}, and in which dictionary is it?",
            "Find key {key} in the dictionaries above. Say its value and the number of its dictionary.",
        ),
        opening="Do a task using the list of dictionaries below.",
        template=(
            "The value of key {key} is <fill-in-value> and it is in Dictionary "
            "[<fill-in-dictionary-name>]."
        ),
        unit=12,
    ),
    "subkeys": Task(
        draw_subkeys,
        wordings=(
            "Above is a list of dictionaries such that each key is a tuple of integers and each value "
            "is an integer. Report the key that contains the integers {integers} (not necessarily in "
            "order), its value, and the dictionary it is in.",
            "Which key holds all of the integers {integers}, in any order? Say the key, its value and "
            "its dictionary.",
            "Find the one key with the integers {integers} in it, whatever their order. Give the key, "
            "its value and the number of its dictionary.",
        ),
        opening="Do a task using the list of dictionaries below.",
        template=(
            "The key that contains the integers {integers} is <fill-in-key>. Its value is "
            "<fill-in-value> and it is in Dictionary [<fill-in-dictionary-name>]."
        ),
        unit=24,
    ),
    "long": Task(
        draw_long,
        wordings=(
            "Do what {passage} asks, and nothing else.",
            "Answer only {passage}; leave all others aside.",
            "Respond to {passage} as if it alone had been sent to you.",
        ),
        opening="Below are numbered passages, each of which asks for something.",
        unit=0.25,
        reads_pool=True,
    ),
    "arithmetic": Task(
        draw_nested,
        wordings=(
            "What is the exact value of {expression}?",
            "Compute {expression} step by step. Give fractions in lowest terms.",
            "Work out {expression} exactly.",
        ),
        template="<one step a line>\nThe value is <fill-in-value>.",
    ),
}  # fmt: skip
