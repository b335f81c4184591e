"""Preference pairs of a model's answers: which two are judged, which is kept, what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.core.preferences import pairs_of
from curate.generate.candidates import rows_of
from curate.generate.generation import Generation, SeedExample
from curate.generate.methods.prefer import PreferGenerator
from curate.llm.limits import Limits
from curate.llm.requests import Call
from tests.conftest import turns
from tests.generate.generations import example, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.generate.stages import check_same, real_engine, short_tasks, static, words

RIVER = example("target/1", "Name the river of Cologne.", "The Rhine.", "Be brief.")
BEST, WORST = "The Rhine flows there.", "Some lake I forgot now."
SAID = (BEST, "The Rhine flows there now.", "the rhine flows  there.", WORST)
JUDGED = ("Response A:", "Which one, A, B or C?")


def is_second(call: Call, text: str) -> bool:
    """Return whether a text is the second of the two that are compared."""
    question = text_of(call)
    return question.index(text) > max(question.index("Response A:"), question.index("Response B:"))


def judging(better: str | None) -> list[Any]:
    """Return the rules of a judge to whom one text is the better one; None: neither is."""

    def choose(call: Call) -> str:
        letter = "tie" if better is None else "B" if is_second(call, better) else "A"
        return json.dumps({"reason": "so it is", "better": letter})

    def reflect(call: Call) -> str:
        question = text_of(call)
        behind = better is not None and question.index(better) > question.index("Response 2:")
        return json.dumps({"answer": "C" if better is None else "A" if behind else "B"})

    return [(JUDGED[1], reflect), (JUDGED[0], choose)]


def engine(better: str | None = BEST, said: tuple[str, ...] = SAID) -> ScriptedEngine:
    return ScriptedEngine(
        [*judging(better), (lambda call: True, lambda call: said[call.sample % len(said)])]
    )


def prefer(script: ScriptedEngine, *target: SeedExample, **settings: Any) -> Generation:
    params = {"samples": 4, **settings.pop("params", {})}
    return generate("prefer", script, target=target or [RIVER], params=params, **settings)


def test_two_unlike_answers_are_judged_and_the_better_one_is_the_row() -> None:
    script = engine()
    run = prefer(script, params={"diversity": 3})
    assert list(script.calls[0].request.messages) == RIVER.messages[:-1]
    assert reject_reasons(run.candidates) == [None, "over_quota", "not_new", "less_preferred"]
    [kept] = run.kept
    assert kept.messages == [*RIVER.messages[:-1], turns("", BEST)[1]]
    assert kept.rejected == turns("", WORST)[1:]
    worse = run.candidates[3]
    assert kept.notes["pair"] == {"how": "prefer", "rejected_id": worse.row_id, "margin": 1.0}
    assert kept.parents == worse.parents == ("target/1",)
    assert run.tables["prompts"].rows() == [("target/1", "paired", 4, 3, 1.0)]


def test_typical_answers_are_judged_without_diversity() -> None:
    run = prefer(engine("The Rhine flows there now."), params={"diversity": 0})
    assert reject_reasons(run.candidates) == ["less_preferred", None, "not_new", "over_quota"]


def test_the_rows_and_the_table_of_pairs_hold_both_sides() -> None:
    run = prefer(engine(), params={"diversity": 3})
    rows = rows_of(run.candidates, "generated")
    [pair] = pairs_of(rows.lazy()).collect().to_dicts()
    assert [turn["content"] for turn in pair["prompt"]] == ["Be brief.", RIVER.prompt]
    assert [pair[name][0]["content"] for name in ("chosen", "rejected")] == [BEST, WORST]
    assert pair["chosen_id"] == rows["row_id"].item()
    assert (pair["rejected_id"], pair["margin"], pair["how"]) == (
        run.candidates[3].row_id, 1.0, "prefer",
    )  # fmt: skip


def test_the_order_of_answers_does_not_matter() -> None:
    said = (SAID[0], SAID[1], SAID[3], "It is the Rhine, which flows far.")
    runs = [prefer(engine(said=one), params={"diversity": 3}) for one in (said, said[::-1])]
    kept = [[(c.response, c.rejected) for c in run.kept] for run in runs]
    assert kept[0] == kept[1] != []


def test_a_tie_and_a_judge_with_a_favourite_place_keep_nothing() -> None:
    def first_place(call: Call) -> str:
        return json.dumps({"reason": "so it is", "better": "A"})

    favourite = ScriptedEngine(
        [(JUDGED[1], json.dumps({"answer": "A"})), (JUDGED[0], first_place),
         (lambda call: True, lambda call: SAID[call.sample])]
    )  # fmt: skip
    for script in (engine(None), favourite):
        run = prefer(script, params={"diversity": 3})
        assert reject_reasons(run.candidates) == ["undecided", "over_quota", "not_new", "undecided"]
        assert run.tables["prompts"].rows() == [("target/1", "undecided", 4, 3, 0.5)]


@pytest.mark.parametrize(
    ("said", "state", "reasons"),
    [
        (("Only this.", "only  this."), "no pair", ["undecided", "not_new"]),
        (("I am sorry, I cannot.", "It is the Rhine."), "no pair", ["refused", "undecided"]),
    ],
)
def test_without_two_answers_nothing_is_judged(
    said: tuple[str, ...], state: str, reasons: list[str]
) -> None:
    script = engine(said=said)
    run = prefer(script, params={"samples": 2})
    assert reject_reasons(run.candidates) == reasons
    assert run.tables["prompts"]["state"].to_list() == [state]
    assert len(script.calls) == 2


def test_a_judge_without_an_answer_decides_nothing() -> None:
    silent = ScriptedEngine(
        [*[(piece, Reply("", "refused")) for piece in JUDGED],
         (lambda call: True, lambda call: SAID[call.sample])]
    )  # fmt: skip
    run = prefer(silent, params={"diversity": 3})
    assert run.tables["prompts"]["state"].to_list() == ["unjudged"]
    assert not run.kept


@pytest.mark.parametrize("judgements", [1, 3])
def test_the_bill_is_two_judgements_in_both_orders_and_four_reflections(judgements: int) -> None:
    script = engine()
    target = [RIVER, example("target/2", "Which river is in Bonn?", "The Rhine.")]
    prefer(script, *target, params={"judgements": judgements, "diversity": 3})
    calls = 2 * (4 + 2 * judgements + 4)
    assert len(script.calls) == calls
    params = {"samples": 4, "judgements": judgements}
    cost = PreferGenerator.model_validate(params).cost(2, 0)
    assert cost.calls == calls
    assert cost.written_tokens == sum(call.sampling.max_tokens for call in script.calls)


def test_prompts_without_a_response_are_answered_as_they_stand() -> None:
    script = engine()
    prompt = SeedExample("asks/1", turns("Name the river of Cologne."))
    run = prefer(script, unanswered=[prompt], params={"start": "prompts", "diversity": 3})
    assert [c.parents for c in run.kept] == [("asks/1",)]
    assert list(script.calls[0].request.messages) == prompt.messages


def test_what_a_limit_keeps_from_being_judged_is_left_out() -> None:
    run = prefer(engine(), params={"diversity": 3}, limits=Limits(calls=5))
    assert run.stopped
    assert reject_reasons(run.candidates) == ["over_quota", "not_new"]
    assert run.tables["prompts"]["state"].to_list() == ["unsent"]


def fresh() -> ScriptedEngine:
    """Return an engine of fresh answers, to which the one first in the alphabet is the better one."""

    def first(call: Call, *heads: str) -> bool:
        question = text_of(call)
        a, b = (question.split(f"{head}\n")[1].split("\n")[0] for head in heads)
        return a < b

    def choose(call: Call) -> str:
        a_is_first = first(call, "Response A:", "Response B:")
        return json.dumps({"reason": "it is first", "better": "A" if a_is_first else "B"})

    def reflect(call: Call) -> str:
        a_is_first = first(call, "Response 1:", "Response 2:")
        return json.dumps({"answer": "B" if a_is_first else "A"})

    sample: Callable[[Call], str] = lambda call: words(call, 6)  # noqa: E731
    return ScriptedEngine([(JUDGED[1], reflect), (JUDGED[0], choose), (lambda call: True, sample)])


def test_the_contract_holds_and_a_replay_changes_nothing(tmp_path: Path) -> None:
    run = check_same("prefer", fresh, tmp_path, params={"samples": 5})
    assert {c.notes["pair"]["how"] for c in run.kept} == {"prefer"}
    assert all(c.rejected for c in run.kept)


@pytest.mark.model
def test_a_real_model_answers_and_judges(smollm: Path) -> None:
    settings = {"samples": 3, "max_tokens": 40, "confidence": 0.5, "temperature": 0.7}
    target = short_tasks()[:3]
    run = generate("prefer", real_engine(smollm), target=target, embed=static, params=settings)
    table = run.tables["prompts"]
    assert table["confidence"].drop_nulls().is_between(0.5, 1).all()
    assert table["confidence"].count() > 0
    assert len(run.kept) == table.filter(state="paired").height
    assert all(c.rejected and c.rejected[0]["content"] != c.response for c in run.kept)
