"""MinHash and banding: the probabilities of theory, and every pair of a bucket."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.text import minhash
from curate.text.minhash import (
    PERMUTATIONS,
    RECALL,
    band_keys,
    bucket_pairs,
    choose_bands,
    distinct,
    mix,
    signatures,
)
from curate.text.shingles import Shingles, shingle
from tests.conftest import examples


def chance(similarity: float, bands: int, rows: int) -> float:
    """Leskovec et al., section 3.4.2."""
    return 1 - (1 - similarity**rows) ** bands


def flat(sets: Sequence[Sequence[int]]) -> Shingles:
    starts = np.concatenate([[0], np.cumsum([len(one) for one in sets])]).astype(np.int64)
    return Shingles(np.array([v for one in sets for v in one], dtype=np.uint64), starts)


def pairs_of_sets(count: int, union: int, shared: int, seed: int) -> Shingles:
    """Pairs of sets of random hashes, text 2i and 2i + 1, that share `shared` of `union` members."""
    values = np.random.default_rng(seed).integers(0, 2**64, (count, union), dtype=np.uint64)
    alone = (union - shared) // 2
    one, two = values[:, : shared + alone], values[:, alone:]
    assert one.shape == two.shape
    width = shared + alone
    hashes = np.stack([one, two], axis=1).reshape(-1)
    return Shingles(hashes, np.arange(2 * count + 1, dtype=np.int64) * width)


# --- bands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("permutations", [PERMUTATIONS, 64, 100, 1])
@pytest.mark.parametrize("similarity", [0.05, 0.3, 0.5, 0.6, 0.62, 0.7, 0.8, 0.9, 0.95, 0.999, 1.0])
def test_bands_are_as_long_as_the_recall_allows(similarity: float, permutations: int) -> None:
    bands, rows = choose_bands(similarity, permutations)
    possible = [
        (b, r)
        for r in range(1, permutations + 1)
        for b in range(1, permutations // r + 1)
        if chance(similarity, b, r) >= RECALL
    ]
    if not possible:
        assert (bands, rows) == (permutations, 1)
        return
    assert (bands, rows) in possible
    assert rows == max(r for _, r in possible)
    assert bands == permutations // rows
    # No other banding of as many values takes up fewer pairs that are less similar.
    for r in {r for _, r in possible}:
        for lower in np.linspace(0.01, similarity * 0.9, 20):
            rival = chance(lower, permutations // r, r)
            assert chance(lower, bands, rows) <= rival + 1e-12


def test_the_default_floor_and_threshold_are_met_almost_surely() -> None:
    bands, rows = choose_bands(0.6)
    assert (bands, rows) == (51, 5)
    assert chance(0.6, bands, rows) > 0.98
    assert chance(0.7, bands, rows) > 0.9999
    assert chance(0.2, bands, rows) < 0.02


@pytest.mark.parametrize("similarity", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_pairs_share_a_band_as_often_as_theory_says(similarity: float) -> None:
    count, union = 6000, 40
    sets = pairs_of_sets(count, union, round(similarity * union), seed=int(similarity * 10))
    signature = signatures(sets)
    for bands, rows in [(42, 6), (32, 8), (16, 16), choose_bands(similarity)]:
        keys = band_keys(signature, bands, rows)[:, :bands]
        met = (keys[0::2] == keys[1::2]).any(axis=1).mean()
        expected = chance(similarity, bands, rows)
        sigma = np.sqrt(expected * (1 - expected) / count)
        assert abs(met - expected) <= 3 * sigma + 1e-9, (bands, rows, met, expected)


def test_unlike_sets_hardly_ever_share_a_band() -> None:
    sets = pairs_of_sets(4000, 60, 6, seed=3)
    keys = band_keys(signatures(sets), 42, 6)[:, :42]
    met = (keys[0::2] == keys[1::2]).any(axis=1).sum()
    assert met <= 3


# --- signatures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("similarity", [0.1, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("union", [40, 200])
def test_agreement_of_signatures_estimates_jaccard_without_bias(
    similarity: float, union: int
) -> None:
    count = 1500
    signature = signatures(pairs_of_sets(count, union, round(similarity * union), seed=union))
    agreed = (signature[0::2] == signature[1::2]).mean(axis=1)
    sigma = np.sqrt(similarity * (1 - similarity) / PERMUTATIONS)
    assert abs(agreed.mean() - similarity) <= 3.5 * sigma / np.sqrt(count)
    assert agreed.std() == pytest.approx(sigma, rel=0.12)


def test_agreement_estimates_jaccard_for_sets_of_unlike_size() -> None:
    rng = np.random.default_rng(5)
    agreements = []
    for _ in range(150):
        large = rng.integers(0, 2**64, 90, dtype=np.uint64)
        one, two = signatures(flat([large.tolist(), large[:30].tolist()]))
        agreements.append((one == two).mean())
    assert np.mean(agreements) == pytest.approx(1 / 3, abs=0.012)


def test_grams_of_words_do_as_well_as_random_hashes() -> None:
    """Rolled hashes have structure; it may not show in the estimate."""
    rng = np.random.default_rng(6)
    errors = []
    for _ in range(100):
        words = [f"w{k}" for k in rng.integers(0, 500, 60)]
        changed = [w if rng.random() > 0.03 else "x" for w in words]
        grams = [{tuple(t[i : i + 5]) for i in range(56)} for t in (words, changed)]
        one, two = signatures(shingle(pl.Series([" ".join(words), " ".join(changed)]), "word", 5))
        errors.append((one == two).mean() - len(grams[0] & grams[1]) / len(grams[0] | grams[1]))
    assert abs(np.mean(errors)) < 0.008
    assert np.std(errors) < 0.04


@given(
    st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_order_and_repeats_of_grams_play_no_part(sets: list[list[int]], rng: random.Random) -> None:
    mixed = [one + one[: len(one) // 2] for one in sets]
    for one in mixed:
        rng.shuffle(one)
    assert (signatures(flat(sets)) == signatures(flat(mixed))).all()


def test_a_signature_is_made_of_the_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, neighbours and the text's place play no part."""
    rng = np.random.default_rng(7)
    sets = [
        rng.integers(0, 2**64, n, dtype=np.uint64).tolist() for n in (1, 40, 3, 200, 1, 17, 64, 2)
    ]
    whole = signatures(flat(sets))
    for block in (1, 5, 64, 100, 10**6):
        monkeypatch.setattr(minhash, "BLOCK", block)
        assert (signatures(flat(sets)) == whole).all()
    for i, one in enumerate(sets):
        assert (signatures(flat([one])) == whole[i]).all()
    assert (signatures(flat(sets), 64).shape, whole.shape) == ((8, 64), (8, PERMUTATIONS))


def test_a_signature_is_the_minimum_of_its_functions() -> None:
    """Each value is the least over the set, so that of a union is the least of both."""
    rng = np.random.default_rng(8)
    one, two = (rng.integers(0, 2**64, 30, dtype=np.uint64).tolist() for _ in range(2))
    first, second, union = signatures(flat([one, two, one + two]))
    assert (np.minimum(first, second) == union).all()
    assert len(np.unique(union)) > 250


def test_every_bit_of_a_gram_has_a_part_in_its_mix() -> None:
    base = np.random.default_rng(9).integers(0, 2**64, 2000, dtype=np.uint64)
    for bit in range(64):
        changed = mix(base) ^ mix(base ^ np.uint64(1 << bit))
        assert (changed != 0).mean() > 0.999, bit


def test_no_texts_have_no_signatures() -> None:
    empty = Shingles(np.empty(0, dtype=np.uint64), np.zeros(1, dtype=np.int64))
    assert signatures(empty).shape == (0, PERMUTATIONS)
    assert band_keys(signatures(empty), 42, 6).shape == (0, 43)


def test_signatures_are_the_same_in_every_version() -> None:
    signature = signatures(flat([[1, 2, 3], [2**64 - 1], [0]]))
    assert signature[0, :4].tolist() == [376244616, 199711529, 423132192, 1880172918]
    assert band_keys(signature, 42, 6)[:, -1].tolist() == [
        17894260577440331855, 278691269356177647, 12957700531794321526,
    ]  # fmt: skip


# --- keys -----------------------------------------------------------------------------------------


def test_a_key_is_equal_where_all_values_of_its_band_are() -> None:
    rng = np.random.default_rng(10)
    signature = rng.integers(0, 3, (400, 12), dtype=np.uint32)
    keys = band_keys(signature, 4, 3)
    for band in range(4):
        part = [tuple(line) for line in signature[:, 3 * band : 3 * band + 3].tolist()]
        key_by_values = dict(zip(part, keys[:, band].tolist(), strict=True))
        assert [key_by_values[p] for p in part] == keys[:, band].tolist()
        assert len(set(key_by_values.values())) == len(key_by_values)
    whole = [tuple(line) for line in signature.tolist()]
    assert len(set(whole)) == len(set(keys[:, 4].tolist()))
    assert len(set(zip(whole, keys[:, 4].tolist(), strict=True))) == len(set(whole))


def test_the_order_of_values_in_a_band_counts() -> None:
    one, two = band_keys(np.array([[1, 2, 3, 4], [2, 1, 3, 4]], dtype=np.uint32), 2, 2)
    assert one[0] != two[0]
    assert one[1] == two[1]
    assert one[2] != two[2]


# --- buckets --------------------------------------------------------------------------------------


def table(keys: Sequence[int], others: Sequence[int], rows: Sequence[int]) -> pl.DataFrame:
    columns = {"key": list(keys), "other": list(others), "row": list(rows)}
    return pl.DataFrame(columns, schema={"key": pl.UInt64, "other": pl.UInt64, "row": pl.UInt32})


def split(pairs: NDArray[np.uint64]) -> list[tuple[int, int]]:
    return [(int(p) >> 32, int(p) & 0xFFFFFFFF) for p in pairs]


@given(st.lists(st.integers(0, 4), max_size=40), st.randoms(use_true_random=False))
def test_all_pairs_of_small_buckets_are_found(keys: list[int], rng: random.Random) -> None:
    rows = list(range(2**32 - 1, 2**32 - 1 - 7 * len(keys), -7))
    rng.shuffle(rows)
    others = [rng.randrange(3) for _ in keys]
    pairs = split(bucket_pairs(table(keys, others, rows)))
    expected = {
        (min(a, b), max(a, b))
        for (key, a), (other, b) in combinations(zip(keys, rows, strict=True), 2)
        if key == other
    }
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == expected


@pytest.mark.parametrize("size", [127, 128, 129, 130, 131, 300])
def test_rows_of_a_large_bucket_are_compared_with_as_many_neighbours_as_fit(size: int) -> None:
    assert minhash.BUCKET == 128
    rng = np.random.default_rng(size)
    rows = rng.permutation(5 * size)[:size].tolist()
    keys = table([9] * size + [8, 7, 7], [0] * (size + 3), [*rows, 10**6, 10**6 + 1, 10**6 + 2])
    pairs = split(bucket_pairs(keys))
    assert len(pairs) == len(set(pairs))
    assert (10**6 + 1, 10**6 + 2) in pairs
    pairs.remove((10**6 + 1, 10**6 + 2))
    members = set(rows)
    partners: dict[int, set[int]] = defaultdict(set)
    for a, b in pairs:
        assert a < b
        assert {a, b} <= members
        partners[a].add(b)
        partners[b].add(a)
    order = sorted(rows)
    for place, one in enumerate(order):
        near = order[max(0, place - 128) : place] + order[place + 1 : place + 129]
        assert partners[one] == set(near)
    if size <= 129:
        assert len(pairs) == size * (size - 1) // 2


def test_in_a_large_bucket_rows_with_the_same_other_key_meet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(minhash, "BUCKET", 3)
    pairs = split(bucket_pairs(table([1] * 12, [0, 1, 2] * 4, range(12))))
    for group in ([0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]):
        assert set(combinations(group, 2)) <= set(pairs)
    assert len(pairs) == 3 * 12 - (1 + 2 + 3)


@pytest.mark.parametrize("size", [0, 1])
def test_fewer_than_two_rows_make_no_pair(size: int) -> None:
    assert bucket_pairs(table([1] * size, [1] * size, range(size))).tolist() == []


# --- repeats --------------------------------------------------------------------------------------

VALUES = st.lists(st.lists(st.integers(0, 12) | st.integers(0, 2**64 - 1), max_size=8), max_size=9)


@given(VALUES, st.sampled_from([0, 1, 5, 8_000_000]))
def test_distinct_values_are_those_of_a_set(parts: list[list[int]], buffer: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash, "BUFFER", buffer)
        values = distinct(np.array(part, dtype=np.uint64) for part in parts)
    assert values.dtype == np.uint64
    assert values.tolist() == sorted({v for part in parts for v in part})


@examples(0.2)
@given(st.integers(0, 10**6))
def test_many_parts_beyond_the_buffer_are_merged_as_numpy_would(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.integers(0, 5000, rng.integers(0, 3000), dtype=np.uint64) for _ in range(20)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash, "BUFFER", 4000)
        values = distinct(iter(parts))
    assert (values == np.unique(np.concatenate(parts))).all()
