"""A brief LoRA fine-tune of the base model on rows that a stage trusts; its weights alone are kept.

The proof's settings (curate.models.finetune). Cost: `epochs` training passes over the rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from curate.core.errors import UserError
from curate.core.registry import Params, StepRun
from curate.core.store import Artifact, Counts, Step, digest_of
from curate.models import finetune
from curate.models.finetune import learn_adapter
from curate.models.training import read_messages

VERSION = 1
ADAPTER = "adapter.safetensors"
LORA = {"rank": 16, "alpha": 32, "batch_rows": 8}


class TuneParams(Params):
    """A brief LoRA fine-tune."""

    epochs: int = Field(2, gt=0)
    learning_rate: float = Field(5e-4, gt=0)
    max_length: int = Field(1024, gt=0, description="tokens; longer rows are cut at the end")


def tune_step(
    run: StepRun, name: str, rows: Artifact, ids: Sequence[str], params: TuneParams
) -> Step:
    """Return the step that tunes the base model on these rows of an artifact; it writes ADAPTER."""
    path = rows.file("rows.parquet")
    step_params = {
        "texts": digest_of(read_messages(path, ids)),
        "model": run.model_identity(),
        "lora": LORA | params.model_dump(),
        "seed": run.seed,
        "finetune": finetune.VERSION,
    }
    runtime = {**run.model_runtime(), "rows": str(path), "row_ids": list(ids)}
    return Step(name, VERSION, tune_rows, params=step_params, runtime=runtime)


def tune_rows(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write adapter.safetensors.

    Raises:
        UserError: there is nothing to learn, or the training diverges.
    """
    lora = params["lora"]
    try:
        counts = learn_adapter(out / ADAPTER, params, runtime, [params["seed"]])
    except FloatingPointError as error:
        raise UserError(
            f"the fine-tune diverged; lower tune.learning_rate (now {lora['learning_rate']:g})"
        ) from error
    if not counts["steps"]:
        raise UserError(
            f"no row has a response within {lora['max_length']} tokens; raise tune.max_length"
        )
    return counts
