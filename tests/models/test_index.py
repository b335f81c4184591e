"""The index: blocks keyed by all that can change a vector, and by nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.ledger import kept_rows
from curate.core.store import Store
from curate.models import blocks, index, lm
from curate.models.index import index_target, iter_kept_vectors, read_vectors
from curate.models.load import ModelLocation, identify
from curate.models.passes import measured, pool_pass
from tests.conftest import RowsRun, row, stored, stored_rows, stored_table, turns, write_tiny_model


@dataclass
class PoolRun(RowsRun):
    """A run as far as an index sees it: stored rows, the kept ones, and a model."""

    texts: Sequence[str] = ()
    folder: Path = Path()
    kept_positions: Sequence[int] | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        rows = [row(f"r{i:03}", turns(text, "ok")) for i, text in enumerate(self.texts)]
        self.rows = self.target = stored_rows(self.store, "pool", rows)
        if self.kept_positions is None:
            self.kept = kept_rows(self, self.rows, [*self.evidence.values()])
        else:
            ids = [f"r{i:03}" for i in self.kept_positions]
            table = pl.DataFrame(
                {"row_id": ids, "position": list(self.kept_positions)},
                schema={"row_id": pl.String, "position": pl.Int64},
            )
            self.kept = stored_table(self.store, "kept", table)

    @property
    def base(self) -> ModelSource:
        identity = identify(ModelLocation("m", "folder", self.folder), self.dtype)
        return ModelSource(identity, self.folder)


TEXTS = [f"question {i}" for i in range(10)]


def keys(
    store: Store, texts: Sequence[str], folder: Path, max_length: int = 64, **more: Any
) -> list[str]:
    """Return the keys of the blocks of a run's index, which is not computed."""
    run = PoolRun(store, skipped=["index"], texts=texts, folder=folder, **more)
    pool_pass(run, "vectors", max_length)
    return run.keys("index")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SMALLEST_BLOCK", 4)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def test_a_copy_of_the_model_elsewhere_has_the_same_index(
    store: Store, tiny: Path, copy: Path
) -> None:
    assert keys(store, TEXTS, copy) == keys(store, TEXTS, tiny)


def test_other_weights_are_another_index(store: Store, tiny: Path, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other", seed=1)
    assert keys(store, TEXTS, other) != keys(store, TEXTS, tiny)


def test_another_config_is_another_index(store: Store, tiny: Path, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    assert keys(store, TEXTS, copy) != keys(store, TEXTS, tiny)


def test_another_tokenizer_is_another_index(store: Store, tiny: Path, copy: Path) -> None:
    data = json.loads((copy / "tokenizer.json").read_text())
    vocabulary = data["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (copy / "tokenizer.json").write_text(json.dumps(data))
    assert keys(store, TEXTS, copy) != keys(store, TEXTS, tiny)


def test_another_chat_template_is_another_index(store: Store, tiny: Path, copy: Path) -> None:
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert keys(store, TEXTS, copy) != keys(store, TEXTS, tiny)


def test_other_settings_are_another_index(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_keys = {tuple(keys(store, TEXTS, tiny)), tuple(keys(store, TEXTS, tiny, 65))}
    index_keys.add(tuple(keys(store, TEXTS, tiny, dtype="bfloat16")))
    monkeypatch.setattr(lm, "BATCH_TOKENS", 1_024)
    index_keys.add(tuple(keys(store, TEXTS, tiny)))
    monkeypatch.setattr(index.vectors, "version", 99)
    index_keys.add(tuple(keys(store, TEXTS, tiny)))
    assert len(index_keys) == 5


def test_the_same_texts_elsewhere_in_a_pool_are_the_same_block(store: Store, tiny: Path) -> None:
    """Positions, row ids and meta are no part of a vector."""
    alone = keys(store, TEXTS[3:7], tiny)
    assert alone == keys(store, TEXTS, tiny, kept_positions=[3, 4, 5, 6])
    run = PoolRun(store, skipped=["index"], texts=TEXTS[3:7], folder=tiny)
    index_target(run, 64)
    assert run.keys("index") == alone


@pytest.mark.usefixtures("small_blocks")
def test_an_edited_row_changes_its_own_block_only(store: Store, tiny: Path) -> None:
    before = keys(store, TEXTS, tiny)
    edited = keys(store, [*TEXTS[:5], "another question", *TEXTS[6:]], tiny)
    assert len(before) == len(edited) == 3
    assert [a == b for a, b in zip(before, edited, strict=True)] == [True, False, True]


@pytest.mark.usefixtures("small_blocks")
def test_a_dropped_row_changes_its_own_block_only(store: Store, tiny: Path) -> None:
    before = keys(store, TEXTS, tiny)
    after = keys(store, TEXTS, tiny, kept_positions=[0, 1, 2, 3, 4, 6, 7, 8, 9])
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def dropping(store: Store, name: str, dropped: Sequence[int]) -> Table:
    table = pl.DataFrame(
        {
            "row_id": [f"r{i:03}" for i in range(len(TEXTS))],
            "keep": [i not in dropped for i in range(len(TEXTS))],
        }
    )
    return Table(stored(store, name, {"evidence": table}), "evidence")


@pytest.mark.usefixtures("small_blocks")
def test_another_eval_set_needs_no_other_index(store: Store, tiny: Path) -> None:
    """What a leak check drops is encoded all the same, and left out of what is read."""
    exact = dropping(store, "exact", [1])
    leaks = [[], [4, 5], [2, 8]]
    runs = [
        PoolRun(
            store, texts=TEXTS, folder=tiny,
            evidence={"exact": exact, "leaks": dropping(store, "leaks", dropped)},
        )
        for dropped in leaks
    ]  # fmt: skip
    every = index_target(PoolRun(store, texts=TEXTS, folder=tiny), 64).array()
    for run, dropped in zip(runs, leaks, strict=True):
        encoded = pool_pass(run, "vectors", 64)
        kept_vectors = iter_kept_vectors(encoded.vectors, encoded.measured, run.kept)
        vectors = np.concatenate([*kept_vectors])
        kept_positions = [i for i in range(len(TEXTS)) if i != 1 and i not in dropped]
        np.testing.assert_allclose(vectors, every[kept_positions], atol=1e-5)
    index_keys = [run.keys("index") for run in runs]
    assert index_keys[0] == index_keys[1] == index_keys[2] != keys(store, TEXTS, tiny)


@pytest.mark.usefixtures("small_blocks")
def test_a_part_of_what_the_stages_left_is_all_that_is_measured(store: Store, tiny: Path) -> None:
    evidence = {"exact": dropping(store, "exact", [1])}
    run = PoolRun(store, texts=TEXTS, folder=tiny, kept_positions=[0, 6], evidence=evidence)
    assert measured(run) == run.kept
    pool_pass(run, "vectors", 64)
    assert positions(run) == [[0], [6]]


def positions(run: PoolRun) -> list[list[int]]:
    """Return the pool positions of each block of an index."""
    return [
        call.arguments["texts"].positions.tolist() for call in run.calls if call.name == "index"
    ]


@pytest.mark.usefixtures("small_blocks")
def test_an_appended_row_leaves_full_blocks_alone(store: Store, tiny: Path) -> None:
    before = keys(store, TEXTS, tiny)
    after = keys(store, [*TEXTS, "one more"], tiny)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False]


@given(st.sets(st.integers(0, 39), min_size=1), st.integers(1, 9), st.integers(2, 6))
def test_blocks_hold_every_kept_row_once_in_order_and_are_bounded(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, kept: set[int], size: int, most: int
) -> None:
    store = Store(tmp_path_factory.getbasetemp() / "blocks")
    texts = [f"q{i}" for i in range(40)]
    run = PoolRun(store, skipped=["index"], texts=texts, folder=tiny, kept_positions=sorted(kept))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SMALLEST_BLOCK", size)
        patch.setattr(blocks, "MOST_BLOCKS", most)
        pool_pass(run, "vectors", 64)
    assert [p for block in positions(run) for p in block] == sorted(kept)
    assert 1 <= len(positions(run)) <= most


@pytest.mark.usefixtures("small_blocks")
def test_vectors_of_all_blocks_are_those_of_the_kept_rows_in_order(
    store: Store, tiny: Path
) -> None:
    kept = [0, 2, 5, 6, 9]
    run = PoolRun(store, texts=TEXTS, folder=tiny, kept_positions=kept)
    every = index_target(PoolRun(store, texts=TEXTS, folder=tiny), 64).array()
    vectors: NDArray[Any] = read_vectors(pool_pass(run, "vectors", 64).vectors)
    np.testing.assert_allclose(vectors, every[kept], atol=1e-5)


def test_an_index_of_the_target_needs_one(store: Store, tiny: Path) -> None:
    run = PoolRun(store, texts=TEXTS, folder=tiny)
    run.target = None
    with pytest.raises(UserError, match="needs target examples"):
        index_target(run, 64)
