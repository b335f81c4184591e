"""CLEAR's filter: the confidence by hand, the strict median, what has no score, labels, keys."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.core.stage import StageData
from curate.core.store import Store
from curate.judge.clear import ClearStage
from curate.judge.valuecomparison import ALPHA, compare_values
from curate.llm.reflections import BETA
from tests.conftest import mean, row, stored_rows, stored_table, turns
from tests.generate.scripted import Reply, text_of, texts_of
from tests.judge.clearruns import EngineRun, answers, judge_stage, pool, real_run, use

QUESTION = "How many legs have two dogs and a bird?"


def confidence(run: EngineRun, pairs: list[tuple[str, str]], **given: Any) -> pl.DataFrame:
    _, prepared = judge_stage(run, pool(run, pairs), {"kind": "clear", **given})
    return prepared["confidence"].read()


def test_the_weights_are_those_published() -> None:
    weights = [BETA * ALPHA, BETA * (1 - ALPHA), 1 - BETA]
    assert weights == pytest.approx([0.56, 0.14, 0.30])


def test_confidence_by_hand(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["10", "Ten dogs... the answer is 10.", "8", "9", "#### 10"]
    use(monkeypatch, answers(lambda call: said[call.sample], reflect="A", doubt="C"))
    scores = confidence(EngineRun(store), [(QUESTION, "10")])
    assert scores["o"].to_list() == [pytest.approx(3 / 5)]
    assert scores["s"].to_list() == [0.75]
    assert scores["c"].to_list() == [pytest.approx(0.7 * 0.6 + 0.3 * 0.75)]
    assert scores.select("samples", "usable", "form", "reason").rows() == [(5, 5, "number", None)]


@pytest.mark.parametrize(
    ("response", "sample", "text", "expected"),
    [
        ("10", "ten, I mean 10", 0.0, 0.8 + 0.2),
        ("10", "11", 0.9, 0.0),
        ("10", "many", 0.5, 0.8 * 0.5),
        ("Rain falls down on the roofs of us all.", "rain falls  down on the roofs of us all.", 0, 1.0),
        ("Rain falls down on the roofs of us all.", "Snow.", 0.25, 0.8 * 0.25),
        ("2 + 8 = 10\n#### 10", "8 + 2 is 10", 0.5, 0.8 * (1 + 0.5) / 2 + 0.2),
        ("2 + 8 = 10\n#### 10", "8 + 3 is 11", 0.5, 0.8 * (0 + 0.5) / 2),
    ],
)  # fmt: skip
def test_consistency_of_one_sample(
    response: str, sample: str, text: float, expected: float
) -> None:
    assert compare_values(response, sample).consistency(text) == pytest.approx(expected)


def test_texts_are_compared_only_where_values_say_nothing() -> None:
    assert not compare_values("10", "11").needs_text
    assert not compare_values("a b c d e f g", "A b c  d e f g").needs_text
    assert compare_values("10", "many").needs_text
    assert compare_values("so the answer is 10", "the answer is 11").needs_text


def test_a_checker_decides_alone_and_what_it_cannot_compare_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = [r"\boxed{(x-1)(x+1)}", r"\boxed{x^2+1}", "no idea, sorry"]
    use(monkeypatch, answers(lambda call: said[call.sample]))
    rows = [(QUESTION, r"First we square, then we take one off: \boxed{x^2-1}")]
    scores = confidence(EngineRun(store), rows, samples=3, checker="math")
    text = compare_values(rows[0][1], said[2], "math")
    assert text.needs_text and text.not_comparable
    assert scores.select("usable", "not_comparable", "form").rows() == [(3, 1, "math")]
    assert 1 / 3 <= scores["o"][0] <= (1 + 0.8) / 3
    assert "clear: 1 of 3 answers name nothing comparable" in caplog.text
    assert compare_values(rows[0][1], said[0], "math").consistency(0.0) == pytest.approx(1.0)
    assert compare_values(rows[0][1], said[1], "math").consistency(1.0) == 0.0


def test_the_model_is_asked_the_rows_own_question(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = use(monkeypatch, answers(lambda call: "10"))
    long = "Count the legs of each animal and add them up, which gives ten in all."
    confidence(EngineRun(store), [(QUESTION, long), (f"{QUESTION} ", "10")], samples=2)
    drawn = [call for call in engine.calls if call.sampling.temperature == 1]
    assert [text_of(call) for call in drawn[:2]] == [QUESTION] * 2
    assert text_of(drawn[2]) == f"{QUESTION} \n\nAnswer with a number and nothing else."
    reflections = [text_of(call) for call in engine.calls if call.sampling.temperature == 0]
    assert len(reflections) == 4
    assert all(QUESTION in text for text in reflections)
    assert sum(long in text for text in reflections) == 2


def test_samples_that_are_cut_or_failed_are_left_out_and_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [Reply("10 and", "truncated"), Reply("", "failed", error="x"), "10", "11", Reply("10")]
    use(monkeypatch, answers(lambda call: said[call.sample]))
    scores = confidence(EngineRun(store), [(QUESTION, "10")])
    assert scores.select("o", "samples", "usable").rows() == [(pytest.approx(2 / 3), 5, 3)]


def test_a_row_without_a_score_stays_and_says_why(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sampled(call: Any) -> Any:
        return Reply("no end", "truncated") if "unclear" in text_of(call) else text_of(call)[0]

    use(monkeypatch, answers(sampled))
    run = EngineRun(store)
    rows = [
        row("cut", turns("unclear?", "4")),
        row("own", [{"role": "assistant", "content": "Hello"}, {"role": "assistant", "content": "4"}]),
        row("good", turns("4?", "4")),
        row("bad", turns("5?", "4")),
    ]  # fmt: skip
    artifact, prepared = judge_stage(run, stored_rows(store, "pool", rows), {"kind": "clear"})
    scores = prepared["confidence"].read()
    assert scores.select("row_id", "reason").rows()[:3] == [
        ("cut", "no usable sample"), ("own", "no user turn before the response"), ("good", None)
    ]  # fmt: skip
    evidence = artifact.read()
    assert evidence["keep"].to_list() == [True, True, True, False]
    assert evidence["score"].to_list() == [None, None, 1.0, pytest.approx(0.3)]
    assert evidence["reason"].to_list() == [None, None, None, "low_confidence"]


def test_no_score_at_all_drops_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, answers(lambda call: Reply("no end", "truncated")))
    run = EngineRun(store)
    artifact, _ = judge_stage(run, pool(run, [("a?", "4"), ("b?", "5")]), {"kind": "clear"})
    assert artifact.read()["keep"].to_list() == [True, True]


def test_a_reflection_of_no_use_leaves_the_other_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = answers(lambda call: "10", reflect="B", doubt="A")
    use(monkeypatch, [(rules[0][0], "no JSON"), *rules[1:]])
    assert confidence(EngineRun(store), [(QUESTION, "10")])["s"].to_list() == [1.0]
    useless = (lambda call: call.request.schema and "none?" in " ".join(texts_of(call)), "none")
    use(monkeypatch, [useless, *rules])
    scores = confidence(EngineRun(store), [(QUESTION + "!", "10"), (QUESTION + " Or none?", "10")])
    assert scores["reason"].to_list() == [None, "no usable self-reflection"]


def judged(tmp_path: Path, scores: Sequence[float | None], **given: Any) -> pl.DataFrame:
    """Return the verdicts on rows with these confidences."""
    ids = [f"r{i}" for i in range(len(scores))]
    c = pl.Series(scores, dtype=pl.Float64)
    figures = {"row_id": ids, "o": c, "s": c, "c": c, "usable": 5, "not_comparable": 0}
    tables = {"confidence": pl.DataFrame(figures)}
    if "labels" in given:
        tables["labels"] = given["labels"]
        given["labels"] = {"path": "labels.jsonl"}
    store = Store(tmp_path / "store")
    prepared = {name: stored_table(store, name, table) for name, table in tables.items()}
    data = StageData(pl.DataFrame({"row_id": ids}).lazy(), prepared=prepared)
    return ClearStage.model_validate(given).decide(data).frame


def test_ties_at_the_median_go(tmp_path: Path) -> None:
    evidence = judged(tmp_path, [0.1, 0.5, 0.5, 0.5, 0.9, None])
    assert evidence["keep"].to_list() == [False, False, False, False, True, True]
    assert evidence["threshold"].to_list() == [0.5] * 6


def test_what_an_earlier_version_stored_can_still_be_cut_anew(store: Store) -> None:
    figures = {
        "row_id": ["a", "b"],
        "o": [0.1, 0.9],
        "s": [0.1, 0.9],
        "c": [0.1, 0.9],
        "usable": [5, 5],
    }
    table = stored_table(store, "confidence", pl.DataFrame(figures))
    data = StageData(pl.DataFrame({"row_id": ["a", "b"]}).lazy(), prepared={"confidence": table})
    assert ClearStage(threshold=0.5).decide(data).frame["keep"].to_list() == [False, True]


def test_the_median_halves_and_a_value_or_action_does_not(tmp_path: Path) -> None:
    scores = [i / 10 for i in range(10)]
    rng = random.Random(0)
    shuffled = rng.sample(scores, 10)
    assert judged(tmp_path, shuffled)["keep"].sum() == 5
    kept = judged(tmp_path, shuffled, threshold=0.3).filter("keep")["score"].to_list()
    assert sorted(kept) == pytest.approx(scores[4:])
    scored = judged(tmp_path, shuffled, action="score")
    assert scored["keep"].all()
    assert scored["threshold"].to_list() == [pytest.approx(0.45)] * 10


def test_a_precision_sets_the_lowest_threshold_that_reaches_it(tmp_path: Path) -> None:
    labels = pl.DataFrame(
        {"row_id": ["r5", "r4", "r3", "r2", "r1"], "correct": [True, True, False, True, False]}
    )
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    evidence = judged(tmp_path, scores, precision=0.75, labels=labels)
    assert evidence["keep"].to_list() == [False, False, True, True, True, True]
    evidence = judged(tmp_path, scores, precision=1.0, labels=labels)
    assert evidence["keep"].to_list() == [False] * 4 + [True] * 2
    with pytest.raises(UserError, match="the best one reaches 0\\."):
        judged(tmp_path, scores, precision=0.5, labels=labels.with_columns(correct=False))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"precision": 0.9}, "precision and labels go together"),
        ({"precision": 0.9, "labels": {"path": "x"}, "threshold": 0.5}, "not both"),
        ({"agreement": "nli"}, "needs a model"),
        ({"agreement": "model", "nli": "x"}, "leave out one"),
        ({"threshold": 1.5}, "less than or equal to 1"),
    ],
)
def test_contradicting_parameters(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ClearStage.model_validate(given)


def test_a_threshold_costs_no_call_and_labels_are_read_by_content(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = use(monkeypatch, answers(lambda call: text_of(call)[0]))
    run = EngineRun(store)
    rows = pool(run, [(f"{4 + i % 2}? {i}", "4") for i in range(20)])
    judge_stage(run, rows, {"kind": "clear"})
    calls = len(engine.calls)
    labels = tmp_path / "labels.jsonl"
    for shift, kept in ((0, 10), (1, 20)):
        lines = [{"row_id": f"r{i}", "correct": i % 2 == shift} for i in range(20)]
        labels.write_text("\n".join(json.dumps(line) for line in lines))
        given = {"kind": "clear", "precision": 1 - shift / 2, "labels": {"path": str(labels)}}
        artifact, _ = judge_stage(run, rows, given)
        assert artifact.read()["keep"].sum() == kept
    judge_stage(run, rows, {"kind": "clear", "threshold": 0.2})
    assert len(engine.calls) == calls


def test_equal_rows_are_asked_once_and_other_rows_change_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = use(monkeypatch, answers(lambda call: str(call.server_seed % 3)))
    alone = confidence(EngineRun(store), [("Which?", "1")])
    calls = len(engine.calls)
    among = confidence(EngineRun(store), [("What?", "2"), ("Which?", "1"), ("Which?", "1")])
    assert among["c"].to_list()[1:] == alone["c"].to_list() * 2
    assert not [c for c in engine.calls[calls:] if any("Which?" in t for t in texts_of(c))]


def test_an_engine_that_fails_is_an_error_and_keeps_what_came(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, answers(lambda call: Reply("", "failed", error="no route")))
    with pytest.raises(UserError, match="calls in a row had no answer"):
        confidence(EngineRun(store), [(f"{i}?", "4") for i in range(10)])


@pytest.mark.model
def test_right_rows_have_more_confidence_than_swapped_ones(store: Store, smollm: Path) -> None:
    people = ["a baker", "a sailor", "a teacher", "a nurse", "a farmer"]
    things = [
        "bread and cakes",
        "ships and the sea",
        "pupils at school",
        "sick people in hospitals",
        "cows and wheat fields",
    ]
    responses = [
        f"The work of {who} has to do with {what}."
        for who, what in zip(people, things, strict=True)
    ]
    questions = [f"Say in one sentence what {who} works with." for who in people]
    pairs = list(zip(questions, responses, strict=True)) + list(
        zip(questions, responses[1:] + responses[:1], strict=True)
    )
    scores = confidence(real_run(store, smollm), pairs, samples=3, max_tokens=32)["c"]
    assert scores.null_count() < len(pairs) / 4
    assert mean(scores[:5]) > mean(scores[5:])
