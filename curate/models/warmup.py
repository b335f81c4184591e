"""The warm-up of LESS: a LoRA fine-tune on a random share of the rows, kept epoch by epoch.

    checkpoint-0.safetensors    weight/NAME, exp_avg/NAME, exp_avg_sq/NAME for each adapter matrix
    warmup.json                 {"lora": {...}, "checkpoints": [{"steps": 19, "rate": 1.2e-4}, ...]}

Xia et al. 2024, arXiv:2402.04333: 5 % of the rows, 4 epochs, rank 128, alpha 512 on q, k, v and o,
learning rate 2e-5 with a linear schedule and 3 % warm-up, 128 rows a step. Those figures are for a
7-billion model of hidden size 4,096 and 13,534 rows. For other sizes, unless they are given:

    rank             128 x hidden size / 4,096, to a power of two from 8 to 128; alpha 4 x rank
    learning rate    2e-5 x 4,096 / hidden size
    rows             at least 64, or all
    rows a step      at most 128, and so few that an epoch has 16 steps or more

The state of Adam is kept by the names of the parameters. The authors' code takes it that way too, but
the trainer that they use writes it by number, which fails (their issues 4, 10, 44). Their 5 % is the
same draw in every trial, whatever the seed; here it follows the run's seed. Dropout, 0.1 with them,
is left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl

from curate.core.calls import cached_files
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.lazy import lazy_module
from curate.core.run import ScoreRun
from curate.core.store import Artifact, Counts, write_json
from curate.core.wants import ONE_GPU
from curate.models.chat import TokenizedExample, build_example
from curate.models.gradients import has_response, lora_layers
from curate.models.load import load_tokenizer
from curate.models.lora import add_adapters
from curate.models.lora_values import WarmupTuning
from curate.models.training import (
    TrainingRows,
    TrainingStep,
    accumulate_gradients,
    training_batches,
    training_rows,
    training_steps,
)
from curate.models.weights import adaptable_model

if TYPE_CHECKING:
    import safetensors.torch as safetensors_torch
    import torch
    from peft import PeftModel
else:
    safetensors_torch = lazy_module("safetensors.torch")

VERSION = 2
RATE_WARMUP = 0.03
FEWEST_ROWS = 64
MOST_BATCH_ROWS, FEWEST_STEPS = 128, 16
PUBLISHED_WIDTH, PUBLISHED_RANK, PUBLISHED_RATE = 4_096, 128, 2e-5
SMALLEST_RANK, ALPHA_PER_RANK = 8, 4
TENSORS = ("weight", "exp_avg", "exp_avg_sq")


def warm_up(run: ScoreRun, lora: Mapping[str, Any], max_length: int) -> Artifact:
    """Tune adapters on a share of the kept rows and keep every epoch.

    Args:
        run: names the rows, the model and the seed.
        lora: fraction, epochs, rank, alpha, learning_rate, batch_rows (null for the default) and
            targets.
        max_length: tokens a row.
    """
    ids = run.kept.read(["row_id"])["row_id"]
    rows = training_rows([run.rows], draw_rows(ids, lora["fraction"], run.seed))
    settings = {name: value for name, value in lora.items() if name != "fraction"}
    return run(write_checkpoints, rows, settings, max_length, run.base, run.seed)


def drawn_rows(rows: int, fraction: float) -> int:
    """Return how many rows of so many a warm-up learns."""
    return min(max(round(fraction * rows), FEWEST_ROWS), rows)


def draw_rows(ids: pl.Series, fraction: float, seed: int) -> list[str]:
    """Return a share of the rows, drawn from the seed and in the order of their ids."""
    rng = np.random.default_rng([seed, 0x1E55])
    drawn = rng.choice(len(ids), size=drawn_rows(len(ids), fraction), replace=False)
    return ids.sort().gather(np.sort(drawn)).to_list()


@cached_files(version=VERSION, name="less-warmup", wants=ONE_GPU)
def write_checkpoints(
    out: Path,
    texts: TrainingRows,
    lora: Mapping[str, Any],
    max_length: int,
    model: ModelSource,
    seed: int,
) -> Counts:
    """Write the adapters and Adam's state after each epoch, and warmup.json."""
    tokenizer = load_tokenizer(model.folder, model.trust)
    messages = texts.messages()
    examples = [build_example(tokenizer, m, max_length) for m in messages]
    examples = [example for example in examples if has_response(example)]
    if not examples:
        raise UserError(
            f"warm-up: none of its {len(messages)} rows has a response within "
            f"{max_length} tokens; raise select.max_length"
        )
    base = adaptable_model(model.folder, model.dtype, model.trust)
    filled = fill_in(lora, base.config.get_text_config().hidden_size, len(examples))
    tuned = adapt(base, filled, [seed, 0x1E55])
    lora_layers(tuned)
    checkpoints = _train(out, tuned, examples, filled, seed)
    write_json(out / "warmup.json", {"lora": filled, "checkpoints": checkpoints})
    return {
        "rows_in": len(messages),
        "rows_out": len(examples),
        "tokens": filled["epochs"] * sum(len(example.ids) for example in examples),
        "lora": filled,
        "checkpoints": checkpoints,
    }


def fill_in(lora: Mapping[str, Any], width: int, rows: int) -> WarmupTuning:
    """Return the settings with the defaults for a hidden size and a number of rows."""
    scaled = 2 ** round(math.log2(PUBLISHED_RANK * width / PUBLISHED_WIDTH))
    rank = lora["rank"] or min(max(scaled, SMALLEST_RANK), PUBLISHED_RANK)
    return {
        "epochs": lora["epochs"],
        "targets": lora["targets"],
        "rank": rank,
        "alpha": lora["alpha"] or ALPHA_PER_RANK * rank,
        "learning_rate": lora["learning_rate"] or PUBLISHED_RATE * PUBLISHED_WIDTH / width,
        "batch_rows": lora["batch_rows"] or min(max(rows // FEWEST_STEPS, 1), MOST_BATCH_ROWS),
    }


def adapt(model: Any, lora: WarmupTuning, seed: Sequence[int]) -> "PeftModel":
    """Return the model with fresh adapters on the layers named by `targets`.

    Raises:
        UserError: it carries adapters already, or has no layer of these names.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer  # noqa: PLC0415
    from torch.nn import Linear  # noqa: PLC0415

    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise UserError(
            "warm-up: the base model carries adapters of its own; merge them into its weights first"
        )
    last = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    missing = [name for name in lora["targets"] if name not in last]
    if missing:
        linear = {n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, Linear)}
        raise UserError(
            f"warm-up: the base model has no layer named {', '.join(missing)}; set "
            "select.warmup.targets to names of its linear layers: "
            + (", ".join(sorted(linear)) or "it has none")
        )
    return add_adapters(model, lora, lora["targets"], seed)


def _train(
    out: Path, tuned: Any, examples: Sequence[TokenizedExample], lora: WarmupTuning, seed: int
) -> list[dict[str, Any]]:
    """Tune, write a checkpoint after every epoch, and return the steps and mean rate of each."""
    batches = list(training_batches(examples, lora, [seed, 0x1E55]))
    epoch = len(batches) // lora["epochs"]
    warmup = math.ceil(RATE_WARMUP * len(batches))
    checkpoints: list[dict[str, Any]] = []
    rates: list[float] = []
    for step_number, step in enumerate(
        training_steps(tuned, batches, accumulate_gradients, lora["learning_rate"], warmup), 1
    ):
        if not math.isfinite(step.loss):
            raise FloatingPointError(
                f"the loss of step {step_number} of the warm-up is not finite; lower "
                "select.warmup.learning_rate"
            )
        rates.append(step.rate)
        if step_number % epoch == 0:
            _save(out / f"checkpoint-{len(checkpoints)}.safetensors", tuned, step)
            checkpoints.append({"steps": step_number, "rate": float(np.mean(rates[-epoch:]))})
    return checkpoints


def _save(path: Path, tuned: Any, step: TrainingStep) -> None:
    tensors = {}
    for name, weight in tuned.named_parameters():
        if weight.requires_grad:
            state = step.optimizer.state[weight]
            tensors[f"weight/{name}"] = weight.detach()
            tensors[f"exp_avg/{name}"] = state["exp_avg"]
            tensors[f"exp_avg_sq/{name}"] = state["exp_avg_sq"]
    safetensors_torch.save_file(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, path
    )


@dataclass(frozen=True)
class Checkpoint:
    """The adapters after an epoch, and Adam's state there, by the names of the parameters."""

    steps: int
    weight: "Mapping[str, torch.Tensor]"
    exp_avg: "Mapping[str, torch.Tensor]"
    exp_avg_sq: "Mapping[str, torch.Tensor]"


def read_warmup(warmup: Artifact) -> dict[str, Any]:
    """Return warmup.json."""
    summary: dict[str, Any] = orjson.loads(warmup.file("warmup.json").read_bytes())
    return summary


def checkpoint_shares(warmup: Artifact) -> list[float]:
    """Return the weight of each checkpoint: its epoch's mean learning rate, all summing to 1."""
    rates = [checkpoint["rate"] for checkpoint in read_warmup(warmup)["checkpoints"]]
    return [rate / sum(rates) for rate in rates]


def read_checkpoint(warmup: Artifact, number: int, device: Any = "cpu") -> Checkpoint:
    """Return a checkpoint on a device."""
    tensors = safetensors_torch.load_file(
        warmup.file(f"checkpoint-{number}.safetensors"), device=str(device)
    )
    parts: dict[str, dict[str, torch.Tensor]] = {kind: {} for kind in TENSORS}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        parts[kind][name] = tensor
    return Checkpoint(read_warmup(warmup)["checkpoints"][number]["steps"], **parts)


def load_adapted(warmup: Artifact, model: ModelSource) -> "PeftModel":
    """Return the base model with adapters as in the warm-up, in evaluation mode."""
    base = adaptable_model(model.folder, model.dtype, model.trust)
    return adapt(base, read_warmup(warmup)["lora"], [0]).eval()
