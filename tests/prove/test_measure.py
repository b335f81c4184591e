"""Measuring apart from training: the same figures, another eval set, no training for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from curate.prove.finetune import evaluate, train_lora
from curate.prove.measure import measure_step
from curate.store import Artifact, Store
from tests.conftest import row, stored_rows, turns
from tests.prove.test_finetune import LORA, TEXTS, examples, model_of, run_step

LONG = ("word " * 40, "too far")
HELD_OUT = [TEXTS[0], LONG, TEXTS[3]]


def measured(
    store: Store,
    folder: Path,
    tuned: Artifact | None,
    held_out: Sequence[tuple[str, ...]] = HELD_OUT,
) -> Artifact:
    evals = [row(f"e{i}", turns(*texts)) for i, texts in enumerate(held_out)]
    step = measure_step(
        stored_rows(store, "eval", evals),
        tuned,
        max_length=LORA["max_length"],
        identity={"dtype": "float32"},
        hints={"folder": str(folder), "trust": False},
    )
    return store.ensure(step)


def results(artifact: Artifact) -> pl.DataFrame:
    return pl.read_parquet(artifact.file("results.parquet"))


def test_without_a_fine_tune_the_base_model_is_measured(store: Store, tiny: Path) -> None:
    artifact = measured(store, tiny, None)
    alone = evaluate(model_of(tiny), examples(tiny, [TEXTS[0], TEXTS[3]]))
    table = results(artifact)
    assert artifact.name == "base"
    assert table["eval_id"].to_list() == ["e0", "e1", "e2"]
    assert table["loss"].to_list() == [
        pytest.approx(alone["loss"][0]), None, pytest.approx(alone["loss"][1]),
    ]  # fmt: skip
    assert table["response_tokens"].to_list()[1] == 0


def test_a_stored_fine_tune_measures_as_the_model_that_was_just_trained(
    store: Store, tiny: Path
) -> None:
    ids = ["r0", "r3", "r5"]
    table = results(measured(store, tiny, run_step(store, tiny, ids)))
    model = model_of(tiny)
    train_lora(model, [examples(tiny)[i] for i in (0, 3, 5)], LORA, [0, 0])
    in_memory = evaluate(model, examples(tiny, HELD_OUT))
    assert table.drop("eval_id").equals(in_memory)
    base = results(measured(store, tiny, None))
    assert table["loss"][0] < base["loss"][0], "it was trained on this row"


def test_another_eval_set_measures_the_same_fine_tune(store: Store, tiny: Path) -> None:
    tuned = run_step(store, tiny, ["r1", "r4"])
    one, two = (measured(store, tiny, tuned, texts) for texts in (HELD_OUT, TEXTS[:2]))
    assert one.key != two.key
    assert run_step(store, tiny, ["r1", "r4"]).cached


def test_the_same_measurement_gives_the_same_bytes_in_another_store(
    tmp_path: Path, tiny: Path
) -> None:
    stores = [Store(tmp_path / name) for name in ("a", "b")]
    artifact = [measured(store, tiny, run_step(store, tiny, ["r1", "r4"])) for store in stores]
    assert artifact[0].digest == artifact[1].digest
