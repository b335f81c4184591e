"""CLEAR's correction: who is doubted, what is replaced, what is written down, and a tuned model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.loading import load_config
from curate.core.calls import Table
from curate.core.derived_rows import derived_id
from curate.core.digests import digest_file
from curate.core.errors import UserError
from curate.core.ledger import evidence_of
from curate.core.stage import APPENDED
from curate.core.store import Store
from curate.core.turntext import plain_messages
from curate.judge.correct import CorrectStage, corrected_rows
from curate.judge.tune import TuneParams, tune
from curate.llm.engines.loading import identify_engine
from curate.llm.engines.parameters import TransformersParams
from curate.models.finetune import ADAPTER
from tests.conftest import frame, row, stored, stored_rows, turns
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.judge.clearruns import EngineRun, judge_stage, pool, real_run, use

PAIRS = [
    ("1?", "one"), ("2?", "wrong two"), ("3?", "three"), ("4?", "wrong four"), ("5?", "wrong five"),
    ("6?", "wrong six"), ("7?", "same seven"), ("8?", "unscored"),
]  # fmt: skip
SCORES = [0.9, 0.1, 0.8, 0.2, 0.3, 0.1, 0.2, None]
ANSWERS: dict[str, Any] = {
    "2?": "right two", "4?": "worse four", "5?": Reply("cut", "truncated"), "6?": "odd six",
    "7?": "Same  seven",
}  # fmt: skip


def scored(
    store: Store,
    threshold: float | None = 0.5,
    scores: list[float | None] | None = None,
    dropped: tuple[str, ...] = (),
) -> Table:
    values = scores or SCORES
    ids = [f"r{i}" for i in range(len(values))]
    evidence = pl.DataFrame(
        {"row_id": ids, "score": pl.Series(values, dtype=pl.Float64)}
    ).with_columns(
        keep=~pl.col("row_id").is_in(list(dropped)),
        reason=pl.lit(None, dtype=pl.String),
        threshold=pl.lit(threshold, dtype=pl.Float64),
        duplicate_of=pl.lit(None, dtype=pl.String),
    )
    return evidence_of(stored(store, "clear", {"evidence": evidence}))


def judge(call: Any) -> str:
    """Prefer what is right, and be wary of what is worse; six is a close call."""
    text = text_of(call)
    a, b = text.split("Response A:")[1].split("Response B:")
    if "six" in a:
        return json.dumps({"reason": "?", "better": "B" if "odd" in b else "A"})
    better = "B" if ("right" in b or "worse" in a) else "A"
    return json.dumps({"reason": "so it is", "better": better})


def reflect(call: Any) -> str:
    text = text_of(call)
    one, two = text.split("Response 1:")[1].split("Response 2:")
    if "six" in one:
        # All judgements are for the new one, all doubts against it: 0.7.
        return '{"answer": "B"}' if "odd" in two else '{"answer": "A"}'
    return json.dumps({"answer": "A" if ("right" in two or "worse" in one) else "B"})


def corrector(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> ScriptedEngine:
    said = ANSWERS | changes
    rules: list[Any] = [
        ("Which one, A, B or C?", reflect),
        ("Response A:", judge),
        (lambda call: text_of(call) in said, lambda call: said[text_of(call)]),
    ]
    return use(monkeypatch, rules)


def corrected(
    run: EngineRun, scores: Table, **given: Any
) -> tuple[pl.DataFrame, Mapping[str, Table]]:
    stage = {"kind": "correct", "model": "base", **given}
    artifact, prepared = judge_stage(run, pool(run, PAIRS), stage, {"clear": scores})
    return artifact.read(), prepared


def test_doubted_rows_are_replaced_or_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = corrector(monkeypatch)
    evidence, prepared = corrected(EngineRun(store), scored(store))
    kept = [True, False, True, False, False, False, False, True]
    assert evidence["keep"].to_list() == kept
    assert evidence["score"].to_list() == SCORES
    assert evidence["reason"].to_list() == [
        None, "corrected", None, *["low_confidence"] * 4, None
    ]  # fmt: skip
    assert evidence["duplicate_of"].drop_nulls().to_list() == [derived_id("r1", "correct")]
    prompts = [text_of(c) for c in engine.calls if text_of(c).endswith("?") and len(text_of(c)) < 4]
    assert sorted(prompts) == ["2?", "4?", "5?", "6?", "7?"]
    new_rows = prepared[APPENDED].read().to_dicts()
    assert [plain_messages(m["messages"]) for m in new_rows] == [turns("2?", "right two")]
    assert (new_rows[0]["parents"], new_rows[0]["method"], new_rows[0]["hop"]) == (
        ["r1"],
        "correct",
        1,
    )
    assert plain_messages(new_rows[0]["rejected"]) == turns("2?", "wrong two")[1:]
    note = {"how": "correct", "rejected_id": "r1", "margin": pytest.approx(1.0)}
    assert json.loads(new_rows[0]["meta"])["pair"] == note


def test_a_new_response_that_is_rather_worse_makes_no_pair() -> None:
    earlier = json.dumps({"level": "easy", "pair": {"how": "prefer"}})
    parents = frame([row(f"r{i}", turns("2?", "old"), meta=earlier) for i in range(3)])
    parents = parents.with_columns(new=pl.lit("new"), confidence=pl.Series([0.9, 0.5, 0.3]))
    new = corrected_rows(parents)
    assert new["rejected"].is_not_null().to_list() == [True, False, False]
    assert plain_messages(new["rejected"][0]) == turns("2?", "old")[1:]
    notes = [json.loads(meta) for meta in new["meta"]]
    assert notes[0]["pair"]["margin"] == pytest.approx(0.8)
    assert notes[1:] == [{"level": "easy"}] * 2


def test_both_confidences_and_the_decision_are_written_down(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrector(monkeypatch)
    _, prepared = corrected(EngineRun(store), scored(store))
    corrections = prepared["corrections"].read()
    assert corrections.select("row_id", "old", "new", "decision").rows() == [
        ("r1", "wrong two", "right two", "replaced"),
        ("r3", "wrong four", "worse four", "not better"),
        ("r4", "wrong five", None, "no usable answer"),
        ("r5", "wrong six", "odd six", "not better"),
        ("r6", "same seven", "Same  seven", "the same answer"),
    ]
    assert corrections["confidence_old"].to_list() == [0.1, 0.2, 0.3, 0.1, 0.2]
    assert corrections["confidence"].to_list() == [
        pytest.approx(1.0), pytest.approx(0.0), None, pytest.approx(0.7), None
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("checker", "old", "new", "decision", "unread"),
    [
        ("auto", "42", "The answer is 42.", "the same answer", 0),
        ("auto", "42", "x^2 right 42y", "replaced", 1),
        ("auto", "It is right\n#### 42", "So right\n#### 42", "replaced", 0),
        ("numeric", "It is right\n#### 42", "So right\n#### 42", "the same answer", 0),
        ("math", r"\boxed{x^2-1}", r"\boxed{(x-1)(x+1)}", "the same answer", 0),
    ],
)
def test_the_same_value_is_the_same_answer_and_what_is_not_comparable_is_judged(
    store: Store, monkeypatch: pytest.MonkeyPatch, checker: str, old: str, new: str, decision: str,
    unread: int, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def reflected(call: Any) -> str:
        return json.dumps({"answer": "AB"[new not in text_of(call).split("Response 2:")[1]]})

    def compared(call: Any) -> str:
        better = "AB"[new not in text_of(call).split("Response B:")[0]]
        return json.dumps({"reason": "", "better": better})

    preferred: list[Any] = [("Which one, A, B or C?", reflected), ("Response A:", compared)]
    preferred.append((lambda call: True, new))
    use(monkeypatch, preferred)
    run = EngineRun(store)
    stage = {"kind": "correct", "model": "base", "checker": checker}
    rows = pool(run, [("1?", old)])
    _, prepared = judge_stage(run, rows, stage, {"clear": scored(store, scores=[0.1])})
    (line,) = prepared["corrections"].read().to_dicts()
    assert line["decision"] == decision
    assert caplog.text.count("1 of 1 answers name nothing comparable") == unread


def test_exactly_the_wanted_confidence_is_not_enough(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrector(monkeypatch)
    for limit, decision in ((0.69, "replaced"), (0.7, "not better")):
        _, prepared = corrected(EngineRun(store), scored(store), confidence=limit)
        corrections = prepared["corrections"].read().filter(row_id="r5")
        assert corrections.select("confidence", "decision").rows() == [(0.7, decision)]


def test_other_doubted_rows_may_be_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    corrector(monkeypatch)
    evidence, _ = corrected(EngineRun(store), scored(store), otherwise="keep")
    assert evidence.filter(~pl.col("keep"))["row_id"].to_list() == ["r1"]


def test_thresholds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    corrector(monkeypatch)
    for threshold, doubted in ((0.15, ["r1", "r5"]), ("median", ["r1", "r3", "r5", "r6"])):
        _, prepared = corrected(EngineRun(store), scored(store, None), threshold=threshold)
        assert prepared["corrections"].read()["row_id"].to_list() == doubted
    with pytest.raises(UserError, match="has not one threshold; give one, or median"):
        corrected(EngineRun(store), scored(store, None))


def test_nothing_doubted_costs_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = corrector(monkeypatch)
    evidence, prepared = corrected(EngineRun(store), scored(store), threshold=0.01, model="tuned")
    assert evidence["keep"].all()
    assert prepared[APPENDED].read().height == 0
    assert not engine.calls


def test_faults_of_the_recipe(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    corrector(monkeypatch)
    run = EngineRun(store)
    with pytest.raises(UserError, match="no earlier stage is named 'other'"):
        corrected(run, scored(store), by="other")
    with pytest.raises(UserError, match=r"gave none of its . rows a score, so none can be doubted"):
        corrected(run, scored(store, scores=[None] * 8))
    with pytest.raises(UserError, match=r"dropped the 5 rows that it doubts.*action: score"):
        corrected(run, scored(store, dropped=("r1", "r3", "r4", "r5", "r6")))
    with pytest.raises(UserError, match="nothing to tune on"):
        corrected(run, scored(store), threshold=0.9, model="tuned")


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("[{kind: exact}, {kind: correct}]", "'clear' is no earlier stage"),
        ("[{kind: clear}, {kind: correct}]", "give `action: score` there"),
        ("[{kind: clear, action: score}, {kind: correct, by: clear-2}]", "'clear-2' is no earlier"),
    ],
)
def test_a_recipe_is_checked_before_anything_runs(
    tmp_path: Path, stages: str, message: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"name: x\npool: a.jsonl\nstages: {stages}\nselect: {{method: random, budget: {{rows: 1}}}}\n"
    )
    with pytest.raises(UserError, match=message):
        load_config(path)


def test_the_tuned_model_is_one_of_its_own(store: Store, tiny: Path) -> None:
    run = EngineRun(store, folder=tiny)
    rows = stored_rows(store, "pool", [row(f"r{i}", turns("Say it", "abcabc")) for i in range(16)])
    params = TuneParams(epochs=6, learning_rate=0.02)
    tuned = tune(run, rows, [f"r{i}" for i in range(16)], params)
    losses = tuned.counts["train_loss"]
    assert losses[-1] < losses[0]
    path = tuned.file(ADAPTER)
    plain, source = (
        run.engine(TransformersParams()),
        run.engine(TransformersParams(adapter=str(path))),
    )
    assert "adapter" not in plain.identity
    assert source.identity == {**plain.identity, "adapter": digest_file(path)}
    from curate.llm.engines import engine_of
    from curate.llm.requests import Call, Sampling, chat

    request = chat("Say it", sampling=Sampling(temperature=0, max_tokens=6))
    engine = engine_of(source)
    assert engine.identity() == source.identity
    assert engine.complete([Call(request)])[0].text == "abcabc"


def test_a_missing_adapter_is_a_user_error(tiny: Path) -> None:
    from curate.models.settings import ModelNames

    with pytest.raises(UserError, match="there is no file nowhere"):
        identify_engine(TransformersParams(adapter="nowhere"), ModelNames(base=str(tiny)))


def test_defaults_are_those_published() -> None:
    params = CorrectStage()
    assert (params.confidence, params.max_tokens, params.model) == (0.8, 512, "tuned")


@pytest.mark.model
def test_a_tuned_model_answers_and_a_real_judge_decides(store: Store, smollm: Path) -> None:
    run = real_run(store, smollm)
    sums = [(f"What is {i} plus {i}?", f"The sum is {2 * i}.") for i in range(2, 8)]
    scores = scored(store, scores=[0.9, 0.9, 0.9, 0.9, 0.1, 0.1])
    stage = {"kind": "correct", "samples": 1, "max_tokens": 24, "tune": {"epochs": 6}}
    artifact, prepared = judge_stage(run, pool(run, sums), stage, {"clear": scores})
    corrections = prepared["corrections"].read()
    assert corrections["new"].str.starts_with("The sum is").all()
    assert artifact.read()["keep"].to_list()[:4] == [True] * 4
