"""Verdicts on similar rows: those of a plain loop over the rows, best first, on any graph of pairs."""

from __future__ import annotations

import random
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.clean.duplicates import DedupParams, decide, judge_duplicates
from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.core.stage import StageData
from curate.text.compared import compared_text
from curate.text.pairs import (
    PAIR_SCHEMA,
    DuplicateVerdicts,
    Pairs,
    dominate_pairs,
    number_pairs,
    pair_table,
)
from tests.conftest import examples, frame, row, turns

# first row, second row, similarity, whether they are the same
Pair = tuple[int, int, float, bool]
RowVerdicts = list[tuple[int | None, float]]
LEVELS = [0.6, 0.65, 0.7, 0.8, 0.9, 1.0]


# --- the oracle -----------------------------------------------------------------------------------


def best_of_group(size: int, pairs: Sequence[Pair], rank: Sequence[int]) -> list[int]:
    """For each row the best of the rows that are the same, directly or by way of others."""
    groups = [{i} for i in range(size)]
    for a, b, _, same in pairs:
        if same:
            merged = groups[a] | groups[b]
            for member in merged:
                groups[member] = merged
    return [min(group, key=lambda i: rank[i]) for group in groups]


def greedy(size: int, pairs: Sequence[Pair], rank: Sequence[int], threshold: float) -> RowVerdicts:
    """Go through the rows, best first; keep each unless a kept one is similar to it."""
    best = best_of_group(size, pairs, rank)
    near: dict[int, dict[int, float]] = defaultdict(dict)
    for a, b, similarity, same in pairs:
        one, two = best[a], best[b]
        if not same and one != two:
            near[one][two] = near[two][one] = max(near[one].get(two, 0.0), similarity)
    verdicts: dict[int, tuple[int | None, float]] = {}
    kept: list[int] = []
    for head in sorted(set(best), key=lambda i: rank[i]):
        # max takes the first of equals, which is the best ranked.
        twin = max(kept, key=lambda k: near[head].get(k, 0.0), default=None)
        top = near[head].get(twin, 0.0) if twin is not None else 0.0
        if top >= threshold:
            verdicts[head] = (twin, top)
        else:
            kept.append(head)
            verdicts[head] = (None, top)
    return [
        (best[i], 1.0) if best[i] != i and verdicts[best[i]][0] is None else verdicts[best[i]]
        for i in range(size)
    ]


def left_by_pairs(size: int, pairs: Sequence[Pair], rank: Sequence[int]) -> list[int]:
    """How many rows stay when none, one, two, ... of the strongest pairs count, worst rows first."""
    same = [pair for pair in pairs if pair[3]]
    best = best_of_group(size, pairs, rank)

    def order(pair: Pair) -> tuple[float, int, int]:
        ends = sorted(rank[best[end]] for end in pair[:2])
        return -pair[2], -ends[1], ends[0]

    between = sorted((p for p in pairs if not p[3] and best[p[0]] != best[p[1]]), key=order)
    return [
        sum(twin is None for twin, _ in greedy(size, same + between[:count], rank, 1e-9))
        for count in range(len(between) + 1)
    ]


def numbered(pairs: Sequence[Pair]) -> Pairs:
    columns = list(zip(*pairs, strict=True)) or [(), (), (), ()]
    types = (np.int64, np.int64, np.float64, np.bool_)
    return Pairs(*(np.array(c, dtype=t) for c, t in zip(columns, types, strict=True)))


def row_verdicts(verdicts: DuplicateVerdicts) -> RowVerdicts:
    twins = [int(twin) if twin >= 0 else None for twin in verdicts.duplicate_of]
    return list(zip(twins, verdicts.similarity.tolist(), strict=True))


def kept_of(verdicts: DuplicateVerdicts) -> list[int]:
    return [i for i, (twin, _) in enumerate(row_verdicts(verdicts)) if twin is None]


def drops_of(verdicts: DuplicateVerdicts) -> list[int]:
    return [i for i, (twin, _) in enumerate(row_verdicts(verdicts)) if twin is not None]


def decided(
    size: int, pairs: Sequence[Pair], rank: Sequence[int], **params: Any
) -> DuplicateVerdicts:
    params = {"floor": min(0.6, params.get("threshold", 1.0))} | params
    return decide(size, numbered(pairs), np.array(rank, dtype=np.int64), DedupParams(**params))


@st.composite
def graphs(draw: st.DrawFn, most: int = 9) -> tuple[int, list[Pair], list[int]]:
    """Random rows, pairs and ranks; similarities are few, so that ties are many."""
    size = draw(st.integers(1, most))
    every = list(combinations(range(size), 2))
    chosen = draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    kinds = st.one_of(st.sampled_from(LEVELS).map(lambda s: (s, False)), st.just((1.0, True)))
    same_too = draw(st.booleans())
    pairs = [
        (a, b, *draw(kinds if same_too else st.tuples(st.sampled_from(LEVELS), st.just(False))))
        for a, b in chosen
    ]
    return size, pairs, draw(st.permutations(range(size)))


def random_graph(seed: int, size: int, pairs: int) -> tuple[list[Pair], list[int]]:
    rng = random.Random(seed)
    ends = rng.sample(list(combinations(range(size), 2)), pairs)
    edges = [(a, b, round(rng.uniform(0.6, 1.0), 3), rng.random() < 0.05) for a, b in ends]
    return edges, rng.sample(range(size), size)


# --- at a threshold -------------------------------------------------------------------------------


@examples(3)
@given(graphs(), st.sampled_from(LEVELS))
def test_verdicts_are_those_of_going_through_the_rows_best_first(
    graph: tuple[int, list[Pair], list[int]], threshold: float
) -> None:
    size, pairs, rank = graph
    verdicts = decided(size, pairs, rank, threshold=threshold)
    assert row_verdicts(verdicts) == greedy(size, pairs, rank, threshold)
    assert verdicts.threshold == threshold


@pytest.mark.parametrize("density", [40, 150, 600])
@pytest.mark.parametrize("threshold", [0.6, 0.75, 0.95])
def test_larger_graphs_agree_too_and_each_drop_is_justified(density: int, threshold: float) -> None:
    size = 60
    pairs, rank = random_graph(density, size, density)
    verdicts = decided(size, pairs, rank, threshold=threshold)
    assert row_verdicts(verdicts) == greedy(size, pairs, rank, threshold)
    kept = set(kept_of(verdicts))
    strong = [(a, b) for a, b, s, same in pairs if same or s >= threshold]
    assert not [pair for pair in strong if set(pair) <= kept]
    for dropped, (twin, similarity) in enumerate(row_verdicts(verdicts)):
        if twin is not None:
            assert twin in kept
            assert similarity >= threshold
            assert rank[twin] < rank[dropped]


def test_a_chain_loses_its_middle_only_or_its_ends_only() -> None:
    chain = [(0, 1, 0.9, False), (1, 2, 0.8, False)]
    assert row_verdicts(decided(3, chain, [0, 1, 2])) == [(None, 0.0), (0, 0.9), (None, 0.0)]
    assert row_verdicts(decided(3, chain, [1, 0, 2])) == [(1, 0.9), (None, 0.0), (1, 0.8)]
    assert row_verdicts(decided(3, chain, [0, 2, 1])) == [(None, 0.0), (0, 0.9), (None, 0.0)]


def test_a_row_is_not_dropped_for_one_that_is_dropped_itself() -> None:
    chain = [(i, i + 1, 0.9, False) for i in range(6)]
    assert [twin for twin, _ in row_verdicts(decided(7, chain, range(7)))] == [
        None, 0, None, 2, None, 4, None,
    ]  # fmt: skip


def test_the_twin_is_the_most_similar_kept_row_and_of_equals_the_best() -> None:
    pairs = [(0, 3, 0.7, False), (1, 3, 0.9, False), (2, 3, 0.9, False), (2, 4, 0.65, False)]
    assert row_verdicts(decided(5, pairs, [0, 1, 2, 3, 4]))[3:] == [(1, 0.9), (None, 0.65)]
    assert row_verdicts(decided(5, pairs, [2, 1, 0, 3, 4]))[3:] == [(2, 0.9), (None, 0.65)]


def test_a_pair_exactly_at_the_threshold_counts() -> None:
    pairs = [(0, 1, 7 / 10, False), (2, 3, np.nextafter(0.7, 0), False)]
    assert [twin for twin, _ in row_verdicts(decided(4, pairs, range(4)))] == [None, 0, None, None]


def test_rows_that_are_the_same_stand_together() -> None:
    """Only the first of a group is compared with others; all go, or the best of all stays."""
    same = [(1, 2, 1.0, True), (2, 3, 1.0, True)]
    assert row_verdicts(decided(4, same, range(4))) == [
        (None, 0.0),
        (None, 0.0),
        (1, 1.0),
        (1, 1.0),
    ]
    assert row_verdicts(decided(4, same, [3, 2, 1, 0])) == [
        (None, 0.0),
        (3, 1.0),
        (3, 1.0),
        (None, 0.0),
    ]
    linked = [*same, (0, 1, 0.8, False)]
    assert row_verdicts(decided(4, linked, range(4))) == [(None, 0.0), (0, 0.8), (0, 0.8), (0, 0.8)]
    # Row 3 is the best: the pair of 0 and 1 speaks for all of the group.
    assert row_verdicts(decided(4, linked, [3, 2, 1, 0])) == [
        (3, 0.8),
        (3, 1.0),
        (3, 1.0),
        (None, 0.0),
    ]


def test_rows_that_are_the_same_go_at_any_threshold() -> None:
    pairs = [(0, 1, 1.0, True), (1, 2, 0.99, False)]
    assert [twin for twin, _ in row_verdicts(decided(3, pairs, range(3), threshold=1.0))] == [
        None,
        0,
        None,
    ]


@given(graphs(), st.sampled_from(LEVELS))
def test_pairs_below_the_threshold_decide_nothing(
    graph: tuple[int, list[Pair], list[int]], threshold: float
) -> None:
    size, pairs, rank = graph
    strong = [pair for pair in pairs if pair[3] or pair[2] >= threshold]
    whole = row_verdicts(decided(size, pairs, rank, threshold=threshold))
    part = row_verdicts(decided(size, strong, rank, threshold=threshold))
    assert [twin for twin, _ in whole] == [twin for twin, _ in part]
    assert [near for twin, near in whole if twin is not None] == [
        near for twin, near in part if twin is not None
    ]
    assert whole[rank.index(0)] == (None, 0.0)


def test_a_higher_threshold_can_drop_more_where_there_are_chains() -> None:
    """B falls to A and sets C and D free; where A and B are no pair, C and D fall to B."""
    pairs = [(0, 1, 0.7, False), (1, 2, 0.9, False), (1, 3, 0.9, False)]
    dropped = [drops_of(decided(4, pairs, range(4), threshold=t)) for t in (0.7, 0.9, 0.95)]
    assert dropped == [[1], [2, 3], []]


@given(st.lists(st.text("ab", min_size=4, max_size=4), min_size=1, max_size=12), st.data())
def test_without_chains_one_row_of_each_cluster_stays_and_higher_thresholds_only_add(
    codes: list[str], data: st.DataObject
) -> None:
    """Similarity by common prefix is an ultrametric: rows similar to one row are similar."""

    def prefix(one: str, two: str) -> int:
        return next((i for i in range(4) if one[i] != two[i]), 4)

    rank = data.draw(st.permutations(range(len(codes))))
    level = {1: 0.6, 2: 0.7, 3: 0.8, 4: 0.9}
    pairs = [
        (a, b, level[prefix(codes[a], codes[b])], False)
        for a, b in combinations(range(len(codes)), 2)
        if prefix(codes[a], codes[b])
    ]
    before: set[int] = set()
    for length, threshold in level.items():
        verdicts = decided(len(codes), pairs, rank, threshold=threshold)
        kept = set(kept_of(verdicts))
        clusters: dict[str, list[int]] = defaultdict(list)
        for i, code in enumerate(codes):
            clusters[code[:length]].append(i)
        assert kept == {min(c, key=rank.__getitem__) for c in clusters.values()}
        assert before <= kept
        before = kept


# --- down to a number of rows ---------------------------------------------------------------------


@examples(2)
@given(graphs())
def test_every_number_of_rows_from_what_the_floor_leaves_on_is_met_exactly(
    graph: tuple[int, list[Pair], list[int]],
) -> None:
    size, pairs, rank = graph
    lefts = left_by_pairs(size, pairs, rank)
    for rows in range(1, size + 3):
        if rows < lefts[-1]:
            with pytest.raises(UserError) as caught:
                decided(size, pairs, rank, rows=rows)
            assert str(caught.value) == (
                f"cannot go down to {rows} rows: {lefts[-1]} are left when every pair with a similarity "
                "of 0.6 or more has lost a row; ask for more rows or lower `floor`"
            )
            continue
        verdicts = decided(size, pairs, rank, rows=rows)
        kept = set(kept_of(verdicts))
        assert len(kept) == min(rows, size)
        drops = [(twin, near) for twin, near in row_verdicts(verdicts) if twin is not None]
        assert {twin for twin, _ in drops} <= kept
        assert all(near >= verdicts.threshold >= 0.6 for _, near in drops)
        # Where no single pair costs two rows, none that stayed is nearer to another than a drop is.
        if all(a - b <= 1 for a, b in pairwise(lefts)):
            nearest = max((s for a, b, s, _ in pairs if {a, b} <= kept), default=0.0)
            assert nearest <= min((near for _, near in drops), default=1.0)


@given(st.lists(st.sampled_from(LEVELS), min_size=1, max_size=10), st.data())
def test_of_separate_pairs_the_most_similar_lose_a_row(
    similarities: list[float], data: st.DataObject
) -> None:
    pairs = [(2 * i, 2 * i + 1, s, False) for i, s in enumerate(similarities)]
    size = 2 * len(pairs)
    rank = data.draw(st.permutations(range(size)))
    for drops in range(len(pairs) + 1):
        verdicts = decided(size, pairs, rank, rows=size - drops)
        gone = sorted(near for twin, near in row_verdicts(verdicts) if twin is not None)
        assert gone == sorted(similarities)[len(pairs) - drops :]
        worse = {max(a, b, key=rank.__getitem__) for a, b, _, _ in pairs}
        assert set(drops_of(verdicts)) <= worse


def test_a_tie_is_no_reason_to_keep_near_copies() -> None:
    """1 and 2 are all but equal and, like 3 and 4, less similar to 0: one of them goes first."""
    weak = [(0, i, 0.7, False) for i in (1, 2, 3, 4)]
    pairs = [*weak, (1, 2, 0.99, False)]
    kept = {rows: kept_of(decided(5, pairs, range(5), rows=rows)) for rows in range(1, 6)}
    assert kept == {1: [0], 2: [0, 1], 3: [0, 1, 3], 4: [0, 1, 3, 4], 5: [0, 1, 2, 3, 4]}


def test_of_copies_the_best_ranked_are_the_last_to_go() -> None:
    copies = [(0, i, 1.0, True) for i in (1, 2, 3)]
    rank = [3, 1, 0, 2]
    for rows, kept in {1: {2}, 2: {2, 1}, 3: {2, 1, 3}, 4: {0, 1, 2, 3}}.items():
        verdicts = decided(4, copies, rank, rows=rows)
        assert set(kept_of(verdicts)) == kept
        assert all(twin in (None, 2) for twin, _ in row_verdicts(verdicts))


def test_copies_go_before_near_copies() -> None:
    pairs = [(0, 1, 0.95, False), (2, 3, 1.0, True)]
    assert [twin for twin, _ in row_verdicts(decided(4, pairs, range(4), rows=3))] == [
        None,
        None,
        None,
        2,
    ]


def test_where_a_pair_costs_several_rows_the_least_similar_are_taken_back() -> None:
    """With its last pair, 1 falls to 0 and sets 2 free, to which 3 to 8 fall at once; 5 copies 4."""
    pairs = [(1, 2, 0.9, False), (2, 3, 0.85, False), (0, 1, 0.7, False), (4, 5, 1.0, True)]
    pairs += [(2, i, 0.8, False) for i in (4, 6, 7, 8)]
    kept = {rows: kept_of(decided(9, pairs, range(9), rows=rows)) for rows in range(2, 8)}
    assert kept == {
        2: [0, 2],
        3: [0, 1, 2],
        4: [0, 1, 2, 4],
        5: [0, 1, 2, 4, 6],
        6: [0, 1, 2, 4, 6, 7],
        7: [0, 1, 3, 4, 6, 7, 8],
    }


def test_as_many_rows_as_there_are_or_more_drop_nothing_copies_included() -> None:
    pairs = [(0, 1, 1.0, True), (1, 2, 0.9, False)]
    for rows in (3, 4, 10**9):
        assert [twin for twin, _ in row_verdicts(decided(3, pairs, range(3), rows=rows))] == [
            None
        ] * 3


def test_the_threshold_told_is_that_of_the_weakest_pair_that_counted() -> None:
    pairs = [(2 * i, 2 * i + 1, s, False) for i, s in enumerate([0.6, 0.7, 0.8, 0.9])]
    assert [decided(8, pairs, range(8), rows=n).threshold for n in (8, 7, 6, 5, 4)] == [
        1.0, 0.9, 0.8, 0.7, 0.6,
    ]  # fmt: skip


def test_the_number_of_rows_makes_the_threshold_idle() -> None:
    pairs = [(0, 1, 0.65, False), (2, 3, 0.9, False)]
    for threshold in (0.6, 0.7, 1.0):
        verdicts = row_verdicts(decided(4, pairs, range(4), rows=2, threshold=threshold))
        assert [twin for twin, _ in verdicts] == [None, 0, None, 2]


# --- among rows that take part -------------------------------------------------------------------


@given(graphs(), st.data())
def test_earlier_free_rows_pass_over_later_similar_ones(
    graph: tuple[int, list[Pair], list[int]], data: st.DataObject
) -> None:
    """Rows that take no part drop none; rows that are the same as one of them are still the same."""
    size, pairs, _ = graph
    free = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    threshold = data.draw(st.sampled_from(LEVELS))
    stays = dominate_pairs(numbered(pairs), np.array(free), threshold)
    last = [i if free[i] else i + size for i in range(size)]
    head = best_of_group(size, pairs, last)
    idle = {i for i in range(size) if not free[head[i]]}
    linked = [p for p in pairs if p[3] or not {p[0], p[1]} & idle]
    expected = greedy(size, linked, last, threshold)
    assert stays.tolist() == [free[i] and expected[i][0] is None for i in range(size)]


def test_two_copies_of_a_row_that_takes_no_part_do_not_both_stay() -> None:
    pairs = numbered([(0, 1, 1.0, True), (0, 2, 1.0, True), (0, 3, 0.9, False)])
    free = np.array([False, True, True, True])
    assert dominate_pairs(pairs, free, 0.7).tolist() == [False, True, False, False]
    assert dominate_pairs(pairs, free, 0.95).tolist() == [False, True, False, True]


# --- large inputs ---------------------------------------------------------------------------------


def seconds(size: int, pairs: Pairs, **params: Any) -> tuple[float, int]:
    started = time.process_time()
    verdicts = decide(size, pairs, np.arange(size), DedupParams(**params))
    return time.process_time() - started, int((verdicts.duplicate_of < 0).sum())


@pytest.mark.parametrize(
    ("size", "params", "left"), [(2000, {"threshold": 0.6}, 1), (1000, {"rows": 300}, 300)]
)
def test_a_large_clique_takes_no_time(size: int, params: dict[str, Any], left: int) -> None:
    first, second = (ends.astype(np.int64) for ends in np.triu_indices(size, 1))
    near = np.random.default_rng(0).uniform(0.6, 1.0, len(first))
    pairs = Pairs(first, second, near, np.zeros(len(first), dtype=np.bool_))
    spent, kept = seconds(size, pairs, **params)
    assert (kept, spent < 2) == (left, True)


def test_a_long_path_takes_no_time() -> None:
    size = 5000
    first = np.arange(size - 1)
    pairs = Pairs(first, first + 1, np.full(size - 1, 0.9), np.zeros(size - 1, dtype=np.bool_))
    spent, kept = seconds(size, pairs)
    assert (kept, spent < 2) == (size // 2, True)
    spent, kept = seconds(size, pairs, rows=3000)
    assert (kept, spent < 2) == (3000, True)


def test_a_long_chain_of_copies_is_one_group() -> None:
    size = 5000
    first = np.arange(size - 1)
    pairs = Pairs(first, first + 1, np.ones(size - 1), np.ones(size - 1, dtype=np.bool_))
    spent, kept = seconds(size, pairs)
    assert (kept, spent < 2) == (1, True)


# --- tables of pairs ------------------------------------------------------------------------------


def table(pairs: Sequence[tuple[str, str, float, bool]]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=PAIR_SCHEMA, orient="row")


def judged(
    pool: pl.DataFrame,
    pairs: pl.DataFrame,
    evidence: dict[str, pl.DataFrame] | None = None,
    **params: Any,
) -> pl.DataFrame:
    data = StageData(pool.lazy(), evidence={n: t.lazy() for n, t in (evidence or {}).items()})
    return judge_duplicates(data, pairs, DedupParams(**params), Reason.FUZZY_DUPLICATE).frame


def named_rows(count: int) -> pl.DataFrame:
    """Rows whose ids do not sort as the rows do."""
    return frame([row(f"r{(7 * i) % 31:02}", turns("q", f"a{i}")) for i in range(count)])


def test_evidence_has_a_line_for_every_row_with_reason_and_twin_for_the_dropped_only() -> None:
    evidence = judged(
        named_rows(3), table([("r00", "r07", 0.9, False), ("r07", "r14", 0.62, False)])
    )
    assert evidence.columns == ["row_id", "keep", "reason", "score", "threshold", "duplicate_of"]
    assert list(evidence.iter_rows()) == [
        ("r00", True, None, 0.0, 0.7, None),
        ("r07", False, "fuzzy_duplicate", 0.9, 0.7, "r00"),
        ("r14", True, None, 0.0, 0.7, None),
    ]


@examples(0.8)
@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_pairs_and_of_their_ends_changes_nothing(
    graph: tuple[int, list[Pair], list[int]], rng: random.Random
) -> None:
    size, pairs, _ = graph
    rows = named_rows(size)
    ids = rows["row_id"].to_list()
    named = [(ids[a], ids[b], s, same) for a, b, s, same in pairs]
    mixed = [(b, a, s, same) if rng.random() < 0.5 else (a, b, s, same) for a, b, s, same in named]
    rng.shuffle(mixed)
    several: list[dict[str, Any]] = [{}, {"rows": size}]
    for params in several:
        one, two = (judged(rows, table(each), **params) for each in (named, mixed))
        assert one.equals(two)


@examples(1.5)
@given(graphs(), st.integers(0, 9), st.data())
def test_verdicts_from_the_rows_with_a_pair_are_those_from_all_rows(
    graph: tuple[int, list[Pair], list[int]], unpaired: int, data: st.DataObject
) -> None:
    """Rows without a pair take no part in the decision; a number of rows counts them all the same."""
    size, pairs, _ = graph
    rows = named_rows(size + unpaired)
    place = data.draw(st.permutations(range(size + unpaired)))
    placed = [(place[a], place[b], similarity, same) for a, b, similarity, same in pairs]
    ids = rows["row_id"].to_list()
    named = table([(ids[a], ids[b], similarity, same) for a, b, similarity, same in placed])
    rank = range(size + unpaired)
    count = data.draw(st.integers(1, size + unpaired + 1))
    several: list[dict[str, Any]] = [{"threshold": 0.7}, {"rows": count, "threshold": 1.0}]
    for params in several:
        try:
            expected = decided(size + unpaired, placed, rank, **params)
        except UserError as error:
            with pytest.raises(UserError, match=re.escape(str(error))):
                judged(rows, named, floor=0.6, **params)
            continue
        evidence = judged(rows, named, floor=0.6, **params)
        assert evidence["score"].to_list() == expected.similarity.tolist()
        assert evidence["threshold"].unique().to_list() == [expected.threshold]
        twins = [ids[i] if i >= 0 else None for i in expected.duplicate_of]
        assert evidence["duplicate_of"].to_list() == twins


def test_pairs_with_rows_that_are_not_there_are_left_out() -> None:
    pairs = [
        ("r00", "gone", 0.9, False),
        ("gone", "r07", 1.0, True),
        ("gone", "lost", 1.0, True),
        ("gone", "r14", 1.0, True),
        ("r14", "r00", 0.8, False),
    ]
    rows = named_rows(3)
    evidence = judged(rows, table(pairs))
    assert evidence["duplicate_of"].to_list() == [None, None, "r00"]
    numbered_pairs = number_pairs(rows["row_id"], table(pairs))
    assert (numbered_pairs.first.tolist(), numbered_pairs.second.tolist()) == ([2], [0])


def test_pairs_of_positions_and_of_ids_say_the_same() -> None:
    pairs, _ = random_graph(1, 12, 30)
    ids = named_rows(12)["row_id"]
    back = number_pairs(ids, pair_table(ids, numbered(pairs)))
    columns = (back.first, back.second, back.similarity, back.same)
    assert list(zip(*(c.tolist() for c in columns), strict=True)) == sorted(pairs)
    assert pair_table(ids, numbered(pairs)).schema == pl.Schema(PAIR_SCHEMA)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"rows": 1},
        {"keep": "longest"},
        {"keep": {"sources": ["a"]}},
        {"keep": {"highest": "x"}},
    ],
    ids=str,
)
def test_empty_inputs_give_empty_or_plain_verdicts(params: dict[str, Any]) -> None:
    scored = {"x": scores({})}
    empty = judged(frame([]), table([]), scored, **params)
    assert empty.height == 0
    assert empty.schema == judged(named_rows(1), table([]), scored, **params).schema
    assert judged(frame([]), table([("a", "b", 1.0, True)]), scored, **params).height == 0
    one = judged(named_rows(1), table([]), scored, **params)
    assert one["keep"].to_list() == [True]


# --- who survives ---------------------------------------------------------------------------------


def scores(values: dict[str, Any], **columns: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {"row_id": list(values), "score": list(values.values()), **columns},
        schema_overrides={"row_id": pl.String, "score": pl.Float64},
    )


ALIKE = table([("a", b, 0.9, False) for b in "bcd"] + [("b", "c", 0.9, False), ("b", "d", 0.9, False),
                                                       ("c", "d", 0.9, False)])  # fmt: skip


def survivor(
    rows: list[dict[str, Any]], keep: Any, evidence: dict[str, pl.DataFrame] | None = None
) -> str:
    """The one row that stays of four that are alike."""
    verdicts = judged(frame(rows), ALIKE, evidence, keep=keep)
    (kept,) = verdicts.filter("keep")["row_id"]
    assert set(verdicts.filter(~pl.col("keep"))["duplicate_of"]) == {kept}
    return str(kept)


def rows_of(**contents: tuple[str, str]) -> list[dict[str, Any]]:
    return [row(name, turns("q", text), source=source) for name, (text, source) in contents.items()]


def test_the_earliest_in_the_pool_survives_whatever_its_id() -> None:
    rows = rows_of(d=("x", "s"), a=("xxxx", "s"), c=("xx", "s"), b=("x", "s"))
    assert survivor(rows, "earliest") == "d"


def test_the_longest_survives_and_of_equals_the_earlier() -> None:
    assert (
        survivor(rows_of(a=("x", "s"), b=("xxx", "s"), c=("xxxx", "s"), d=("xx", "s")), "longest")
        == "c"
    )
    assert (
        survivor(rows_of(a=("x", "s"), d=("xxx", "s"), c=("xxx", "s"), b=("xxx", "s")), "longest")
        == "d"
    )


def test_length_is_in_characters_of_all_turns() -> None:
    rows = [
        row("a", turns("日本語日本語", "x")),
        row("b", turns("abc", "abcdef")),
        row("c", [{"role": "system", "content": "0123456"}, *turns("q", "ab")]),
        row("d", turns("q", "abcdefg")),
    ]
    assert survivor(rows, "longest") == "c"
    assert survivor([*rows[:2], rows[3], row("c", turns("", ""))], "longest") == "b"


def test_sources_survive_in_the_order_named_unnamed_ones_last() -> None:
    rows = rows_of(a=("x", "web"), b=("x", "gold"), c=("x", "silver"), d=("x", "gold"))
    assert survivor(rows, {"sources": ["gold", "silver"]}) == "b"
    assert survivor(rows, {"sources": ["silver", "gold"]}) == "c"
    assert survivor(rows, {"sources": ["nowhere", "web", "gold"]}) == "a"
    assert survivor(rows, {"sources": ["nowhere"]}) == "a"


def test_a_source_named_twice_has_its_first_place() -> None:
    rows = rows_of(a=("x", "web"), b=("x", "silver"), c=("x", "gold"), d=("x", "gold"))
    assert survivor(rows, {"sources": ["gold", "silver", "gold", "web"]}) == "c"
    assert survivor(rows, {"sources": ["gold", "gold", "silver"]}) == "c"


ABCD = rows_of(a=("x", "s"), b=("x", "s"), c=("x", "s"), d=("x", "s"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": 0.1, "b": 0.5, "c": 0.9, "d": 0.3}, "c"),
        ({"a": 0.1, "b": 0.9, "c": 0.9, "d": 0.9}, "b"),
        ({"a": float("nan"), "b": -5.0, "c": None, "d": -6.0}, "b"),
        ({"a": None, "b": None, "c": float("nan"), "d": -1e300}, "d"),
        ({"a": float("nan"), "b": None}, "a"),
        ({}, "a"),
        ({"d": 0.0}, "d"),
        ({"a": 1.0, "c": float("inf"), "other": float("inf")}, "c"),
        ({"a": float("-inf"), "b": 0.0}, "b"),
    ],
)
def test_the_highest_score_survives_missing_ones_last(
    values: dict[str, Any], expected: str
) -> None:
    assert survivor(ABCD, {"highest": "quality"}, {"quality": scores(values)}) == expected


def test_the_column_and_the_stage_are_those_named() -> None:
    tables = {
        "quality": scores({"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0}, votes=[0, 7, 0, 0]),
        "quality-2": scores({"a": 0.0, "b": 0.0, "c": 0.0, "d": 1.0}),
    }
    assert survivor(ABCD, {"highest": "quality"}, tables) == "a"
    assert survivor(ABCD, {"highest": "quality.score"}, tables) == "a"
    assert survivor(ABCD, {"highest": "quality.votes"}, tables) == "b"
    assert survivor(ABCD, {"highest": "quality-2.score"}, tables) == "d"


@pytest.mark.parametrize(
    ("place", "tables", "said"),
    [
        ("judge", [], "no earlier stage is named 'judge' (there is: none ran)"),
        ("judge", ["a", "b"], "no earlier stage is named 'judge' (there is: a, b)"),
        ("a.votes", ["a"], "the evidence of 'a' has no number 'votes' (it has: score)"),
        ("a.row_id", ["a"], "the evidence of 'a' has no number 'row_id' (it has: score)"),
    ],
)
def test_evidence_that_is_not_there_is_a_user_error(
    place: str, tables: list[str], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        judged(frame(ABCD), ALIKE, {n: scores({}) for n in tables}, keep={"highest": place})
    assert str(caught.value) == f"keep.highest: {said}"


def test_policies_order_more_than_the_winner() -> None:
    """A chain c - a - b - d: the best row drops its neighbours, then the best of the rest, ..."""
    chain = table([("c", "a", 0.9, False), ("a", "b", 0.8, False), ("b", "d", 0.7, False)])
    values = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.2}
    verdicts = judged(frame(ABCD), chain, {"s": scores(values)}, keep={"highest": "s"})
    assert verdicts["duplicate_of"].to_list() == ["c", None, None, "b"]
    assert verdicts["score"].to_list() == [0.9, 0.0, 0.0, 0.7]


# --- what is compared -----------------------------------------------------------------------------


def test_the_compared_text_leaves_out_the_system_turn() -> None:
    system: Message = {"role": "system", "content": "S"}
    rows = frame(
        [
            row("a", turns("p", "r")),
            row("b", [system, *turns("p", "r")]),
            row("c", [system, *turns("p", "r", "p2", "r2")]),
            row("d", [*turns("p", ""), {"role": "tool", "content": "t"}, *turns("", "r")[1:]]),
        ]
    )
    texts = {
        part: rows.select(compared_text(part)).to_series().to_list()
        for part in ("example", "prompt", "response")
    }
    assert texts == {
        "example": ["p\nr", "p\nr", "p\nr\np2\nr2", "p\n\nt\nr"],
        "prompt": ["p", "p", "p\nr\np2", "p\n\nt"],
        "response": ["r", "r", "r2", "r"],
    }
