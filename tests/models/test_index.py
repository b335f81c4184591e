"""The index: blocks keyed by all that can change a vector, and by nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import CallRunner
from curate.core.ledger import kept_step
from curate.core.store import Artifact, Step, Store
from curate.models import lm
from curate.models.index import (
    index_steps,
    measured,
    named,
    read_blocks,
    read_vectors,
    target_step,
)
from curate.models.load import ModelLocation, identify
from tests.conftest import row, stored, stored_rows, turns, write_tiny_model


@dataclass
class PoolRun(CallRunner):
    """A run as far as an index sees it: stored rows, the kept ones, and a model."""

    store: Store
    texts: Sequence[str]
    folder: Path
    kept_positions: Sequence[int] | None = None
    evidence: Mapping[str, Artifact] = field(default_factory=dict)
    dtype: str = "float32"
    seed: int = 0
    tokens: Any = None
    rows: Artifact = field(init=False)
    kept: Artifact = field(init=False)
    target: Artifact | None = field(init=False)

    def __post_init__(self) -> None:
        rows = [row(f"r{i:03}", turns(text, "ok")) for i, text in enumerate(self.texts)]
        self.rows = self.target = stored_rows(self.store, "pool", rows)
        if self.kept_positions is None:
            self.kept = self.store.ensure(kept_step(self.rows, [*self.evidence.values()]))
        else:
            ids = [f"r{i:03}" for i in self.kept_positions]
            table = pl.DataFrame(
                {"row_id": ids, "position": list(self.kept_positions)},
                schema={"row_id": pl.String, "position": pl.Int64},
            )
            self.kept = stored(self.store, "kept", {"kept": table}, {"rows_out": len(ids)})

    def execute(self, step: Step) -> Artifact:
        return self.store.ensure(step)

    def execute_all(self, steps: Sequence[Step]) -> list[Artifact]:
        return [self.store.ensure(step) for step in steps]

    def model_identity(self) -> dict[str, Any]:
        return identify(ModelLocation("m", "folder", self.folder), self.dtype)

    def model_runtime(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "trust": False}


TEXTS = [f"question {i}" for i in range(10)]


def keys(run: PoolRun, max_length: int = 64) -> list[str]:
    return [step.key for step in index_steps(run, max_length)]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.models.index.SMALLEST_BLOCK", 4)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def test_a_copy_of_the_model_elsewhere_has_the_same_index(
    store: Store, tiny: Path, copy: Path
) -> None:
    assert keys(PoolRun(store, TEXTS, copy)) == keys(PoolRun(store, TEXTS, tiny))


def test_other_weights_are_another_index(store: Store, tiny: Path, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other", seed=1)
    assert keys(PoolRun(store, TEXTS, other)) != keys(PoolRun(store, TEXTS, tiny))


def test_another_config_is_another_index(store: Store, tiny: Path, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    assert keys(PoolRun(store, TEXTS, copy)) != keys(PoolRun(store, TEXTS, tiny))


def test_another_tokenizer_is_another_index(store: Store, tiny: Path, copy: Path) -> None:
    data = json.loads((copy / "tokenizer.json").read_text())
    vocabulary = data["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (copy / "tokenizer.json").write_text(json.dumps(data))
    assert keys(PoolRun(store, TEXTS, copy)) != keys(PoolRun(store, TEXTS, tiny))


def test_another_chat_template_is_another_index(store: Store, tiny: Path, copy: Path) -> None:
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert keys(PoolRun(store, TEXTS, copy)) != keys(PoolRun(store, TEXTS, tiny))


def test_other_settings_are_another_index(
    store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PoolRun(store, TEXTS, tiny)
    index_keys = {tuple(keys(run)), tuple(keys(run, 65))}
    index_keys.add(tuple(keys(PoolRun(store, TEXTS, tiny, dtype="bfloat16"))))
    monkeypatch.setattr(lm, "BATCH_TOKENS", 1_024)
    index_keys.add(tuple(keys(run)))
    monkeypatch.setattr(lm, "VERSION", 2)
    index_keys.add(tuple(keys(run)))
    assert len(index_keys) == 5


def test_the_same_texts_elsewhere_in_a_pool_are_the_same_block(store: Store, tiny: Path) -> None:
    """Positions, row ids and meta are no part of a vector."""
    alone = PoolRun(store, TEXTS[3:7], tiny)
    inside = PoolRun(store, TEXTS, tiny, kept_positions=[3, 4, 5, 6])
    assert keys(alone) == keys(inside)
    assert target_step(alone, 64).key == keys(alone)[0]


@pytest.mark.usefixtures("small_blocks")
def test_an_edited_row_changes_its_own_block_only(store: Store, tiny: Path) -> None:
    before = keys(PoolRun(store, TEXTS, tiny))
    edited = keys(PoolRun(store, [*TEXTS[:5], "another question", *TEXTS[6:]], tiny))
    assert len(before) == len(edited) == 3
    assert [a == b for a, b in zip(before, edited, strict=True)] == [True, False, True]


@pytest.mark.usefixtures("small_blocks")
def test_a_dropped_row_changes_its_own_block_only(store: Store, tiny: Path) -> None:
    before = keys(PoolRun(store, TEXTS, tiny))
    after = keys(PoolRun(store, TEXTS, tiny, kept_positions=[0, 1, 2, 3, 4, 6, 7, 8, 9]))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def dropping(store: Store, name: str, dropped: Sequence[int]) -> Artifact:
    table = pl.DataFrame(
        {
            "row_id": [f"r{i:03}" for i in range(len(TEXTS))],
            "keep": [i not in dropped for i in range(len(TEXTS))],
        }
    )
    return stored(store, name, {"evidence": table})


@pytest.mark.usefixtures("small_blocks")
def test_another_eval_set_needs_no_other_index(store: Store, tiny: Path) -> None:
    """What a leak check drops is encoded all the same, and left out of what is read."""
    exact = dropping(store, "exact", [1])
    runs = [
        PoolRun(store, TEXTS, tiny, evidence={"exact": exact, "leaks": dropping(store, "leaks", d)})
        for d in ([], [4, 5], [2, 8])
    ]
    assert keys(runs[0]) == keys(runs[1]) == keys(runs[2])
    assert keys(runs[0]) != keys(PoolRun(store, TEXTS, tiny))
    whole = PoolRun(store, TEXTS, tiny)
    every = np.load(whole.execute(target_step(whole, 64)).file("vectors.npy"))
    for run, kept in zip(runs, ([], [4, 5], [2, 8]), strict=True):
        blocks = run.execute_all(index_steps(run, 64))
        inputs = {"kept": run.kept, "measured": measured(run), **named(blocks)}
        kept_positions = [i for i in range(len(TEXTS)) if i != 1 and i not in kept]
        np.testing.assert_allclose(
            np.concatenate([*read_blocks(inputs)]), every[kept_positions], atol=1e-5
        )


@pytest.mark.usefixtures("small_blocks")
def test_a_part_of_what_the_stages_left_is_all_that_is_measured(store: Store, tiny: Path) -> None:
    evidence = {"exact": dropping(store, "exact", [1])}
    run = PoolRun(store, TEXTS, tiny, kept_positions=[0, 6], evidence=evidence)
    assert measured(run).key == run.kept.key
    steps = index_steps(run, 64)
    assert [step.runtime["positions"] for step in steps] == [[0], [6]]


@pytest.mark.usefixtures("small_blocks")
def test_an_appended_row_leaves_full_blocks_alone(store: Store, tiny: Path) -> None:
    before = keys(PoolRun(store, TEXTS, tiny))
    after = keys(PoolRun(store, [*TEXTS, "one more"], tiny))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False]


@given(st.sets(st.integers(0, 39), min_size=1), st.integers(1, 9), st.integers(2, 6))
def test_blocks_hold_every_kept_row_once_in_order_and_are_bounded(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, kept: set[int], size: int, most: int
) -> None:
    store = Store(tmp_path_factory.getbasetemp() / "blocks")
    run = PoolRun(store, [f"q{i}" for i in range(40)], tiny, kept_positions=sorted(kept))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.models.index.SMALLEST_BLOCK", size)
        patch.setattr("curate.models.index.MOST_BLOCKS", most)
        steps = index_steps(run, 64)
    assert [p for step in steps for p in step.runtime["positions"]] == sorted(kept)
    assert 1 <= len(steps) <= most


@pytest.mark.usefixtures("small_blocks")
def test_vectors_of_all_blocks_are_those_of_the_kept_rows_in_order(
    store: Store, tiny: Path
) -> None:
    kept = [0, 2, 5, 6, 9]
    blocks = PoolRun(store, TEXTS, tiny, kept_positions=kept)
    whole = PoolRun(store, TEXTS, tiny).execute(target_step(PoolRun(store, TEXTS, tiny), 64))
    artifacts = blocks.execute_all(index_steps(blocks, 64))
    every = np.load(whole.file("vectors.npy"))
    np.testing.assert_allclose(read_vectors(artifacts), every[kept], atol=1e-5)
    assert [named(artifacts)[name] for name in sorted(named(artifacts))] == artifacts


def test_an_index_of_the_target_needs_one(store: Store, tiny: Path) -> None:
    run = PoolRun(store, TEXTS, tiny)
    run.target = None
    with pytest.raises(ValueError, match="needs target examples"):
        target_step(run, 64)
