"""A brief LoRA fine-tune of the base model on rows that a stage trusts; its weights alone are kept.

The proof's settings (curate.models.finetune). Cost: `epochs` training passes over the rows.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from curate.core.calls import Table, cached_files
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.params import Params
from curate.core.run import StepRun
from curate.core.store import Artifact, Counts
from curate.core.wants import ONE_GPU
from curate.models import finetune as finetuning
from curate.models.finetune import ADAPTER, learn_adapter
from curate.models.lora_values import LoraValues, brief_lora
from curate.models.training import TrainingRows, training_rows

VERSION = 1


class TuneParams(Params):
    """A brief LoRA fine-tune."""

    epochs: int = Field(2, gt=0, description="passes over the rows")
    learning_rate: float = Field(5e-4, gt=0, description="the highest; it falls to zero by a line")
    max_length: int = Field(1024, gt=0, description="tokens; longer rows are cut at the end")


def tune(run: StepRun, rows: Table, ids: Sequence[str], params: TuneParams) -> Artifact:
    """Return the base model tuned on these rows of a table: ADAPTER.

    Raises:
        UserError: there is nothing to learn, or the training diverges.
    """
    lora = brief_lora(params.epochs, params.learning_rate, params.max_length)
    texts = training_rows([rows], ids)
    return run(write_adapter, texts, run.base, lora, run.seed, finetuning.VERSION)


@cached_files(
    version=VERSION,
    name="correct-tune",
    title="Tune on the rows of high confidence",
    wants=ONE_GPU,
)
def write_adapter(
    out: Path,
    texts: TrainingRows,
    model: ModelSource,
    lora: LoraValues,
    seed: int,
    finetune: int,
) -> Counts:
    """Write adapter.safetensors; `finetune` is the version of how that is done.

    Raises:
        UserError: there is nothing to learn, or the training diverges.
    """
    try:
        counts = learn_adapter(out / ADAPTER, texts, model, lora, [seed])
    except FloatingPointError as error:
        raise UserError(
            f"the fine-tune diverged; lower tune.learning_rate (now {lora['learning_rate']:g})"
        ) from error
    if not counts["steps"]:
        raise UserError(
            f"no row has a response within {lora['max_length']} tokens; raise tune.max_length"
        )
    return counts
