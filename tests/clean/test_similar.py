"""Similar rows: the search is checked against all similarities; embeddings are those of the package."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.clean.similar import MOST, find_nearest, write_similar
from curate.core.stageinputs import StageInputs
from curate.core.store import Store
from tests.conftest import StoreRun, row, stored_rows, turns


def unit(rng: np.random.Generator, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    vectors = rng.normal(size=(count, 8)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.mark.parametrize("cells", [1, 50, 1 << 20])
@pytest.mark.parametrize("prompts", [1, 4, 30])
def test_the_most_similar_prompts_are_found_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch, cells: int, prompts: int
) -> None:
    rng = np.random.default_rng(3)
    one, other = unit(rng, 40), unit(rng, prompts)
    monkeypatch.setattr("curate.models.neighbours.cells.BLOCK_COSINES", cells)
    pairs = find_nearest(one, other, 0.4)
    similarity_by_pair = {(t, p): s for t, p, s in pairs.iter_rows()}
    expected = {}
    for turn, values in enumerate(one @ other.T):
        for prompt in np.argsort(-values)[:MOST]:
            if values[prompt] >= 0.4:
                expected[turn, int(prompt)] = pytest.approx(float(values[prompt]), abs=1e-6)
    assert similarity_by_pair == expected
    assert expected


def test_of_equal_prompts_the_first_are_named() -> None:
    vector = unit(np.random.default_rng(0), 1)
    pairs = find_nearest(vector, np.repeat(vector, MOST + 3, axis=0), 0.5)
    assert pairs["prompt"].to_list() == list(range(MOST))
    assert pairs["similarity"].to_list() == [1.0] * MOST


def test_nothing_is_similar_to_no_rows() -> None:
    vectors = unit(np.random.default_rng(0), 2)
    assert find_nearest(vectors[:0], vectors, 0.1).height == 0


def test_a_row_lists_its_best_five_over_all_its_turns(store: Store) -> None:
    questions = [
        f"How many {fruit} are in the basket?" for fruit in ("apples", "pears", "figs", "nuts")
    ]
    evals = stored_rows(
        store, "eval", [row(f"e{i}", turns(q, "4")) for i, q in enumerate(questions)]
    )
    more = stored_rows(
        store, "more", [row(f"p{i}", turns(q, "4")) for i, q in enumerate(questions)]
    )
    rows = stored_rows(
        store,
        "pool",
        [
            row("r", turns(questions[0], "4", questions[3], "4")),
            row("s", turns("Good morning!", "Hi")),
        ],
    )
    run = StoreRun(store)
    data = StageInputs(rows, eval=evals, protected=more)
    artifact = run(write_similar, data, run.embedder(), 0.5)
    pairs = pl.read_parquet(artifact.file("similar.parquet"))
    assert pairs["row_id"].to_list() == ["r"] * MOST
    assert pairs["eval_id"].to_list()[:4] == ["e0", "e3", "p0", "p3"]
    assert pairs["similarity"].to_list()[:4] == [1.0] * 4
    assert pairs["similarity"].is_sorted(descending=True)
    assert artifact.counts == {"rows_in": 2, "pairs": MOST}
