"""The fine-tune on pairs: it learns what is preferred, and gives the same bytes again."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.core.calls import StoreRunner, Table
from curate.core.keyed import ModelSource
from curate.core.store import Artifact, Store
from curate.models.dpo import answer_likelihoods
from curate.models.finetune import load_measured
from curate.models.finetune_pairs import finetune_pairs
from curate.models.load import load_tokenizer
from curate.models.lora_values import LoraValues
from curate.models.preferences import build_pairs, pair_rows
from tests.conftest import row, stored_rows, turns

LORA: LoraValues = {
    "rank": 4, "alpha": 8, "epochs": 8, "learning_rate": 1e-2, "batch_rows": 2, "max_length": 96,
}  # fmt: skip
ALL = ["r0", "r1", "r2", "r3"]


def pool(store: Store) -> Table:
    """Return rows whose rejected answers are in capitals; the last has none."""
    texts = [("Name a colour.", "red"), ("Hi", "hello"), ("Say a.", "a"), ("2 + 2?", "four")]
    rows = [
        row(f"r{i}", turns(p, good), rejected=None if i == 3 else turns("", good.upper())[1:])
        for i, (p, good) in enumerate(texts)
    ]
    return stored_rows(store, "pool", rows)


def source(folder: Path) -> ModelSource:
    return ModelSource({"dtype": "float32"}, folder)


def tuned(store: Store, folder: Path, ids: list[str] = ALL, **changes: Any) -> Artifact:
    beta = changes.pop("beta", 0.5)
    lora: Any = {**LORA, **changes}
    pairs = pair_rows([pool(store)], ids)
    return StoreRunner(store)(finetune_pairs, pairs, lora, beta, [0, 0], source(folder))


def margins(store: Store, folder: Path, artifact: Artifact | None) -> Any:
    pairs = build_pairs(load_tokenizer(folder), pair_rows([pool(store)], ALL).preferences(), 96)
    likelihoods = answer_likelihoods(load_measured(artifact, source(folder)), pairs)
    return likelihoods[:3, 0] - likelihoods[:3, 1]


def test_chosen_answers_become_likelier_than_rejected_ones(store: Store, tiny: Path) -> None:
    artifact = tuned(store, tiny)
    losses = artifact.counts["train_loss"]
    assert losses[0] == pytest.approx(log(2), abs=1e-4)
    assert np.mean(losses[-2:]) < 0.5 * log(2)
    assert (margins(store, tiny, artifact) > margins(store, tiny, None) + 1).all()


def test_rows_are_counted_and_one_that_is_no_pair_teaches_nothing(store: Store, tiny: Path) -> None:
    artifact = tuned(store, tiny)
    counts = artifact.counts
    assert (counts["rows_in"], counts["rows_out"], counts["steps"]) == (4, 3, 16)
    pairs = build_pairs(load_tokenizer(tiny), pair_rows([pool(store)], ALL).preferences(), 96)
    lengths = [len(pair.chosen.ids) + len(pair.rejected.ids) for pair in pairs[:3]]
    assert counts["tokens"] == sum(lengths)
    none = tuned(store, tiny, ["r3"])
    assert none.counts["steps"] == 0
    assert not none.files


def test_the_same_step_gives_the_same_bytes_in_another_store(tmp_path: Path, tiny: Path) -> None:
    one, other = (tuned(Store(tmp_path / name), tiny) for name in "ab")
    assert one.digest == other.digest
    assert one.counts == other.counts


def test_the_key_follows_pairs_and_beta(store: Store, tiny: Path) -> None:
    keys = {
        tuned(store, tiny, ids, epochs=1, beta=beta).key
        for ids, beta in ((["r0"], 0.1), (["r0"], 0.2), (["r1"], 0.1), (["r0", "r1"], 0.1))
    }
    assert len(keys) == 4


def test_beta_holds_the_model_to_its_reference(store: Store, tiny: Path) -> None:
    before = margins(store, tiny, None)
    loose, tight = (
        margins(store, tiny, tuned(store, tiny, beta=beta, epochs=15)) - before
        for beta in (0.05, 5.0)
    )
    assert loose.mean() > 2 * tight.mean() > 0
