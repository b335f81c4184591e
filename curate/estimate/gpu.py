"""What a recipe needs on a GPU: memory and hours, computed from its models' configurations.

Nothing here is measured on a GPU. The activations that it counts were measured on a processor with
SmolLM2-135M (curate.models.footprint).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from curate.config.recipe import Config
from curate.core.workload import TRAINING_COST, Workload
from curate.estimate.finetunes import MEASURING_COST
from curate.estimate.lines import EstimateLine
from curate.models.batches import GPU_BATCHES
from curate.models.footprint import FLOAT, ModelShape, model_shape
from curate.models.head import HEAD_TOKENS
from curate.models.influence import BATCH_TOKENS as GRADIENT_TOKENS
from curate.models.influence import COLUMN_BYTES
from curate.models.lm import GPU_BATCH_TOKENS
from curate.models.load import device, find_model, prepare
from curate.models.lora_values import RANK
from curate.models.training import TRAINING_TOKENS

# What CUDA and its libraries take, roughly.
LIBRARIES = 1e9
# A weight of an adapter, its gradient, two numbers of Adam, and the gradient of a part of the batch.
ADAPTER_NUMBERS = 5
# Logits of a slice in float32: themselves, their softmax and a gradient.
LOGIT_COPIES = 3
# Operations a second in bfloat16, from what small models reach to what large ones do.
LEAST_SPEED, MOST_SPEED = 50e12, 300e12


def gpu_sentences(config: Config, lines: Sequence[EstimateLine]) -> list[str]:
    """Return what a recipe needs on a GPU, as one line; none where no language model runs in a process.

    Args:
        config: the recipe.
        lines: its estimate.

    Raises:
        UserError: a model's configuration cannot be read.
    """
    needs = [*_reading(config), *_proof(config), *_engines(config)]
    if not needs:
        return []
    hours = [] if device() == "cuda" else _hours(config, lines)
    return [f"a GPU would need, computed and not measured: {'; '.join([*needs, *hours])}"]


def _shape(config: Config, name: str | None = None) -> ModelShape:
    folder = prepare(find_model(name or config.models.base))
    # On a GPU, auto is bfloat16.
    number = FLOAT if config.models.dtype == "float32" else FLOAT // 2
    return model_shape(folder, number, config.models.trust_remote_code)


def _workloads(config: Config) -> list[Workload]:
    members = [one for _, selector in config.choices for one, _ in selector.members()]
    return [*(stage.cost(1) for stage in config.stages), *(one.cost(1) for one in members)]


def _reading(config: Config) -> Iterator[str]:
    """Yield what methods that read rows with the base model need."""
    works = [work for work in _workloads(config) if work.read_rows]
    if not works:
        return
    shape, longest = _shape(config), max(work.max_length or 0 for work in works)
    held = shape.sizes.held_forward * max(GPU_BATCH_TOKENS, longest)
    yield f"{_gigabytes(_fixed(shape) + held)} to read rows"
    if any(work.gradients for work in works):
        kept = shape.sizes.kept_whole * max(GRADIENT_TOKENS, longest)
        adapters = ADAPTER_NUMBERS * FLOAT * RANK * shape.adapted
        total = _fixed(shape) + kept + adapters + COLUMN_BYTES
        yield f"{_gigabytes(total)} for gradients of single rows"


def _proof(config: Config) -> Iterator[str]:
    """Yield what a fine-tune of the proof needs: from the least that it can keep to all."""
    if config.prove is None:
        return
    lora, shape = config.prove.lora, _shape(config, config.prove.base)
    tokens = min(TRAINING_TOKENS * GPU_BATCHES, lora.batch_rows * lora.max_length)
    adapters = ADAPTER_NUMBERS * FLOAT * lora.rank * shape.adapted
    fixed = _fixed(shape) + adapters
    least = fixed + shape.sizes.kept_inputs * lora.max_length
    most = fixed + shape.sizes.kept_whole * max(tokens, lora.max_length)
    parts = f"weights {_gigabytes(shape.weights)}, adapters and optimizer {_gigabytes(adapters)}"
    yield (
        f"{_gigabytes(least)} to fine-tune, {_gigabytes(most)} if nothing is computed twice ({parts})"
    )


def _engines(config: Config) -> Iterator[str]:
    """Yield what vLLM needs beside the share of a GPU that it takes."""
    generate = config.generate
    generators = generate.methods if generate else ()
    asks = any(generator.asks for generator in generators)
    makers = [
        *([generate] if asks else []),
        *config.stages,
        *(selector for _, selector in config.choices),
    ]
    engines: list[Any] = [
        getattr(maker, name, None) for maker in makers for name in ("engine", "judge")
    ]
    for params in generators:
        for value in (getattr(params, name) for name in params.own_engines):
            engines += value if isinstance(value, list) else [value]
    for name in dict.fromkeys(e.model for e in engines if e is not None and e.kind == "vllm"):
        shape = _shape(config, name)
        yield (
            f"vLLM {_gigabytes(shape.weights)} of weights and {shape.cache / 1e3:,.0f} kB a token of "
            "the prompts and answers under way"
        )


def _fixed(shape: ModelShape) -> float:
    """Return the bytes that do not depend on the tokens of a batch."""
    return LIBRARIES + shape.weights + LOGIT_COPIES * FLOAT * HEAD_TOKENS * shape.vocabulary


def _hours(config: Config, lines: Sequence[EstimateLine]) -> list[str]:
    """Return the hours that the passes over all tokens take, written answers of engines left out."""
    passes = sum(line.tokens * _cost(line.stage) for line in lines if not line.asks)
    if not passes:
        return []
    operations = 2 * _shape(config).parameters * passes
    low, high = (operations / speed / 3_600 for speed in (MOST_SPEED, LEAST_SPEED))
    hours = "below 0.1 hours" if high < 0.1 else f"{low:.1f} to {high:.1f} hours"
    return [f"{hours} at {LEAST_SPEED / 1e12:.0f} to {MOST_SPEED / 1e12:.0f} TFLOP/s"]


def _cost(stage: str) -> float:
    """Return what a token of a line costs, in forward passes."""
    if stage == "generate":
        return 0.0
    if stage.endswith(("tune", "curve", "quantiles", "ablation")):
        return TRAINING_COST
    return MEASURING_COST if ":" in stage else 1.0


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
