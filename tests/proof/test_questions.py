"""Options and answer spans of an eval set, read before anything is trained."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from curate.core.errors import UserError
from curate.core.store import Store
from curate.proof.metrics import deciding_metric
from curate.proof.questions import (
    check_measurable,
    count_questions,
    find_questions,
    question_sentences,
    questions,
)
from tests.conftest import StoreRun, frame, row, stored_rows, turns

LONG = "Well, of that there is more to be said than anybody could say in a short answer."


def questions_of(*rows: tuple[str, ...], target: Any = None, **columns: Any) -> pl.DataFrame:
    table = frame([row(f"e{i}", turns(*texts), **columns) for i, texts in enumerate(rows)])
    others = (
        frame([row(f"t{i}", turns(*texts)) for i, texts in enumerate(target)]) if target else None
    )
    return find_questions(table, others)


@pytest.mark.parametrize("field", ["choices", "options", "endings", "answer_choices"])
def test_a_field_of_the_record_has_options(field: str) -> None:
    table = questions_of(("Which?", "blue"), meta=f'{{"{field}": ["red", "blue"]}}')
    assert table.select("options", "gold", "origin").row(0) == (["red", "blue"], 1, "field")


def test_a_prompt_lists_options() -> None:
    table = questions_of(("Which?\n(A) red\n(B) blue", "(B)"), ("Why?", LONG))
    assert table["options"].to_list() == [["(A)", "(B)"], None]
    assert table["origin"].to_list() == ["prompt", None]
    assert table["answer"].to_list() == [True, False]


def test_a_system_turn_or_an_earlier_question_is_not_the_prompt() -> None:
    earlier = ("Which?\n(A) red\n(B) blue", "(B)", "And why?", "A")
    assert questions_of(earlier)["options"].to_list() == [None]


def test_the_few_answers_of_target_and_eval_set_are_options() -> None:
    rows = [("Is it?", "yes"), ("Was it?", "no")]
    assert questions_of(*rows)["options"].null_count() == 2
    table = questions_of(*rows, target=[("Will it be?", "yes"), ("Shall it be?", "maybe"), *rows])
    assert table["options"].to_list() == [["maybe", "no", "yes"]] * 2
    assert table["gold"].to_list() == [2, 1]
    assert table["origin"].to_list() == ["answers"] * 2
    worked = questions_of(*rows, target=[("Will it be?", LONG), *rows])
    assert worked["options"].null_count() == 2


def test_they_are_counted_and_told(store: Store) -> None:
    rows = [
        row("e0", turns("Which?\n(A) red\n(B) blue", "(B)")),
        row("e1", turns("Which?", "red"), meta='{"choices": ["red", "blue"]}'),
        row("e2", turns("Why?", LONG)),
    ]
    table = StoreRun(store)(questions, stored_rows(store, "eval", rows))
    counts = count_questions(table.read())
    assert counts == {
        "examples": 3, "answers": 2, "options": 2, "origins": {"field": 1, "prompt": 1},
    }  # fmt: skip
    assert {name: table.artifact.counts[name] for name in counts} == counts
    spans, options = question_sentences(counts)
    assert spans.startswith("2 of 3 eval examples have an answer apart from")
    assert "2 of 3 eval examples have options, from a field of the record and a list in" in options
    assert question_sentences({**counts, "answers": 0, "options": 0}) == []


@pytest.mark.parametrize(
    ("metric", "missing"),
    [("accuracy", "options"), ("gold_margin", "options"), ("answer_loss", "answers")],
)
def test_a_metric_that_cannot_be_measured_is_refused_with_its_key_and_the_set(
    metric: str, missing: str
) -> None:
    counts = {"examples": 60, "answers": 5, "options": 5}
    check_measurable(deciding_metric(metric), counts)
    with pytest.raises(UserError, match=f"prove.metric: {metric} .* 60 examples of target.eval"):
        check_measurable(deciding_metric(metric), {**counts, missing: 0})


@pytest.mark.parametrize("metric", ["auto", "loss", "loss_per_token", "exact_match"])
def test_the_other_metrics_need_nothing(metric: str) -> None:
    check_measurable(deciding_metric(metric), {"examples": 1, "answers": 0, "options": 0})
