"""Every registered selector on rows that it cannot score: last, never selected, and told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl
import pytest

from curate.core.errors import UserError
from curate.core.keyed import EngineSource
from curate.core.methods import find_method, methods_in
from curate.core.rows import Message
from curate.core.selector import Selector
from curate.core.store import Store
from curate.selectors.cascade import CascadeSelector
from curate.selectors.planner import PlanContext, choose
from curate.selectors.scored import order_rows
from curate.selectors.selection import choice_remarks, rank_rows, select_by
from tests.conftest import stored_table, turns
from tests.generate.scripted import ScriptedEngine, texts_of
from tests.selectors.lossruns import ModelRun

BEHIND = turns("word " * 60, "cut off, all of it, and never read by any model at all")
MUTE = turns("hollow", "hollow")
SCORED = [
    turns(f"Turn {n} owls and {n} cats around", f"Here are {n} owls and {n} cats for all of you")
    for n in range(3, 9)
]
LOSSES = {"max_length": 96}
WARMUP = {"epochs": 1, "rank": 2, "alpha": 8, "learning_rate": 1e-3, "batch_rows": 4}
ONE = {"method": "bm25"}
# The settings of each method, and a row that it has no score for; None: it scores every row.
CASES: dict[str, tuple[dict[str, Any], Sequence[Message] | None]] = {
    "all": ({}, None),
    "random": ({}, None),
    "mixture": ({}, None),
    "length": ({}, None),
    "gme": ({}, None),
    "ifd": (LOSSES, BEHIND),
    "perplexity": ({**LOSSES, "of": "response"}, BEHIND),
    "perplexity_ratio": ({**LOSSES, "epochs": 1}, BEHIND),
    "delta_loss": ({**LOSSES, "warmup": WARMUP}, BEHIND),
    "less": ({**LOSSES, "warmup": WARMUP}, BEHIND),
    "cluster_less": ({**LOSSES, "warmup": WARMUP, "cluster_rows": 2}, MUTE),
    "rds": (LOSSES, MUTE),
    "tss": (LOSSES, BEHIND),
    "bm25": ({}, MUTE),
    "dsir": ({}, MUTE),
    "embed": ({}, MUTE),
    "got": ({}, MUTE),
    "gip": ({}, MUTE),
    "kcenter": ({}, MUTE),
    "facility": ({}, MUTE),
    "clusters": ({"clusters": 2}, MUTE),
    "smart": ({}, MUTE),
    "deita": ({"score": "judge.score"}, MUTE),
    "instag": ({"tags": "judge.tags"}, MUTE),
    "judge": ({}, MUTE),
    "saved": ({"path": "stands for one"}, MUTE),
    "scorer": ({"model": "stands for one"}, MUTE),
    "bsr": ({"encoder": "static", "candidates": 50}, MUTE),
    "blend": ({"parts": [{"method": "length"}, ONE]}, MUTE),
    "sources": ({"within": ONE}, MUTE),
    "cascade": ({"parts": [{"method": "length", "keep": 1.0}, ONE]}, MUTE),
}
METHODS = sorted(CASES)


class AnyRun(ModelRun):
    """A run with an engine, of which nothing is asked for real."""

    def engine(self, params: Any) -> EngineSource:
        settings = params.model_dump(mode="json")
        return EngineSource({"engine": "scripted"}, settings, {}, Path(":memory:"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One for all methods: what they make of the same rows is made once."""
    return Store(tmp_path_factory.mktemp("scored"))


@pytest.fixture(autouse=True)
def mute_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let embedders, encoders, judges and classifiers know nothing of a row with `hollow`."""

    def random_vector(text: str, width: int) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng(crc32(text.encode()))
        vector = np.zeros(width) if "hollow" in text else rng.normal(size=width)
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1), dtype=np.float32)

    def embed(texts: Sequence[str], name: str) -> np.ndarray[Any, Any]:
        return np.array([random_vector(text, 8) for text in texts])

    def tokens(texts: Sequence[str], runtime: Any) -> list[np.ndarray[Any, Any]]:
        return [np.array([random_vector(text, 8)]) for text in texts]

    def grade(call: Any) -> str:
        return (
            "..." if "hollow" in str(texts_of(call)) else json.dumps({"reason": "so", "score": 4})
        )

    engine = ScriptedEngine([(lambda call: True, grade)])
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: engine)
    monkeypatch.setattr("curate.models.embed.embed_texts", embed)
    monkeypatch.setattr("curate.selectors.bsr.encode_tokens", tokens)


def run_of(store: Store, folder: Path, texts: Sequence[Any]) -> AnyRun:
    run = AnyRun(store, folder=folder, texts=texts, targets=SCORED[:2])
    hollow = ["hollow" in str(row) for row in texts]
    table = pl.DataFrame(
        {
            "row_id": [f"r{i:03}" for i in range(len(texts))],
            "score": [None if h else 1.0 for h in hollow],
            "tags": [None if h else "a; b" for h in hollow],
        },
        schema={"row_id": pl.String, "score": pl.Float64, "tags": pl.String},
    ).with_columns(keep=True)
    run.evidence = {"judge": stored_table(store, "evidence", table)}
    return run


def selector_of(method: str, budget: int = 50) -> Selector:
    settings = {"budget": {"rows": budget}, **CASES[method][0]}
    return find_method(Selector, method).model_validate(settings)


def scores_of(run: AnyRun, method: str) -> pl.DataFrame:
    # What a broken checkpoint, broken hidden states and a table give, without one.
    if method in ("scorer", "rds", "saved"):
        rows = run.rows.read()
        values = [np.nan if "hollow" in str(row) else 1.0 for row in rows["messages"].to_list()]
        frame = rows.select("row_id", score=pl.Series(values), nearest_id=pl.lit(None, pl.String))
        similar = np.nan_to_num(np.array([values, values], dtype=np.float32).T)
        return frame.with_columns(similarities=pl.Series(similar, dtype=pl.Array(pl.Float32, 2)))
    return selector_of(method).score_rows(run).read()


def test_every_selector_has_a_case() -> None:
    assert set(CASES) == set(methods_in(Selector))


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_a_score_come_last_and_are_never_selected(
    store: Store, tiny: Path, method: str
) -> None:
    # A row whose words are unlike the target's has a weight like any other, as long as one is like them.
    bad = None if method == "dsir" else CASES[method][1]
    texts = SCORED if bad is None else [bad, *SCORED[:3], bad, *SCORED[3:]]
    run, selector = run_of(store, tiny, texts), selector_of(method)
    table = scores_of(run, method)
    ranked = rank_rows(table, run.tokens.read(), selector, 0)
    lacking = [] if bad is None else ["r000", "r004"]
    assert ranked.filter(pl.col("unscored").is_not_null())["row_id"].to_list() == lacking
    assert ranked["row_id"].to_list()[len(SCORED) :] == lacking
    if method == "all":
        return
    mixed = rank_rows(
        table.sample(fraction=1, shuffle=True, seed=1), run.tokens.read(), selector, 0
    )
    assert mixed.equals(ranked)
    chosen = choose(ranked, selector, PlanContext(pl.LazyFrame()))
    assert chosen["selected"].to_list() == [True] * len(SCORED) + [False] * len(lacking)
    assert set(chosen["reason"][len(SCORED) :]) <= {"unscored"}


@pytest.mark.parametrize("method", [name for name in METHODS if CASES[name][1] is not None])
def test_a_method_that_can_score_no_row_says_so(store: Store, tiny: Path, method: str) -> None:
    run = run_of(store, tiny, [CASES[method][1]] * 3)
    with pytest.raises(UserError) as caught:
        rank_rows(scores_of(run, method), run.tokens.read(), selector_of(method), 0)
    sentence = str(caught.value)
    assert "\n" not in sentence
    # These know more of the cause, and say so before there is a table of scores.
    warmed = "warm-up: none of its 3 rows"
    own = {
        "less": warmed,
        "delta_loss": warmed,
        "cluster_less": "cluster_less: the embedder knows nothing in any of 3",
        "judge": "judge: none of 3 answers was of use",
    }
    if method in own:
        assert sentence.startswith(own[method])
        return
    assert "could score none of the 3 rows (3: " in sentence
    assert sentence.split()[0] in (method, "bm25")


# Without scorer, which needs a classifier.
ALONE = ["embed", "ifd", "judge", "less", "perplexity", "perplexity_ratio", "rds"]


def test_the_methods_that_score_each_row_alone() -> None:
    alone = [name for name, cls in methods_in(Selector).items() if cls.scores_alone]
    assert sorted(alone) == sorted([*ALONE, "scorer"])


@pytest.mark.parametrize("method", ALONE)
def test_further_rows_get_the_scores_that_they_get_with_the_others(
    store: Store, tiny: Path, method: str
) -> None:
    run, selector = run_of(store, tiny, SCORED), selector_of(method)
    table = selector.score_rows(run).read()
    part = stored_table(store, "kept", run.kept.read()[[1, 4]])
    further = selector.score_more(run, part).read()
    assert further.schema == table.schema
    assert further["row_id"].to_list() == ["r001", "r004"]
    # Its score is a place in the middle of all rows, made anew from the losses by its ranking.
    column = "response_loss" if method == "perplexity" else "score"
    expected = table[column].gather([1, 4]).to_numpy()
    np.testing.assert_allclose(further[column].to_numpy(), expected, atol=1e-5)


# All but the one that compares a row's prompt with those of others.
@pytest.mark.parametrize("method", sorted({*METHODS} - {"tss"}))
def test_a_pool_of_one_row_is_ranked(store: Store, tiny: Path, method: str) -> None:
    run = run_of(store, tiny, SCORED[:1])
    ranked = rank_rows(scores_of(run, method), run.tokens.read(), selector_of(method), 0)
    assert ranked["row_id"].to_list() == ["r000"]
    assert ranked["unscored"].null_count() == 1


@pytest.mark.parametrize("value", [None, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["less", "judge", "got", "scorer", "dsir"])
def test_a_score_that_is_no_finite_number_is_none(method: str, value: float | None) -> None:
    table = pl.DataFrame({"row_id": ["a", "b", "c"], "score": [value, -9.0, 2.0]})
    order = order_rows(table, selector_of(method), 0)
    assert order.rows.tolist() == [2, 1, 0]
    assert order.unscored.to_list() == [None, None, "its score is no finite number"]


def test_a_selection_counts_and_tells_rows_without_a_score(store: Store, tiny: Path) -> None:
    run = run_of(store, tiny, [MUTE, *SCORED])
    selector = selector_of("bm25", budget=7)
    result = select_by(run, selector, selector.score_rows(run))
    counts = result.selection.counts
    assert counts["rows_out"] == 6
    assert counts["unscored"] == {"shares no word with any target example": 1}
    assert counts["reasons"] == {"unscored": 1}
    remarks = choice_remarks(selector, counts)
    assert "1 of 7 rows could not be scored and are not selected (1: shares no word" in remarks[0]
    assert "the budget of 7 rows is not spent: no more than 6 rows" in remarks[1]
    assert choice_remarks(selector_of("bm25", budget=6), counts) == remarks[:1]
    short = {"rows_in": 7, "rows_out": 2}
    assert choice_remarks(selector_of("bm25", budget=5), short) == [
        "the budget of 5 rows is not spent: no more than 2 rows could be selected"
    ]
    assert choice_remarks(selector_of("bm25", budget=9), short | {"rows_out": 7}) == []
    filtered = find_method(Selector, "all").model_validate({"filter": "source = 'a'"})
    assert choice_remarks(filtered, short) == []


def test_a_cascade_hands_no_row_without_a_score_on(store: Store, tiny: Path) -> None:
    run = run_of(store, tiny, [MUTE, *SCORED])
    parts = [{"method": "bm25", "keep": 1.0}, {"method": "length", "order": "shortest"}]
    cascade = CascadeSelector.model_validate({"budget": {"rows": 7}, "parts": parts})
    table = cascade.score_rows(run).read()
    order = order_rows(table, cascade, 0)
    assert table["row_id"][order.rows].to_list()[-1] == "r000"
    assert order.unscored[-1] == "bm25: shares no word with any target example"
