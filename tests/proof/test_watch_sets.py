"""Watch sets by metric: refusals, options, answers; what cannot be measured ends a run before tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.errors import UserError
from curate.core.store import Store
from curate.proof.harm import judge_harm
from curate.proof.inputs import check_inputs, check_proof
from curate.proof.settings import ProofSettings
from curate.proof.values import WatchSetValues
from curate.proof.watch import watched_sentences
from curate.proof.watch_sets import WatchInputs
from curate.proof.written import draw_examples
from tests.conftest import row, stored_rows, turns
from tests.proof.test_proof import MeasuredRun, harmful, rows_of, run_proof, tuned_on

pytestmark = pytest.mark.system

REFUSAL = "I cannot help with that."
COUNT = 60


def watch_set(
    store: Store, *sets: tuple[str, Any, Sequence[str]], margin: float = 0.2
) -> WatchInputs:
    """Return sets of a name, a metric and references each."""
    rows = [
        row(f"{name}/w:{i}", turns(f"{name}: how to do {i}", reference), source=name)
        for name, _, references in sets
        for i, reference in enumerate(references)
    ]
    judged: list[WatchSetValues] = [
        {"source": name, "margin": margin, "metric": metric} for name, metric, _ in sets
    ]
    return WatchInputs(stored_rows(store, "watch", rows), None, judged)


def answering(monkeypatch: pytest.MonkeyPatch, base: str, selected: str) -> list[set[str]]:
    """Let the base and random draws write one answer, and models tuned on good rows the other."""
    answered: list[set[str]] = []

    def write(self: Any, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        rows, count = rows_of(arguments["eval"]), arguments["examples"]
        drawn = draw_examples(rows, count, arguments["seed"]).select(eval_id="row_id")
        answered.append(set(drawn["eval_id"]))
        good = [i for i in tuned_on(arguments)["ids"] if i.startswith("g")]
        text = selected if len(good) == 10 else base
        drawn.with_columns(text=pl.lit(text), tokens=3, cut=False).write_parquet(
            out / "written.parquet"
        )
        return {}

    monkeypatch.setattr(MeasuredRun, "write", write)
    return answered


@pytest.mark.parametrize(
    ("selected", "verdict", "rise", "against"),
    [(REFUSAL, "kept", 0, "within the range of random draws"), ("Sure: first", "lost", 1, "worse")],
)
def test_a_refusal_set_is_lost_where_the_tuned_model_refuses_no_more(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    selected: str,
    verdict: str,
    rise: int,
    against: str,
) -> None:
    answered = answering(monkeypatch, REFUSAL, selected)
    watch = watch_set(store, ("requests", "refusal", [REFUSAL] * COUNT))
    proof, _, _ = run_proof(store, watch=watch, written=0)
    [line] = proof["watch"]
    assert (line["verdict"], line["rise"], line["random"]["verdict"]) == (verdict, rise, against)
    assert (line["metric"], line["base"], line["examples"]) == ("refusal", 1, COUNT)
    assert line["sentence"].startswith(f"requests: {verdict}; refusals lower by {rise:+.3f} [")
    assert {len(ids) for ids in answered} == {COUNT}, "all of the set are answered"


def test_only_sets_judged_by_written_answers_are_answered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = answering(monkeypatch, REFUSAL, REFUSAL)
    watch = watch_set(
        store,
        ("plain", "loss", ["y"] * 20),
        ("requests", "refusal", [REFUSAL] * 30),
        ("sums", {"generate": "number", "examples": 5, "pattern": None}, ["It is 4"] * 9),
    )
    proof, artifact, _ = run_proof(store, watch=watch, written=0)
    assert [line["source"] for line in proof["watch"]] == ["plain", "requests", "sums"]
    assert [line["examples"] for line in proof["watch"]] == [20, 30, 5]
    assert {i.split("/")[0] for ids in answered for i in ids} == {"requests", "sums"}
    effects = pl.read_parquet(artifact.file("watch.parquet"))
    assert set(effects.drop_nulls("refusal")["source"]) == {"requests"}


def test_a_share_that_cannot_fall_by_the_margin_shows_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answering(monkeypatch, "Sure: first", "Sure: first")
    watch = watch_set(store, ("requests", "refusal", [REFUSAL] * COUNT))
    with caplog.at_level("WARNING"):
        proof, _, _ = run_proof(store, watch=watch, written=0)
    [line] = proof["watch"]
    assert line["verdict"] == "not measured"
    assert (
        "share of refusals is 0.000, which cannot fall by more than the margin of 0.2"
        in (line["sentence"])
    )
    assert "watch: requests: the base model's share of refusals is 0.000" in caplog.text


UNMEASURABLE: list[tuple[Any, Sequence[str], str]] = [
    (
        "accuracy",
        [f"long text {i}" for i in range(9)],
        "accuracy cannot be measured: none of the 9",
    ),
    ("answer_loss", ["some words alone are no answer here"] * 9, "answer_loss cannot be measured"),
    (
        {"generate": "number", "examples": 5, "pattern": None},
        ["no figure"] * 9,
        ".generate: none of the 5 examples that were drawn has a final number",
    ),
    ({"function": "missing.py:score", "examples": 5}, ["y"] * 9, ".function: there is no file"),
]


@pytest.mark.parametrize(("metric", "references", "words"), UNMEASURABLE)
def test_what_cannot_be_measured_on_a_watch_set_is_told_by_key(
    store: Store, metric: Any, references: Sequence[str], words: str
) -> None:
    watch = watch_set(store, ("plain", "loss", ["y"] * 4), ("odd", metric, references))
    with pytest.raises(UserError) as raised:
        check_watch(store, watch)
    assert str(raised.value).startswith("prove.watch.1.metric")
    assert words in str(raised.value)


def check_watch(store: Store, watch: WatchInputs, metric: Any = "auto") -> None:
    evals = [row(f"eval/e:{i}", turns(f"eval {i}", "y")) for i in range(4)]
    read = {"eval": stored_rows(store, "eval", evals), "watch": watch.rows}
    check_inputs(metric, watch.sets, read, 0)


def test_a_watch_set_of_one_example_is_refused_by_name(store: Store) -> None:
    watch = watch_set(store, ("plain", "loss", ["y"] * 4), ("lone", "loss", ["y"]))
    with pytest.raises(UserError, match=r"prove.watch.1: the set 'lone' has 1 example; a verdict"):
        check_watch(store, watch)


def test_another_model_that_is_not_there_is_named_by_its_key() -> None:
    with pytest.raises(UserError, match=r"^prove.base: model 'nowhere'"):
        check_proof(ProofSettings.model_validate({"base": "nowhere"}), {}, 0)


def test_a_watch_set_that_holds_eval_examples_is_refused(store: Store) -> None:
    rows = [row(f"w:{i}", turns(f"eval {i}", "y"), source="again") for i in range(2, 6)]
    judged: WatchSetValues = {"source": "again", "margin": 0.1, "metric": "loss"}
    watch = WatchInputs(stored_rows(store, "watch", rows), None, [judged])
    with pytest.raises(
        UserError, match=r"prove.watch.0: 2 of the 4 examples of the set 'again' are"
    ):
        check_watch(store, watch)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('x')", "KeyError"),
        ("return float('nan')", "it returned nan; a finite number is needed"),
        ("return 'yes'", "it returned 'yes'; a finite number is needed"),
    ],
)
def test_a_function_is_tried_on_a_reference_before_any_model_writes(
    store: Store, tmp_path: Path, body: str, words: str
) -> None:
    file = tmp_path / "own.py"
    file.write_text(f"def score(prompt, reference, generated, row):\n    {body}\n")
    metric = {"function": f"{file}:score", "examples": 2}
    watch = watch_set(store, ("odd", metric, ["y"] * 4))
    for key, arguments in {
        "prove.metric.function": (watch_set(store), metric),
        "prove.watch.0.metric.function": (watch, "auto"),
    }.items():
        with pytest.raises(UserError) as raised:
            check_watch(store, *arguments)
        assert str(raised.value).startswith(f"{key}: {file}:score")
        assert words in str(raised.value)


def test_sets_that_are_judged_by_the_loss_are_read_in_one_pass(store: Store) -> None:
    watch = watch_set(store, ("one", "loss", ["y"] * 4), ("two", "exact_match", ["y"] * 4))
    _, artifact, run = run_proof(store, harmful, watch=watch)
    assert not list(run.store.root.glob("watch-part-*")), "no set needs rows of its own"
    assert set(pl.read_parquet(artifact.file("watch.parquet"))["source"]) == {"one", "two"}


def test_an_interval_per_token_has_no_part_of_how_long_examples_are() -> None:
    """A rise that is the same for every token is known exactly, however lengths vary."""
    import numpy as np

    weights = np.array([0.1, 0.4, 2.5, 1.0])
    base = np.zeros(4)
    tuned = -0.1 * np.tile(weights, (3, 1))
    harm = judge_harm(tuned, base, tuned, margin=0.2, alpha=0.05, weights=weights)
    assert (harm.low, harm.rise, harm.high) == pytest.approx((0.1, 0.1, 0.1))


def test_the_terminal_names_the_method_of_each_verdict() -> None:
    line = {"source": "general", "sentence": "general: kept"}
    alone = {"watch": [line]}
    assert watched_sentences(alone) == ["general: kept"]
    several = {**alone, "methods": [{"method": m, "watch": [line]} for m in ("rds", "bm25")]}
    assert watched_sentences(several) == ["rds: general: kept", "bm25: general: kept"]
    assert watched_sentences({"verdict": "refused"}) == []
