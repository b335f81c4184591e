"""Perplexity ratio: rows that become likelier when the base model is tuned on the target examples.

    gain = (loss under the base - loss under the tuned model) per token of the response
    score = gain * tokens / (tokens + 10)

The gain is the log of the ratio of the two perplexities: the cross-entropy difference of Moore and Lewis
2010, "Intelligent Selection of Language Model Training Data" (ACL), with the base as the general model
and the same model tuned on the target as the particular one, as in CoLoR-Filter, Brandfonbrener et al.
2024, arXiv:2406.10670. Both read whole documents; here the response is scored given its prompt, which
is also all that the tuning learns. Cost: a brief LoRA fine-tune on the target examples, and two forward
passes over every row.

Some 10 to 50 target examples are soon learned by heart, and then every row that is not one of them
looks alike, or worse than before: after 8 epochs on the 20 bundled examples the other rows have lost
2 nats a token, after 3 they have gained 0.3. So the tuning stays short: `epochs` passes, LoRA only, a
learning rate that decays; and the base's loss is subtracted, so that what is easy anyway gains
nothing. A row that repeats a target example comes first: drop those beforehand if they are not wanted.

Per token, so that length does not decide. But a tuning also teaches manners, such as to answer tersely,
and in a response of two tokens these are all there is: on the bundled pool, bare one-word answers of
other tasks had the highest gains. So each response is averaged with `prior_tokens` tokens of no gain;
0 gives the plain mean.

All target examples are learned together: a small subtask among them counts by its share of the tokens.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached, cached_files
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.methods import method
from curate.core.run import ScoreRun, target_of
from curate.core.selector import Selector
from curate.core.store import Artifact, Counts
from curate.core.wants import ONE_GPU
from curate.core.workload import ResponseLimit, Workload
from curate.models.finetune import ADAPTER, finetune, learn_adapter
from curate.models.lora_values import LoraValues, brief_lora
from curate.models.passes import pass_of, pool_pass
from curate.models.training import TrainingRows, training_rows
from curate.selectors.gain import PRIOR_TOKENS, loss_table, shrunk_gain, with_score

VERSION = 1
# The seed is fixed: another draw of the adapters is no other method.
SEED = (0,)


@method
class PerplexityRatioSelector(Selector):
    """Rows that a brief tuning on the target examples makes likelier."""

    version: ClassVar[int] = VERSION
    needs_target: ClassVar[bool] = True
    rank_params: ClassVar[tuple[str, ...]] = ("prior_tokens",)
    renders_target: ClassVar[bool] = True
    scores_alone: ClassVar[bool] = True

    method: Literal["perplexity_ratio"] = "perplexity_ratio"
    epochs: int = Field(
        3, gt=0, description="passes over the target examples; more learn them by heart"
    )
    learning_rate: float = Field(
        5e-4, gt=0, description="of the brief tuning on the target examples"
    )
    prior_tokens: int = Field(10, ge=0, description=PRIOR_TOKENS)
    max_length: int = Field(2048, gt=0, description="tokens; longer rows are cut at the end")

    def score_rows(self, run: ScoreRun) -> Table:
        """Tune on the target, measure responses under both models, then store the differences."""
        adapter = tune_on_target(run, self)
        base = pool_pass(run, "response", self.max_length)
        tuned = pass_of(run, run.base, self.max_length, adapter)
        return run(
            scores, run.kept, base.measured, base.blocks, tuned.measured, tuned.blocks,
            self.prior_tokens,
        )  # fmt: skip

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first; ties go to the smaller row_id, unscored rows come last."""
        sort_key = shrunk_gain(self.prior_tokens).fill_null(-math.inf)
        order = scores.select(pl.arg_sort_by(sort_key, "row_id", descending=[True, False]))
        return order.to_series().to_numpy().astype(np.int64)

    def cost(self, rows: int) -> Workload:
        """Return the passes of the base model, which must see some of a response."""
        limit = ResponseLimit(self.max_length)
        return Workload(
            read_rows=2 * rows, max_length=self.max_length, heads=("response",), limit=limit
        )


def tune_on_target(run: ScoreRun, params: PerplexityRatioSelector) -> Artifact:
    """Tune the base model on the target examples."""
    target = target_of(run)
    ids = target.read(["row_id"])["row_id"].to_list()
    lora = brief_lora(params.epochs, params.learning_rate, params.max_length)
    texts = training_rows([target], ids)
    return run(write_adapter, texts, run.base, lora, finetune.version)


@cached_files(
    version=VERSION, name="tune-target", title="Tune on the target examples", wants=ONE_GPU
)
def write_adapter(
    out: Path, texts: TrainingRows, model: ModelSource, lora: LoraValues, finetune: int
) -> Counts:
    """Write adapter.safetensors: what LoRA learned from the target examples.

    Args:
        out: the folder.
        texts: the target examples.
        model: to tune.
        lora: the settings.
        finetune: version of the fine-tune, which the key knows.

    Raises:
        UserError: there is nothing to learn, or the training diverges.
    """
    try:
        counts = learn_adapter(out / ADAPTER, texts, model, lora, SEED)
    except FloatingPointError as error:
        raise UserError(
            "tuning on the target examples diverged; lower select.learning_rate "
            f"(now {lora['learning_rate']:g})"
        ) from error
    if not counts["steps"]:
        raise UserError(
            f"no target example has a response within {lora['max_length']} tokens; raise "
            "select.max_length"
        )
    return counts


@cached(version=VERSION, name="score-perplexity_ratio")
def scores(
    kept: Table,
    measured: Table,
    base: Sequence[Artifact],
    measured_tuned: Table,
    tuned: Sequence[Artifact],
    prior_tokens: int,
) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id (null), reason, both losses, tokens."""
    frame = loss_table(kept, measured, base, measured_tuned, tuned)
    frame = with_score(frame, shrunk_gain(prior_tokens))
    return Counted(frame, {"unscored": frame["score"].null_count()})
