"""What calls want of the machine that runs them."""

from __future__ import annotations

import pickle
from pathlib import Path

import polars as pl
import pytest

from curate.core.calls import CachedCall, Table
from curate.core.keyed import EngineSource
from curate.core.store import Store
from curate.core.wants import ONE_CORE, ONE_GPU, Wants
from curate.llm.prompts import PromptFiles
from curate.selectors.judge import scores
from tests.conftest import stored_table
from tests.step_sources import cached_functions, reached

DEVICE = ("curate.models.load", "device")
# It reads files; the rest of its module asks an engine.
NO_MODEL = {"correct-made"}


@pytest.mark.parametrize(("kind", "gpus"), [("openai", 0), ("transformers", 1), ("vllm", 1)])
def test_a_call_that_asks_an_engine_wants_a_gpu_for_one_in_this_process(
    tmp_path: Path, kind: str, gpus: int
) -> None:
    rows = stored_table(Store(tmp_path), "rows", pl.DataFrame({"row_id": ["a"]}))
    engine = EngineSource({}, {"kind": kind}, {}, tmp_path / "cache")
    call: CachedCall[Table] = scores.call(
        rows, rows, engine, PromptFiles("judge", None, {}), 0, "Right?", 1, 5, 1
    )
    assert call.wants == Wants(gpus=gpus)
    assert pickle.loads(pickle.dumps(call)).wants == call.wants
    assert "wants" not in str(call.params)


def test_what_runs_a_model_wants_a_gpu_and_nothing_else_does() -> None:
    """Told by the source: a model's module asks for the device that it is put on."""
    functions = cached_functions()
    runs_model = {
        name
        for name, function in functions.items()
        if DEVICE in reached(function.__module__, function.__name__)
    }
    assert {n for n, f in functions.items() if f.wants != ONE_CORE} == runs_model - NO_MODEL
    plain = [function.wants for function in functions.values() if isinstance(function.wants, Wants)]
    assert set(plain) == {ONE_CORE, ONE_GPU}
