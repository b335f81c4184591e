"""Rehearsal of open answers: routes by a judge in both orders, the bill, what stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.calls import Table
from curate.core.store import Store
from curate.judge.equivalence import DECLINES, NO_JUDGEMENT, SAME_WORDS, judge_equivalence
from curate.judge.knowledge import KnowledgeStage
from curate.judge.openrehearsal import is_open
from curate.judge.rehearsal import knowledge_prompts
from curate.llm.ask import EngineClient
from curate.llm.compare import AnswerPair
from tests.conftest import row, stored_rows, turns
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.judge.clearruns import EngineRun, judge_stage, real_run, use

OWN = "In my own words the {} is a long tale of many turns."
REPHRASED = "Put otherwise, the {} is something that goes on and on."
TOPICS = ("fox", "owl", "bee", "elk")
OPEN = [
    (f"Tell me about the {topic}.", f"The {topic} lives in a wood, far from towns, and is seldom seen.")
    for topic in TOPICS
]  # fmt: skip
SUM = ("1 + 10?", "11")
JUDGED = "First answer:"
KNOWLEDGE = {"kind": "knowledge", "sets": 1, "samples": 1, "rehearse": True}


def topic_of(text: str) -> str:
    return next(topic for topic in TOPICS if topic in text)


def yes(call: Any) -> str:
    return json.dumps({"reason": "they agree", "same": "yes"})


def no(call: Any) -> str:
    return json.dumps({"reason": "one differs", "same": "no"})


def judge(call: Any) -> str:
    """Take the fox's own answer, the owl's paraphrase, no answer of the bee, the elk's in one order."""
    text = text_of(call)
    topic, own = topic_of(text), "In my own words" in text
    gold_first = text.index("lives in a wood") < max(text.find("In my own"), text.find("otherwise"))
    same = {"fox": own, "owl": not own, "bee": False, "elk": gold_first}[topic]
    return yes(call) if same else no(call)


def answer(call: Any) -> str:
    text = text_of(call)
    if text.startswith("1 + 10"):
        return "It is 11."
    return (REPHRASED if "Correct answer:" in text else OWN).format(topic_of(text))


def run_stage(
    store: Store,
    monkeypatch: Any,
    judging: Callable[[Any], Any] = judge,
    **more: Any,
) -> tuple[pl.DataFrame, Mapping[str, Table], ScriptedEngine]:
    engine = use(monkeypatch, [(JUDGED, judging), (lambda call: True, answer)])
    run = EngineRun(store)
    pairs = [*OPEN, SUM]
    rows = stored_rows(store, "pool", [row(f"r{i}", turns(*p)) for i, p in enumerate(pairs)])
    stage = {**KNOWLEDGE, "judge": {"kind": "transformers"}, **more}
    verdicts, prepared = judge_stage(run, rows, stage)
    return verdicts.read(), prepared, engine


def test_the_first_that_a_judge_finds_the_same_in_both_orders_is_taken(
    store: Store, monkeypatch: Any
) -> None:
    verdicts, prepared, _ = run_stage(store, monkeypatch)
    routes = dict(prepared["routes"].read().select("row_id", "route").iter_rows())
    assert routes == {
        "r0": "self", "r1": "paraphrase", "r2": "gold", "r3": "gold", "r4": "self"
    }  # fmt: skip
    new = {line["parents"][0]: line for line in prepared["made"].read().to_dicts()}
    assert {i: line["messages"][-1]["content"] for i, line in new.items()} == {
        "r0": OWN.format("fox"),
        "r1": REPHRASED.format("owl"),
        "r4": "It is 11.",
    }
    assert new["r0"]["messages"][0]["content"] == OPEN[0][0]
    dropped = verdicts.filter(~pl.col("keep"))
    assert sorted(dropped["row_id"]) == ["r0", "r1", "r4"]
    assert set(dropped["reason"]) == {"rehearsed"}
    judgements = prepared["judgements"].read()
    assert judgements.select("row_id", "route", "same").rows() == [
        ("r0", "self", True),
        *(("r1", "self", False), ("r2", "self", False), ("r3", "self", False)),
        *(("r1", "paraphrase", True), ("r2", "paraphrase", False), ("r3", "paraphrase", False)),
    ]
    assert set(judgements.filter("same")["reason"]) == {"they agree"}


def test_gold_is_in_no_request_for_an_own_answer_and_the_bill_has_all_calls(
    store: Store, monkeypatch: Any
) -> None:
    _, prepared, engine = run_stage(store, monkeypatch)
    plain = [text_of(c) for c in engine.calls if text_of(c) in [prompt for prompt, _ in OPEN]]
    assert sorted(plain) == sorted(prompt for prompt, _ in OPEN)
    judged = [c for c in engine.calls if JUDGED in text_of(c)]
    # Four own answers and three paraphrases, each in both orders; nothing of the sum.
    assert len(judged) == 2 * (4 + 3)
    assert not any("1 + 10" in text_of(c) for c in judged)
    spent = prepared["made"].artifact.counts["llm"]
    few_shot = 1
    assert spent["calls"] == len(engine.calls) - few_shot
    assert len(engine.calls) <= KnowledgeStage(
        sets=1, samples=1, rehearse=True, judge={"kind": "transformers"}
    ).cost(5).calls  # fmt: skip


def test_without_a_judge_open_rows_stay_and_nothing_else_is_asked(
    store: Store, monkeypatch: Any
) -> None:
    verdicts, prepared, engine = run_stage(store, monkeypatch, judge=None)
    assert prepared["routes"].read()["row_id"].to_list() == ["r4"]
    assert "judgements" not in prepared
    assert verdicts.filter(~pl.col("keep"))["row_id"].to_list() == ["r4"]
    assert not any(topic in text_of(c) for c in engine.calls for topic in TOPICS)


def test_a_paraphrase_in_the_gold_words_and_a_lost_answer_make_no_row(
    store: Store, monkeypatch: Any
) -> None:
    def copying(call: Any) -> Any:
        text = text_of(call)
        if "Correct answer:" in text:
            return dict(OPEN)[f"Tell me about the {topic_of(text)}."]
        return "11" if "1 + 10" in text else Reply("", finish="empty")

    engine = use(monkeypatch, [(JUDGED, yes), (lambda call: True, copying)])
    run = EngineRun(store)
    rows = stored_rows(store, "pool", [row("r0", turns(*OPEN[0])), row("r1", turns(*SUM))])
    verdicts, prepared = judge_stage(run, rows, {**KNOWLEDGE, "judge": {"kind": "transformers"}})
    assert verdicts.read()["keep"].to_list() == [True, True]
    assert not any(JUDGED in text_of(c) for c in engine.calls)
    routes = dict(prepared["routes"].read().select("row_id", "route").iter_rows())
    assert routes == {"r1": "self", "r0": "gold"}


def test_what_needs_no_judge_is_not_asked_and_what_is_no_judgement_says_so() -> None:
    gold = "It runs through Cologne and Bonn."
    refusal = "I'm sorry, but I can't help with that."
    pairs = [
        AnswerPair("Where does it run?", gold, gold.upper()),
        AnswerPair("Where does it run?", gold, refusal),
        AnswerPair("Where does it run?", refusal, "I cannot answer this question."),
        AnswerPair("Where does it run?", gold, "Through Bonn and Cologne."),
    ]
    rules = [
        ("Through Bonn", [yes, "no JSON at all"]),
        (lambda call: True, yes),
    ]
    engine = ScriptedEngine(rules)  # type: ignore[arg-type]
    client = EngineClient(engine)
    judged = judge_equivalence(client, pairs, knowledge_prompts(None)["equivalent"], "knowledge")
    assert [one.same for one in judged] == [True, False, True, None]
    assert [judged[i].reason for i in (0, 1, 3)] == [SAME_WORDS, DECLINES, NO_JUDGEMENT]
    assert not any(gold.upper() in text_of(call) for call in engine.calls)


def test_open_rows_end_with_a_text_of_the_assistant() -> None:
    prompt, answer = turns("Tell me.", "A tale of old.")
    assert is_open([prompt, answer])
    assert not is_open([prompt])
    assert not is_open([prompt, {**answer, "tool_calls": [{"name": "f", "arguments": "{}"}]}])
    assert not is_open([prompt, {**answer, "content": " "}])


def test_a_judge_without_rehearsal_is_refused() -> None:
    with pytest.raises(ValueError, match="judge says which answers may be rehearsed"):
        KnowledgeStage.model_validate({"judge": {"kind": "transformers"}})


@pytest.mark.model
def test_the_real_model_answers_and_judges_open_rows(store: Store, smollm: Path) -> None:
    run = real_run(store, smollm)
    rows = stored_rows(store, "pool", [row("r0", turns(
        "Say in one sentence what bees do.", "Bees fly from flower to flower and carry pollen with them."
    ))])  # fmt: skip
    _, prepared = judge_stage(
        run, rows, {**KNOWLEDGE, "judge": {"kind": "transformers"}, "max_tokens": 48}
    )
    (route,) = prepared["routes"].read()["route"]
    judgements = prepared["judgements"].read()
    assert judgements.height >= 1
    assert judgements["same"].null_count() < judgements.height
    assert route == (judgements.filter("same")["route"].to_list() or ["gold"])[0]
