"""Questions with options: the answer is a letter and a text, never an index alone."""

from __future__ import annotations

from typing import Any

import pytest

from curate.pool.layouts import RecordFault, file_reader
from tests.conftest import turns

ASKED = turns("q\n\nA) red\nB) blue", "B) blue")
TWO = ["red", "blue"]


def read(record: dict[str, Any]) -> Any:
    [conversation] = file_reader([record], None, "f").read(record).conversations
    assert conversation.example is not None
    return conversation.example.turns


@pytest.mark.parametrize(
    "record",
    [
        {"question": "q", "choices": TWO, "answer": 1},
        {"question": "q", "choices": TWO, "answer": "B"},
        {"question": "q", "choices": TWO, "answer": "(b)"},
        {"question": "q", "choices": TWO, "answer": "blue"},
        {"question": "q", "choices": TWO, "answer": "B) blue"},
        {"question": "q", "choices": TWO, "answer": 1, "answerKey": "B"},
        {"question": "q", "choices": {"text": TWO, "label": ["A", "B"]}, "answerKey": "B"},
        {"question": "q", "choices": {"text": TWO, "label": ["1", "2"]}, "answerKey": "2"},
        {"question": "q", "choices": [{"label": "A", "text": "red"}, {"label": "B", "text": "blue"}],
         "answerKey": "B"},
        {"question": {"stem": "q", "choices": [{"label": "A", "text": "red"},
                                               {"label": "B", "text": "blue"}]}, "answerKey": "B"},
        {"question": "q", "options": {"A": "red", "B": "blue"}, "answer": "B"},
        {"question": "q", "options": ["A)red", "B)blue"], "correct": "B"},
        {"question": "q", "A": "red", "B": "blue", "answer": "B"},
        {"question": "q", "option_a": "red", "option_b": "blue", "answer": "B"},
        {"question": "q", "opa": "red", "opb": "blue", "cop": 1},
        {"question": "q", "option1": "red", "option2": "blue", "answer": "2"},
        {"ctx": "q", "endings": TWO, "label": "1"},
    ],
    ids=range(17),
)  # fmt: skip
def test_options_stand_below_the_question_and_the_answer_is_letter_and_text(
    record: dict[str, Any],
) -> None:
    assert read(record) == ASKED


def test_the_context_stands_between_question_and_options() -> None:
    record = {"article": "x", "question": "q", "options": TWO, "answer": "A"}
    assert read(record) == turns("q\n\nx\n\nA) red\nB) blue", "A) red")


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (TWO, 7),
        (TWO, -1),
        (TWO, "1"),
        (TWO, "C"),
        (TWO, True),
        (["2", "3", "1"], 1),
        (["B", "C", "A"], "A"),
        ({"text": TWO, "label": ["1", "2"]}, 1.5),
    ],
)
def test_an_answer_that_names_no_option_or_might_name_two_is_refused(
    options: Any, answer: Any
) -> None:
    record = {"question": "q", "choices": options, "answer": answer}
    with pytest.raises(RecordFault) as caught:
        file_reader([record], None, "f").read(record)
    assert caught.value.field.startswith(("answer", "choices"))
