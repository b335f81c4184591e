"""Target coverage: nearest rows by a plain loop, and what counts as thin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from curate.core.calls import Table
from curate.core.store import Store
from curate.selectors.coverage import OUTLYING, coverage, measure_coverage, near_limit
from curate.selectors.embed import EmbedSelector
from tests.conftest import stored
from tests.selectors.targetruns import bundled_run, embedded, target_run, unit_vectors

Matrix = NDArray[np.float32]


def coverage_table(
    store: Store,
    vectors: Matrix,
    target_embeddings: Matrix,
    chosen: dict[str, list[int]],
    cuts: Sequence[int] = (),
) -> pl.DataFrame:
    """Return the table of coverage, of selections of rows by their numbers."""
    ids = [f"r{i:03}" for i in range(len(vectors))]
    rankings = {
        name: ranking(store, name, ids, [i in rows for i in range(len(ids))])
        for name, rows in chosen.items()
    }
    return coverage(embedded(store, vectors, target_embeddings, cuts), rankings).result


def ranking(store: Store, name: str, ids: Sequence[str], selected: Sequence[bool]) -> Table:
    """Return a selection as it is stored."""
    table = pl.DataFrame({"row_id": ids, "selected": selected})
    return Table(stored(store, name, {"ranking": table}), "ranking")


def test_the_nearest_rows_are_those_of_a_plain_loop(store: Store) -> None:
    vectors, target_embeddings = unit_vectors((60, 5), 0), unit_vectors((7, 5), 1)
    chosen = {"own": list(range(0, 60, 7)), "other": [3, 59]}
    table = coverage_table(store, vectors, target_embeddings, chosen, cuts=[1, 20, 41])
    assert table["target_id"].to_list() == [f"t{i}" for i in range(7)] * 2
    for line in table.to_dicts():
        example = target_embeddings[int(line["target_id"][1:])]
        for rows, row_id, similarity in (
            (chosen[line["name"]], line["row_id"], line["similarity"]),
            (range(60), line["kept_id"], line["kept_similarity"]),
        ):
            cosines = {f"r{i:03}": float(np.dot(vectors[i], example)) for i in rows}
            assert row_id == max(cosines, key=cosines.__getitem__)
            assert similarity == pytest.approx(cosines[row_id], abs=1e-6)


def test_of_equally_near_rows_the_first_by_id_is_named_wherever_the_blocks_end(
    store: Store,
) -> None:
    vectors = np.repeat(unit_vectors((2, 4), 3), 6, axis=0)
    target_embeddings = vectors[[0, 6]]
    for cuts in ([], [1], [4, 9]):
        table = coverage_table(store, vectors, target_embeddings, {"own": [5, 4, 11, 8]}, cuts)
        assert table["row_id"].to_list() == ["r004", "r008"]
        assert table["kept_id"].to_list() == ["r000", "r006"]


def test_the_limit_is_what_all_but_a_tenth_of_the_target_reach() -> None:
    target_embeddings = unit_vectors((31, 8), 4)
    nearest = sorted(
        max(float(np.dot(one, other)) for j, other in enumerate(target_embeddings) if j != i)
        for i, one in enumerate(target_embeddings)
    )
    assert near_limit(target_embeddings) == pytest.approx(nearest[int(OUTLYING * 30)], abs=1e-6)
    twice = np.repeat(target_embeddings, 2, axis=0)
    assert near_limit(twice) == near_limit(target_embeddings), "copies are not near examples"


def test_without_two_different_examples_there_is_no_limit(store: Store) -> None:
    target_embeddings = np.repeat(unit_vectors((1, 4), 0), 3, axis=0)
    assert near_limit(target_embeddings) is None
    table = coverage_table(store, unit_vectors((5, 4), 1), target_embeddings, {"own": [0]})
    assert table["limit"].null_count() == table["state"].null_count() == 3


def test_a_thin_example_was_missed_or_is_a_gap_of_the_pool(store: Store) -> None:
    axes = np.eye(4, dtype=np.float32)
    bent = (axes[[0, 1]] + 0.2 * axes[[1, 0]]) / np.float32(np.sqrt(1.04))
    target_embeddings = np.concatenate([axes[[0, 1]], bent])
    table = coverage_table(store, axes[[0, 3]], target_embeddings, {"own": [1], "all": [0, 1]})
    assert table["limit"].to_list() == [pytest.approx(1 / np.sqrt(1.04), abs=1e-6)] * 8
    states = dict(table.group_by("name", maintain_order=True).agg("state").iter_rows())
    assert states["own"] == ["missed", "gap", "missed", "gap"]
    assert states["all"] == ["near", "gap", "near", "gap"]


def test_a_step_embeds_what_other_methods_embed(store: Store) -> None:
    pool = {
        f"r{i}": text for i, text in enumerate(["red fish", "blue fish", "the old sea", "a boat"])
    }
    run = target_run(store, pool, ["green fish", "ships at sea"])
    EmbedSelector.model_validate({"method": "embed", "budget": {"rows": 1}}).score_rows(run)
    before = list(run.executed_steps)
    own = ranking(store, "own", list(pool), [True, False, False, True])
    table = measure_coverage(run, {"own": own}).read()
    assert run.executed_steps == [*before, "coverage"]
    assert table["row_id"].to_list() == ["r0", "r3"]
    assert table["kept_id"][1] == "r2"


def test_rows_of_the_family_come_nearer_to_the_target_than_others(store: Store) -> None:
    run = bundled_run(store)
    ids = run.kept.read()["row_id"].to_list()
    origin = run.rows.read(["row_id", "origin"])
    family = set(origin.filter(origin="appointment_line")["row_id"])
    chosen = {
        "family": [i in family for i in ids],
        "others": [i not in family for i in ids],
    }
    rankings = {name: ranking(store, name, ids, mask) for name, mask in chosen.items()}
    table = measure_coverage(run, rankings).read()
    thin = dict(table.group_by("name").agg((pl.col("state") != "near").mean()).iter_rows())
    assert thin["family"] <= OUTLYING
    nearest = table.partition_by("name", as_dict=True)
    family_similarity, others_similarity = (
        nearest[name,]["similarity"].to_numpy() for name in ("family", "others")
    )
    assert (family_similarity > others_similarity).mean() >= 0.75
