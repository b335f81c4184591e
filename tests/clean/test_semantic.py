"""Semantic duplicates: near vectors are twins, each dropped row has a kept one, numbers count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from curate.clean.semantic import SemanticStage, first_copies
from curate.core.calls import Table
from curate.core.keyed import ModelSource
from curate.core.ledger import evidence_of
from curate.core.store import Store
from curate.models.embed import unit
from curate.models.load import ModelLocation, identify
from curate.models.neighbours import allpairs
from tests.conftest import StoreRun, row, run_stage, stored_rows, turns

EGG = "How long do I have to boil an egg until it is hard?"
ORDER = "Until it is hard, how long do I have to boil an egg?"
RIVER = "Name the longest river of South America."


def judge(
    run: StoreRun, texts: Sequence[str], before: Mapping[str, Table] | None = None, **params: Any
) -> pl.DataFrame:
    """Return the evidence on rows with these prompts."""
    rows = [row(f"r{i:04}", turns(text, "ok")) for i, text in enumerate(texts)]
    kind = {"kind": "semantic", "compare": "prompt"}
    artifact = run_stage(run, {**kind, **params}, stored_rows(run.store, "pool", rows), {}, before)
    return pl.read_parquet(artifact.file("evidence.parquet"))


def kept(evidence: pl.DataFrame) -> list[int]:
    return [int(name[1:]) for name in evidence.filter("keep")["row_id"]]


def pairs_of(store: Store) -> pl.DataFrame:
    [folder] = store.root.glob("semantic-pairs-*")
    return pl.read_parquet(folder / "pairs.parquet")


@pytest.fixture
def run(store: Store) -> StoreRun:
    return StoreRun(store)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Sequence[float]]:
    """Vectors to embed texts with, by text; scaled to unit length."""
    table: dict[str, Sequence[float]] = {}

    def look_up(texts: Sequence[str], name: str) -> NDArray[np.float32]:
        return unit(np.array([table[text] for text in texts], dtype=np.float32))

    monkeypatch.setattr("curate.models.embed.embed_texts", look_up)
    return table


def angles(*degrees: float) -> list[tuple[float, float]]:
    return [(np.cos(np.radians(a)), np.sin(np.radians(a))) for a in degrees]


def test_copies_and_reordered_words_are_twins_at_a_cosine_of_one(run: StoreRun) -> None:
    evidence = judge(run, [EGG, RIVER, EGG, f"{EGG} ", ORDER], threshold=0.85)
    assert kept(evidence) == [0, 1]
    dropped = evidence.filter(~pl.col("keep"))
    assert dropped["reason"].unique().to_list() == ["semantic_duplicate"]
    assert dropped["duplicate_of"].unique().to_list() == ["r0000"]
    assert dropped["score"].to_list()[0] == 1.0
    assert dropped["threshold"].unique().to_list() == [0.85]
    same = pairs_of(run.store).filter("same")
    assert same.select("row_id", "other_id", "similarity").rows() == [("r0000", "r0002", 1.0)]


def test_a_chain_loses_its_middle_only(run: StoreRun, given: dict[str, Any]) -> None:
    # A~B and B~C at 20 degrees (0.94), A and C at 40 degrees (0.77).
    given |= dict(zip("abc", angles(0, 20, 40), strict=True))
    evidence = judge(run, ["a", "b", "c"])
    assert kept(evidence) == [0, 2]
    assert evidence["duplicate_of"].to_list() == [None, "r0000", None]
    assert evidence["score"].to_list() == pytest.approx([0.0, 0.9397, 0.0], abs=1e-4)


@pytest.mark.parametrize("brute_rows", [10_000, 50])
@pytest.mark.parametrize("seed", range(3))
def test_no_kept_pair_reaches_the_threshold_and_no_drop_lacks_a_kept_twin(
    run: StoreRun,
    given: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    brute_rows: int,
) -> None:
    monkeypatch.setattr(allpairs, "BRUTE_ROWS", brute_rows)
    monkeypatch.setattr(allpairs, "BRUTE_SHARE", 1.0)
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(30, 8))
    vectors = points[rng.integers(0, 30, 400)] + rng.normal(size=(400, 8)) * 0.3
    texts = [f"text {chr(0x4E00 + i)}" for i in range(len(vectors))]
    given |= dict(zip(texts, vectors.tolist(), strict=True))
    evidence = judge(run, texts)
    alive = np.array(kept(evidence))
    near = unit(vectors.astype(np.float32))
    cosines = near @ near.T
    np.fill_diagonal(cosines, 0)
    assert cosines[np.ix_(alive, alive)].max() < 0.9
    assert 50 < len(alive) < 350
    gone = np.setdiff1d(np.arange(400), alive)
    assert (cosines[np.ix_(gone, alive)].max(axis=1) >= 0.9 - 1e-6).all()
    twins = evidence["duplicate_of"].drop_nulls().str.slice(1).cast(pl.Int64)
    assert set(twins) <= set(alive.tolist())
    assert pairs_of(run.store).height == np.triu(cosines >= 0.8, 1).sum()


def test_beyond_the_exact_rows_the_share_of_pairs_that_is_found_is_measured(
    run: StoreRun, given: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(5)
    points = rng.normal(size=(60, 8))
    vectors = points[rng.integers(0, 60, 600)] + rng.normal(size=(600, 8)) * 0.3
    texts = [f"text {chr(0x4E00 + i)}" for i in range(len(vectors))]
    given |= dict(zip(texts, vectors.tolist(), strict=True))
    judge(run, texts, exact_rows=600)
    every = pairs_of(run.store)
    other = StoreRun(Store(run.store.root / "near"))
    judge(other, texts, exact_rows=100)
    some = pairs_of(other.store)
    assert some.join(every, on=some.columns, how="anti").height == 0
    (table,) = other.store.root.glob("semantic-pairs-*/search.parquet")
    recall = pl.read_parquet(table)["recall"].item()
    assert recall == pytest.approx(some.height / every.height, abs=0.02)
    assert 0.9 < recall <= 1
    assert f"{100 * recall:.1f} % are found" in caplog.text
    assert not list(run.store.root.glob("semantic-pairs-*/search.parquet"))


def test_the_order_of_rows_does_not_change_the_pairs(store: Store) -> None:
    texts = [EGG, ORDER, RIVER, "Name the longest river of all.", "Boil an egg.", "Boil eggs."]
    pair_sets = []
    for name, order in (("one", [0, 1, 2, 3, 4, 5]), ("two", [4, 2, 5, 0, 3, 1])):
        run = StoreRun(Store(store.root / name))
        judge(run, [texts[i] for i in order], floor=0.3)
        places = {f"r{at:04}": i for at, i in enumerate(order)}
        pairs = pairs_of(run.store).select("row_id", "other_id", "similarity").rows()
        pair_sets.append({(frozenset((places[a], places[b])), round(s, 5)) for a, b, s in pairs})
    assert pair_sets[0] == pair_sets[1]
    assert len(pair_sets[0]) > 3


def test_rows_whose_numbers_differ_are_no_twins(run: StoreRun) -> None:
    texts = [f"What is {a} + {b}?" for a, b in [(12, 5), (12, 6), (5, 12), (12, 5)]]
    assert kept(judge(run, texts, threshold=0.8)) == [0, 1, 2]
    assert kept(judge(run, texts, threshold=0.8, numbers=False)) == [0]
    # The reordered numbers have the very same tokens, but are another task.
    assert kept(judge(run, ["What is 7 - 3?", "What is 3 - 7?"])) == [0, 1]


def test_a_text_without_a_known_token_is_the_twin_of_its_copies_only(
    run: StoreRun, given: dict[str, Any]
) -> None:
    given |= {"?": (0.0, 0.0), "!": (0.0, 0.0), "word": (1.0, 0.0)}
    assert kept(judge(run, ["?", "!", "word", "?", "word"])) == [0, 1, 2]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [([], []), ([EGG], [0]), ([EGG] * 300, [0]), (["", "", EGG], [0, 2])],
    ids=["none", "one", "all the same", "empty texts"],
)
def test_small_and_monotonous_pools(run: StoreRun, texts: list[str], expected: list[int]) -> None:
    assert kept(judge(run, texts)) == expected
    assert pairs_of(run.store).height == len(texts) - len(expected)


def test_rows_that_an_earlier_stage_dropped_take_no_part(run: StoreRun) -> None:
    rows = [row(f"r{i:04}", turns(t, "ok")) for i, t in enumerate([EGG, EGG, ORDER])]
    pool = stored_rows(run.store, "pool", rows)
    exact = run_stage(run, {"kind": "exact"}, pool, {})
    stage = {"kind": "semantic", "compare": "prompt", "threshold": 0.85}
    artifact = run_stage(run, stage, pool, {}, {"exact": evidence_of(exact)})
    evidence = pl.read_parquet(artifact.file("evidence.parquet"))
    assert evidence.select("row_id", "keep").rows() == [("r0000", True), ("r0002", False)]


def test_another_threshold_or_policy_does_no_embedding_or_search(run: StoreRun) -> None:
    texts = [EGG, ORDER, RIVER]
    judge(run, texts)
    assert run.executed_steps == ["embed", "semantic-pairs", "semantic"]
    for change in ({"threshold": 0.95}, {"keep": "longest"}, {"rows": 2}):
        run.executed_steps.clear()
        judge(run, texts, **change)
        assert run.executed_steps == ["semantic"]
    run.executed_steps.clear()
    judge(run, texts, floor=0.5)
    assert run.executed_steps == ["semantic-pairs", "semantic"]
    run.executed_steps.clear()
    judge(run, texts, compare="example")
    assert run.executed_steps == ["embed", "semantic-pairs", "semantic"]


def test_copies_are_found_by_text_or_by_all_bits_of_the_vector() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8], [1, 0], [1, 0], [0, 0], [0, 0], [0, 0]])
    texts = pl.Series([1, 1, 2, 3, 4, 5, 4], dtype=pl.UInt64)
    numbers = pl.Series([7, 7, 7, 8, 7, 7, 7], dtype=pl.UInt64)
    first_rows = first_copies(texts, numbers, vectors.astype(np.float32))
    assert first_rows.tolist() == [0, 0, 0, 3, 4, 5, 4]


def test_the_language_model_represents_whole_rows_only() -> None:
    with pytest.raises(ValidationError, match="it needs `compare: example`"):
        SemanticStage(embedder="lm", compare="prompt")


def test_a_language_models_cosines_are_high_so_are_its_thresholds() -> None:
    other, model = SemanticStage(), SemanticStage(embedder="lm")
    assert (other.threshold, other.floor) == (0.9, 0.8)
    assert (model.threshold, model.floor) == (0.98, 0.95)
    assert SemanticStage(embedder="lm", threshold=0.96).threshold == 0.96
    again = SemanticStage.model_validate(model.model_dump(mode="json"))
    assert again == model


@dataclass
class ModelRun(StoreRun):
    folder: Path = Path()

    @property
    def base(self) -> ModelSource:
        identity = identify(ModelLocation("m", "folder", self.folder), "float32")
        return ModelSource(identity, self.folder)


def test_the_base_model_can_be_the_embedder(store: Store, tiny: Path) -> None:
    run = ModelRun(store, folder=tiny)
    texts = [EGG, RIVER, EGG, *(f"something else {c}" for c in "abc")]
    evidence = judge(run, texts, compare="example", embedder="lm", threshold=0.9999)
    assert evidence["duplicate_of"].to_list()[2] == "r0000"
    assert kept(evidence)[:2] == [0, 1]
    assert run.executed_steps == ["index", "semantic-pairs", "semantic"]


@pytest.mark.model
def test_a_sentence_transformer_sees_meaning(run: StoreRun) -> None:
    texts = [EGG, "How many minutes does it take to hard-boil eggs?", RIVER, "Boil the river."]
    texts += [f"Tell me about {thing}." for thing in ("cats", "trees", "kings", "bread")]
    evidence = judge(run, texts, embedder="minilm", threshold=0.75, floor=0.7)
    assert kept(evidence) == [0, *range(2, len(texts))]
    assert evidence["duplicate_of"].to_list()[1] == "r0000"
