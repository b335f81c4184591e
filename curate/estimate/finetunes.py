"""What the fine-tunes of a proof take, and their measurement: tokens and seconds."""

from curate.core.calls import Table
from curate.core.workload import TRAINING_COST
from curate.estimate.base_model import BaseModel
from curate.estimate.pace import Range, exactly
from curate.estimate.pairshare import count_pairs, learned_share
from curate.proof.settings import ProofSettings

# A measurement against a forward pass without the head: adapters beside every layer, and the head.
MEASURING_COST = 1.8


def tuning_cost(prove: ProofSettings, read: int, runs: int, base: BaseModel) -> tuple[Range, Range]:
    """Return tokens and seconds of fine-tunes on so many rows, all of them together.

    Of a pair both answers are trained on, each behind the prompt, and read once before.
    """
    lora, answers = prove.lora, 2 if prove.by_pairs else 1
    length = base.mean_tokens("target", lora.max_length) if "target" in base.inputs else Range()
    rows = length * (answers * read) * learned_share(prove, base)
    trained, before = rows * lora.epochs, rows * (MEASURING_COST if prove.by_pairs else 0)
    # Loaded after the pace of the model is known, for which it was imported.
    return trained, base.seconds(trained * TRAINING_COST + before) + exactly(base.load) * runs


def measuring_cost(
    prove: ProofSettings, eval_rows: Table, models: int, base: BaseModel
) -> tuple[Range, Range]:
    """Return tokens and seconds of so many models on the eval set; of its pairs on both answers too."""
    read = models * (eval_rows.height + (2 * count_pairs(eval_rows) if prove.by_pairs else 0))
    measured = base.mean_tokens("eval", prove.lora.max_length) * read
    return measured, base.seconds(measured * MEASURING_COST) + exactly(base.load) * models
