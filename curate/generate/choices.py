"""Answers of a known form: free text, one of several options, or a number.

Options stand at the end of a prompt, one a line: A) Rhine. Their order is drawn, since models write the
right one first; a record in which two options are the same has no single answer and goes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import regex

from curate.answers.checkers import find_choice
from curate.answers.options import FEWEST, LETTERS, split_options
from curate.answers.quantities import find_number
from curate.core.rows import normalise
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.novelty import words_of
from curate.llm.schemas import array, text

AnswerMode = Literal["free", "choice", "number"]
LETTER_ALONE = regex.compile(r"^\W*[A-Z]\W*$")
OPTIONS = 4
LONGEST = 120


@dataclass(frozen=True)
class ChoiceForm:
    """How the examples of a choice task look: how many options, and the answer a letter or with text."""

    options: int = OPTIONS
    letter_alone: bool = False


def form_of(prompt: str, response: str) -> ChoiceForm:
    """Return the form of an example; four options where its own are not to be seen."""
    count = len(split_options(prompt)[1])
    return ChoiceForm(count if count >= FEWEST else OPTIONS, bool(LETTER_ALONE.match(response)))


def options_of(prompt: str, response: str) -> dict[str, Any] | None:
    """Return the question, the correct and the wrong options of an example, None if it has none."""
    question, options = split_options(prompt)
    letter = find_choice(response)
    if letter is None or letter not in LETTERS[: len(options)]:
        return None
    correct = options.pop(LETTERS.index(letter))
    return {"prompt": question, "correct": correct, "wrong": options}


def options_schema(form: ChoiceForm) -> dict[str, Any]:
    """Return the properties that ask for the options of a question."""
    wrong = form.options - 1
    return {
        "correct": text(LONGEST),
        "wrong": array(text(LONGEST), wrong, least=wrong),
    }


def with_options(
    candidate: Candidate,
    question: str,
    options: Mapping[str, Any],
    form: ChoiceForm,
    rng: np.random.Generator,
    system: str | None = None,
) -> Candidate:
    """Return the candidate with its options in an order that is drawn, and the answer to it.

    Args:
        candidate: gets the turns.
        question: without options.
        options: `correct` and the `wrong` ones.
        form: of the example that it is made from.
        rng: draws the order.
        system: the system turn, if there is to be one.
    """
    texts = [normalise(option) for option in (options["correct"], *options["wrong"])]
    order = rng.permutation(len(texts))
    lines = [f"{LETTERS[k]}) {texts[i]}" for k, i in enumerate(order)]
    right = lines[int(np.flatnonzero(order == 0)[0])]
    response = right[0] if form.letter_alone else right
    multiple_choice = replace(
        candidate, messages=pair("\n".join([question, *lines]), response, system)
    )
    fault = _fault_of(texts, form)
    return multiple_choice.drop(RejectReason.INCONSISTENT, fault) if fault else multiple_choice


def _fault_of(options: Sequence[str], form: ChoiceForm) -> str | None:
    if len(options) != form.options:
        return f"{len(options)} options where {form.options} are wanted"
    plain = [tuple(words_of(option)) or option for option in options]
    return None if len(set(plain)) == len(plain) else "two options are the same"


def check_form(candidate: Candidate, mode: AnswerMode) -> Candidate:
    """Return the candidate, dropped if its answer is to be a number and holds none."""
    if (
        candidate.reject_reason is None
        and mode == "number"
        and find_number(candidate.response) is None
    ):
        return candidate.drop(RejectReason.NO_ANSWER, "the response holds no number")
    return candidate
