"""Near duplicates as a stage, through a real store: true similarities, and the pairs that are owed."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.clean import fuzzy
from curate.clean.fuzzy import FuzzyStage, few_rows
from curate.config.recipe import Config
from curate.core import threads
from curate.core.calls import StoreRunner, Table
from curate.core.errors import UserError
from curate.core.ledger import evidence_of, judge_rows
from curate.core.rows import Message
from curate.core.store import Artifact, Computation, Store
from curate.pipeline.inputs import input_sets
from curate.text import minhash
from curate.text.minhash import choose_bands
from curate.text.shingles import shingle
from tests.conftest import StoreRun, row, run_stage, stored_rows, stored_table, turns

DATA = Path(__file__).parents[2] / "data"
# Texts alone decide: for what is found, whatever tells similar rows apart.
TEXTS_ALONE = {"system": False, "numbers": False, "responses": False}
Gram = tuple[str, ...]


@dataclass
class Run(StoreRun):
    """What a stage is given to run its own calls with; it needs no model."""

    artifacts: list[Artifact] = field(default_factory=list)

    def execute_all(self, computations: Sequence[Computation]) -> list[Artifact]:
        artifacts = super().execute_all(computations)
        self.artifacts += artifacts
        return artifacts


@dataclass(frozen=True)
class Judged:
    """What a stage left: verdicts, and what they were made from."""

    verdicts: pl.DataFrame
    pairs: pl.DataFrame
    step: Artifact
    prepared: list[Artifact]

    @cached_property
    def kept(self) -> list[str]:
        return self.verdicts.filter("keep")["row_id"].to_list()

    @cached_property
    def dropped(self) -> dict[str, str]:
        return dict(
            self.verdicts.filter(~pl.col("keep")).select("row_id", "duplicate_of").iter_rows()
        )

    @cached_property
    def similarities(self) -> dict[tuple[str, str], float]:
        return {(a, b): s for a, b, s, _ in self.pairs.iter_rows()}


def judge(
    store: Store, pool: Table, before: Mapping[str, Table] | None = None, /, **params: Any
) -> Judged:
    run, read = Run(store), FuzzyStage.model_validate({**TEXTS_ALONE, **params})
    verdicts, prepared = judge_rows(run, "fuzzy", read, pool, before or {}, {})
    return Judged(verdicts.read(), prepared["pairs"].read(), verdicts.artifact, run.artifacts[:-1])


def pool_of(store: Store, texts: Sequence[str], answer: str = "") -> Table:
    """Rows r0, r1, ... whose turns together are the text: its first half asks, the rest answers."""
    rows = []
    for i, text in enumerate(texts):
        words = text.split(" ")
        half = len(words) // 2
        rows.append(row(f"r{i}", turns(" ".join(words[:half]), " ".join([*words[half:], answer]))))
    return stored_rows(store, "pool", rows)


def dropping(store: Store, rows: Table, gone: Sequence[str]) -> Table:
    """Evidence of an earlier stage that drops these rows."""
    keep = ~pl.col("row_id").is_in(list(gone))
    return stored_table(store, "evidence", rows.read(["row_id"]).with_columns(keep=keep))


# --- the oracle -----------------------------------------------------------------------------------


def grams(text: str, ngram: int = 5, unit: str = "word") -> frozenset[Gram]:
    units = (
        re.findall("[a-z0-9]+", text.lower()) if unit == "word" else " ".join(text.lower().split())
    )
    if len(units) < ngram:
        return frozenset({("whole", " ".join(text.lower().split()))})
    return frozenset(tuple(units[at : at + ngram]) for at in range(len(units) - ngram + 1))


def jaccards(texts: Sequence[str], **how: Any) -> dict[tuple[str, str], float]:
    """The similarity of all pairs."""
    sets = [grams(text, **how) for text in texts]
    return {
        (f"r{a}", f"r{b}"): len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        for a, b in combinations(range(len(texts)), 2)
    }


def perturbed(seed: int, count: int) -> list[str]:
    """Texts in families: words replaced, cut off, moved; some equal but for case and signs."""
    rng = random.Random(seed)
    vocabulary = [f"word{i}" for i in range(400)]
    texts: list[str] = []
    while len(texts) < count:
        base = rng.choices(vocabulary, k=rng.randrange(6, 90))
        for _ in range(rng.randrange(1, 9)):
            words = list(base)
            for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
                words[rng.randrange(len(words))] = rng.choice(vocabulary)
            if rng.random() < 0.2:
                words = words[rng.randrange(4) :]
            if rng.random() < 0.2:
                words = words + words[: rng.randrange(6)]
            text = " ".join(words)
            texts.append(text.upper() + " !" if rng.random() < 0.2 else text)
    return texts[:count]


def greedy(
    names: Sequence[str], near: Mapping[tuple[str, str], float], threshold: float
) -> list[str]:
    """The rows that stay when they are gone through in pool order."""
    kept: list[str] = []
    for name in names:
        if all(near.get((k, name), 0.0) < threshold for k in kept):
            kept.append(name)
    return kept


# --- pairs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "unit", "ngram", "floor"),
    [
        (0, "word", 5, 0.6),
        (1, "word", 5, 0.8),
        (2, "word", 1, 0.8),
        (3, "word", 3, 0.3),
        (4, "char", 12, 0.6),
    ],
)
def test_pairs_have_their_true_similarity_and_as_many_are_found_as_the_bands_promise(
    store: Store, seed: int, unit: str, ngram: int, floor: float
) -> None:
    texts = perturbed(seed, 140)
    true = jaccards(texts, ngram=ngram, unit=unit)
    judged = judge(
        store, pool_of(store, texts), unit=unit, ngram=ngram, floor=floor, threshold=0.8
    )  # fmt: skip
    similarities = judged.similarities
    assert judged.pairs.height == len(similarities)
    assert all(a != b and (b, a) not in similarities for a, b in similarities)
    assert {pair: true[pair] for pair in similarities} == similarities
    assert min(similarities.values()) >= floor
    owed = {pair: s for pair, s in true.items() if s >= floor}
    assert len(owed) > 60
    # Rows with the same set are compared through the first of them.
    first: dict[frozenset[Gram], str] = {}
    heads = {f"r{i}": first.setdefault(grams(t, ngram, unit), f"r{i}") for i, t in enumerate(texts)}
    owed = {pair: s for pair, s in owed.items() if all(heads[name] == name for name in pair)}
    bands, rows = choose_bands(floor)
    missed = sum((1 - s**rows) ** bands for s in owed.values())
    met = len(set(owed) & set(similarities))
    assert len(owed) - met <= missed + 3 * math.sqrt(missed) + 2
    # And no verdict differs from that of a loop over all pairs, where none was missed.
    if met == len(owed):
        assert judged.kept == greedy([f"r{i}" for i in range(140)], true, 0.8)


@pytest.mark.parametrize("compare", ["prompt", "response"])
def test_only_the_named_part_is_compared(store: Store, compare: str) -> None:
    texts = perturbed(3, 120)
    other = perturbed(4, 120)
    sides = (texts, other) if compare == "prompt" else (other, texts)
    system: Message = {
        "role": "system",
        "content": "You are of great help to everyone who asks for it.",
    }
    rows = [
        row(f"r{i}", [system, *turns(*both)]) for i, both in enumerate(zip(*sides, strict=True))
    ]
    judged = judge(store, stored_rows(store, "pool", rows), compare=compare)
    true = jaccards(texts)
    similarities = judged.similarities
    assert {pair: true[pair] for pair in similarities} == similarities
    assert judged.kept == greedy([f"r{i}" for i in range(120)], true, 0.7)


def test_every_dropped_row_has_a_kept_twin_and_its_true_similarity(store: Store) -> None:
    texts = perturbed(5, 120)
    true = jaccards(texts)
    judged = judge(store, pool_of(store, texts), keep="longest", threshold=0.75)
    assert len(judged.dropped) > 30
    for row_id, keep, reason, score, threshold, twin in judged.verdicts.iter_rows():
        assert threshold == 0.75
        if keep:
            assert (reason, twin) == (None, None)
            assert score < 0.75
        else:
            assert (reason, twin in judged.kept) == ("fuzzy_duplicate", True)
            pair = (twin, row_id) if (twin, row_id) in true else (row_id, twin)
            assert score == true[pair] >= 0.75
    assert max(s for pair, s in true.items() if set(pair) <= set(judged.kept)) < 0.75


def test_a_pair_exactly_at_the_floor_is_stored_and_at_the_threshold_drops(store: Store) -> None:
    texts = [f"a{i} b{i} c{i} {end}{i}" for i in range(12) for end in "de"]
    judged = judge(store, pool_of(store, texts), ngram=1, floor=0.6, threshold=0.6)
    similarities = judged.similarities
    assert set(similarities.values()) == {3 / 5}
    assert set(similarities) <= {(f"r{i}", f"r{i + 1}") for i in range(0, 24, 2)}
    assert len(similarities) >= 11
    assert judged.dropped == {b: a for a, b in similarities}


def test_rows_with_the_same_set_of_grams_are_the_same(store: Store) -> None:
    text = "one two three four five six seven eight nine ten"
    texts = [
        text,
        text.upper(),
        "something else that shares no five words with any other",
        f"{text.replace(' ', ', ')}!",
        f"{text} {text}",
        "short text",
        "SHORT  text",
        "short text!",
        f"{text} {text} {text}",
    ]
    judged = judge(store, pool_of(store, texts))
    assert [line for line in judged.pairs.iter_rows() if line[3]] == [
        ("r0", "r1", 1.0, True),
        ("r0", "r3", 1.0, True),
        ("r4", "r8", 1.0, True),
        ("r5", "r6", 1.0, True),
    ]
    assert judged.dropped == {"r1": "r0", "r3": "r0", "r6": "r5", "r8": "r4"}


def long_texts_of_one_signature() -> tuple[str, str]:
    """Two texts that differ in a word, and of whose n-grams none that differs is a minimum."""
    words = [f"word{i}" for i in range(2000)]
    for at in range(10, 400):
        changed = [*words[:at], "changed", *words[at + 1 :]]
        texts = [" ".join(words), " ".join(changed)]
        one, two = minhash.signatures(shingle(pl.Series(texts), "word", 5))
        if (one == two).all():
            return texts[0], texts[1]
    raise AssertionError("no such text")


def test_copies_are_found_beside_a_row_that_only_has_their_signature(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they are too many for a bucket: equal rows are never left to chance."""
    monkeypatch.setattr(minhash, "BUCKET", 3)
    text, other = long_texts_of_one_signature()
    texts = [other, *(text + "!" * i for i in range(10)), other + "?"]
    judged = judge(store, pool_of(store, texts), threshold=1.0)
    same = judged.pairs.filter("same")
    assert list(same.select("row_id", "other_id").iter_rows()) == [
        ("r0", "r11"), *(("r1", f"r{i}") for i in range(2, 11)),
    ]  # fmt: skip
    assert judged.kept == ["r0", "r1"]
    assert judged.similarities["r0", "r1"] == jaccards([text, other])["r0", "r1"] < 1


# --- parts, batches, order- -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes", [(7, 1000, 20_000), (1000, 7, 20_000), (64, 5, 3), (1, 1, 1)], ids=str
)
def test_parts_and_batches_change_no_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int, int]
) -> None:
    texts = perturbed(6, 60 if min(sizes) > 1 else 12)
    whole, parts = Store(tmp_path / "whole"), Store(tmp_path / "parts")
    one_rows, two_rows = (pool_of(store, texts) for store in (whole, parts))
    gone = [f"r{i}" for i in range(60) if i % 8 == 3 or 21 <= i < 28]
    one = judge(whole, one_rows, {"e": dropping(whole, one_rows, gone)})
    monkeypatch.setattr("curate.core.tableparts.PART_ROWS", sizes[0])
    for name, value in zip(("BATCH_ROWS", "VERIFY_PAIRS"), sizes[1:], strict=True):
        monkeypatch.setattr(fuzzy, name, value)
    two = judge(parts, two_rows, {"e": dropping(parts, two_rows, gone)})
    parts_with_rows = {i // sizes[0] for i in range(len(texts)) if f"r{i}" not in gone}
    assert len(two.prepared) == len(parts_with_rows) + 1
    assert two.pairs.height > (0 if len(texts) == 12 else 15)
    assert one.pairs.equals(two.pairs)
    assert one.verdicts.equals(two.verdicts)


def test_keys_in_buckets_give_the_pairs_of_all_keys_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [*perturbed(6, 24), *alike(15), *(["the very same words once more here"] * 5)]
    tables = []
    for keys in (fuzzy.BUCKET_KEYS, len(texts) // 2, 40):
        monkeypatch.setattr(fuzzy, "BUCKET_KEYS", keys)
        store = Store(tmp_path / str(keys))
        tables.append(judge(store, pool_of(store, texts)))
    whole = tables[0]
    assert whole.pairs.filter("same").height
    assert whole.pairs.filter(~pl.col("same")).height
    for buckets in tables[1:]:
        assert whole.pairs.equals(buckets.pairs)
        assert whole.step.counts == buckets.step.counts


def test_the_same_pool_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = perturbed(7, 120)
    digests = []
    for name in ("one", "two"):
        store = Store(tmp_path / name)
        judged = judge(store, pool_of(store, texts))
        digests.append([a.digest for a in (*judged.prepared, judged.step)])
    assert digests[0] == digests[1]


def test_the_order_of_the_pool_does_not_matter_where_a_policy_has_no_ties(store: Store) -> None:
    """Rows are of different lengths; signs make them so where their words are the same."""
    texts = [text + " " + "." * (200 * i) for i, text in enumerate(perturbed(8, 100))]

    def partition(judged: Judged, order: list[str]) -> set[tuple[str, str]]:
        text_of = {f"r{i}": text for i, text in enumerate(order)}
        representatives = judged.verdicts.select(
            "row_id", pl.col("duplicate_of").fill_null(pl.col("row_id"))
        )
        return {(text_of[a], text_of[b]) for a, b in representatives.iter_rows()}

    whole = judge(store, pool_of(store, texts), keep="longest")
    assert len(whole.kept) < 70
    for seed in (0, 1):
        mixed = random.Random(seed).sample(texts, len(texts))
        again = judge(store, pool_of(store, mixed), keep="longest")
        assert partition(again, mixed) == partition(whole, texts)


# --- the pool as earlier stages leave it ----------------------------------------------------------


def test_rows_that_an_earlier_stage_dropped_take_no_part(store: Store) -> None:
    text = "one two three four five six seven eight nine ten"
    rows = pool_of(store, [text, text + " eleven", text + " twelve", text + "!"])
    assert judge(store, rows).dropped == {"r1": "r0", "r2": "r0", "r3": "r0"}
    judged = judge(store, rows, {"earlier": dropping(store, rows, ["r0"])})
    assert judged.verdicts["row_id"].to_list() == ["r1", "r2", "r3"]
    assert set(judged.similarities) == {("r1", "r2"), ("r1", "r3"), ("r2", "r3")}
    assert judged.dropped == {"r2": "r1", "r3": "r1"}
    both = {"a": dropping(store, rows, ["r0"]), "b": dropping(store, rows, ["r2"])}
    assert judge(store, rows, both).dropped == {"r3": "r1"}


def test_a_pool_that_earlier_stages_emptied_has_no_verdicts(store: Store) -> None:
    rows = pool_of(store, perturbed(9, 5))
    judged = judge(store, rows, {"earlier": dropping(store, rows, [f"r{i}" for i in range(5)])})
    assert (judged.verdicts.height, judged.pairs.height) == (0, 0)
    assert judged.step.counts == {"rows_in": 0, "rows_out": 0, "dropped": {}}


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(
    "params", [{}, {"rows": 5}, {"unit": "char"}, {"compare": "prompt"}], ids=str
)
def test_no_row_and_one_row_are_kept(store: Store, count: int, params: dict[str, Any]) -> None:
    judged = judge(store, pool_of(store, ["one row of the pool"] * count), **params)
    assert judged.kept == ["r0"][:count]
    assert judged.pairs.height == 0


def test_of_a_pool_of_one_text_one_row_stays(store: Store) -> None:
    rows = pool_of(
        store,
        ["the same text in every row of it, whatever the signs" + "!" * i for i in range(400)],
    )
    judged = judge(store, rows)
    assert judged.kept == ["r0"]
    assert judged.pairs.height == 399
    assert judge(store, rows, keep="longest").kept == ["r399"]
    assert judge(store, rows, rows=7).kept == [f"r{i}" for i in range(7)]


def test_texts_without_words_are_told_apart_by_their_signs(store: Store) -> None:
    judged = judge(
        store, pool_of(store, ["+ +", "- -", "+  +", "12 + 3", "12 * 3", "? !", "12 +  3"])
    )
    assert judged.dropped == {"r2": "r0", "r6": "r3"}


# --- many rows that are alike ---------------------------------------------------------------------


def alike(count: int) -> list[str]:
    """Rows of one template: any two share 51 of 61 n-grams."""
    words = [f"w{i}" for i in range(60)]
    return [" ".join([*words[:30], f"x{i}", *words[31:]]) for i in range(count)]


def test_of_more_rows_of_a_template_than_a_bucket_compares_one_stays(store: Store) -> None:
    assert minhash.BUCKET < 300
    rows = pool_of(store, alike(300))
    judged = judge(store, rows)
    assert judged.kept == ["r0"]
    assert set(judged.similarities.values()) == {51 / 61}
    assert len(judge(store, rows, rows=42).kept) == 42
    assert len(judge(store, rows, threshold=0.85).kept) == 300


@pytest.mark.parametrize(("bucket", "keep"), [(2, "earliest"), (8, "longest"), (32, "longest")])
def test_of_rows_of_a_template_no_more_stay_than_windows_fit_in_any_band(
    store: Store, monkeypatch: pytest.MonkeyPatch, bucket: int, keep: str
) -> None:
    """The guarantee: two rows of a bucket both stay only with BUCKET rows of it between them."""
    monkeypatch.setattr(minhash, "BUCKET", bucket)
    judged = judge(store, pool_of(store, alike(200)), keep=keep)
    keys = pl.read_parquet(judged.prepared[0].file("keys.parquet"))
    limits = [
        sum(math.ceil(size / (bucket + 1)) for size in keys[band].value_counts()["count"])
        for band in keys.columns[1:-1]
    ]
    assert 1 <= len(judged.kept) <= min(limits)
    assert set(judged.dropped.values()) <= set(judged.kept)


# --- what is done again ---------------------------------------------------------------------------


def test_what_decides_on_pairs_can_change_without_finding_them_anew(store: Store) -> None:
    rows = pool_of(store, perturbed(10, 60))
    first = judge(store, rows)
    for params in (
        {"threshold": 0.65},
        {"threshold": 0.95},
        {"keep": "longest"},
        {"keep": {"sources": ["web"]}},
        {"rows": 55},
    ):
        again = judge(store, rows, **params)
        assert [a.key for a in again.prepared] == [a.key for a in first.prepared], params
        assert all(a.cached for a in again.prepared), params
        assert again.step.key != first.step.key


def test_what_makes_other_pairs_finds_them_anew(store: Store) -> None:
    rows = pool_of(store, perturbed(10, 60))
    keys = {a.key for a in judge(store, rows).prepared}
    for params in (
        {"ngram": 4},
        {"unit": "char"},
        {"compare": "prompt"},
        {"compare": "response"},
        {"floor": 0.5},
    ):
        again = judge(store, rows, **params)
        assert not any(a.cached for a in again.prepared), params
        assert not keys & {a.key for a in again.prepared}, params
        keys |= {a.key for a in again.prepared}


def test_another_floor_that_needs_the_same_bands_reads_the_same_signatures(store: Store) -> None:
    rows = pool_of(store, perturbed(10, 60))
    one, two = (judge(store, rows, floor=floor, threshold=0.7) for floor in (0.6, 0.61))
    assert choose_bands(0.6) == choose_bands(0.61)
    assert [a.key == b.key for a, b in zip(one.prepared, two.prepared, strict=True)] == [
        True,
        False,
    ]


def test_pairs_depend_on_what_earlier_stages_dropped(store: Store) -> None:
    rows = pool_of(store, perturbed(10, 60))
    one = judge(store, rows, {"earlier": dropping(store, rows, ["r0"])})
    two = judge(store, rows, {"earlier": dropping(store, rows, ["r1"])})
    assert not {a.key for a in one.prepared} & {a.key for a in two.prepared}


def test_more_drops_than_the_pairs_allow_are_refused(store: Store) -> None:
    rows = pool_of(store, [f"row {i} of {i} words a{i} b{i} c{i} d{i}" for i in range(5)])
    with pytest.raises(
        UserError, match="cannot go down to 2 rows: 5 are left when every pair with"
    ):
        judge(store, rows, rows=2)


# --- the bundled pool -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Table, Table]:
    """The bundled pool and the verdicts of `exact` on it."""
    store = Store(tmp_path_factory.mktemp("bundled"))
    config = Config.model_validate(
        {
            "name": "bundled",
            "pool": {"path": str(DATA / "pool" / "*"), "source": "bundled"},
            "select": {"method": "random", "budget": {"rows": 1}},
        }
    )
    rows = input_sets(config)["pool"].read(StoreRunner(store))
    exact = run_stage(StoreRun(store), {"kind": "exact", "fold": ["space"]}, rows, {})
    return store, rows, evidence_of(exact)


@pytest.mark.parametrize("keep", ["earliest", "longest"])
def test_all_planted_near_duplicates_and_nothing_else_are_found(
    bundled: tuple[Store, Table, Table], keep: str
) -> None:
    store, rows, exact = bundled
    lines = [json.loads(line) for line in (DATA / "truth.jsonl").read_text("utf-8").splitlines()]
    planted = {(t["row_id"], t["twin_id"]) for t in lines if t["defect"] == "near_duplicate"}
    copied = {t["row_id"] for t in lines if t["defect"] == "exact_duplicate"}
    dropped = exact.read().filter(~pl.col("keep"))["row_id"]
    assert set(dropped) == copied
    guards = {"system": True, "numbers": True, "responses": True}
    judged = judge(store, rows, {"exact": exact}, keep=keep, **guards)
    assert len(judged.dropped) == len(planted) == 80
    if keep == "earliest":
        assert set(judged.dropped.items()) == planted
    pairs = {frozenset(pair) for pair in planted}
    assert {frozenset(pair) for pair in judged.dropped.items()} == pairs
    lengths = {
        name: sum(len(m["content"]) for m in messages)
        for name, messages in rows.read(["row_id", "messages"]).iter_rows()
    }
    if keep == "longest":
        assert all(lengths[gone] <= lengths[twin] for gone, twin in judged.dropped.items())


def test_pairs_are_compared_part_by_part_where_their_rows_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = perturbed(12, 12)
    digests = []
    for held in (fuzzy.HELD_ROWS, 2, 3, 20):
        monkeypatch.setattr(fuzzy, "HELD_ROWS", held)
        store = Store(tmp_path / str(held))
        judged = judge(store, pool_of(store, texts), floor=0.3)
        assert judged.pairs.height > 10
        digests.append([a.digest for a in judged.prepared])
    assert digests == [digests[0]] * 4


@pytest.mark.parametrize("held", [2, 3, 40])
def test_parts_of_pairs_have_few_rows(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzy, "HELD_ROWS", held)
    pairs = np.random.default_rng(0).integers(0, 2**40, 50, dtype=np.uint64)
    parts = list(few_rows(pairs))
    assert np.concatenate(parts).tolist() == pairs.tolist()
    assert all(len(part) <= max(held - 1, 1) for part in parts)


def test_any_number_of_threads_stores_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = perturbed(11, 40)
    monkeypatch.setattr(fuzzy, "BATCH_ROWS", 8)
    digests = []
    for count in (1, 2, 5):
        monkeypatch.setattr(threads, "usable_cores", lambda count=count: count)
        store = Store(tmp_path / str(count))
        judged = judge(store, pool_of(store, texts), floor=0.3)
        assert len(judged.pairs) > 30
        digests.append([a.digest for a in (*judged.prepared, judged.step)])
    assert digests == [digests[0]] * 3


def test_a_pool_of_very_many_files_is_searched(store: Store, tmp_path: Path) -> None:
    """A plan of a frame for each of a thousand files stops for want of threads."""
    files = [tmp_path / f"{number}.parquet" for number in range(1_000)]
    for number, file in enumerate(files):
        if number < 10:
            keys = pl.DataFrame({"row": [0, 1], "band-000": [number, 7]})
            keys.cast({"row": pl.UInt32, "band-000": pl.UInt64}).write_parquet(file)
        else:
            file.hardlink_to(files[number % 10])
    table = fuzzy.keys_of_pool(files, [2 * number for number in range(1_000)]).collect()
    assert table["row"].to_list() == list(range(2_000))
    assert table["band-000"].to_list()[::2] == [number % 10 for number in range(1_000)]
