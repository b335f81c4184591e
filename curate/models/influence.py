"""Similarities of training rows to target examples by their gradients, at each checkpoint (LESS).

For row i, checkpoint c and target example q: the cosine of the row's Adam direction and the example's
plain gradient (see curate.models.gradients). Two ways to the same numbers:

exact       targets first. Their unit gradients are kept whole, and every matrix of a row's gradients
            is multiplied with theirs in the backward pass. No projection, no store of features.
datastore   features of rows, projected to `dim` numbers (see curate.models.project) and stored;
            they serve any target set afterwards. Each checkpoint has a projection of its own, so that
            the errors of the checkpoints even out.

    exact       wanted-C.safetensors     NAME: [columns, *shape], for each checkpoint C
                similarities.npy         float32 [checkpoints, rows, columns], a block of rows
    datastore   features-C.npy           float16 or int8 [rows, dim], of unit length before projection
                scales-C.npy             int8 alone: what a row's unit is
                scored.npy               bool [rows]: has a response token, so has a gradient

The exact way has a column for each target example, or, where these would take more than COLUMN_BYTES,
one for the mean of each subtask; scores are the same, which example is nearest is then not known.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.core.calls import cached, cached_files
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.lazy import lazy_module
from curate.core.meter import current_meter
from curate.core.run import ScoreRun
from curate.core.store import Artifact, Counts
from curate.core.wants import ONE_GPU
from curate.models.batches import batches_by_length
from curate.models.blocks import RowBlock, row_blocks, whole_block
from curate.models.chat import TokenizedExample, build_example
from curate.models.features import feature_similarities, read_features, save_features
from curate.models.gradients import AdamDirection, example_gradients, has_response
from curate.models.load import load_tokenizer
from curate.models.lora import set_adapters
from curate.models.project import Projection
from curate.models.warmup import Checkpoint, load_adapted, read_checkpoint, read_warmup

if TYPE_CHECKING:
    import safetensors.torch as safetensors_torch
    import torch
else:
    safetensors_torch = lazy_module("safetensors.torch")
    torch = lazy_module("torch")

VERSION = 2
BATCH_TOKENS = 2_048
# What one checkpoint's target gradients may take in memory while there is a column for each example.
COLUMN_BYTES = 2**30
BATCH_GRADIENT_BYTES = 2**30
PROJECTION_SEED = 0x1E55
# Features of one matrix's gradients [B, *shape], by the matrix's name.
Feature = Callable[[str, "torch.Tensor"], "torch.Tensor"]
CheckpointChange = Callable[[NDArray[np.floating], int], NDArray[np.floating]]
GRAM_DECIMALS = 9


# --- calls ----------------------------------------------------------------------------------------


def target_gradients(
    run: ScoreRun, warmup: Artifact, subtasks: Sequence[int], max_length: int
) -> Artifact:
    """Keep the target examples' unit gradients whole, for the exact way."""
    assert run.target is not None
    block = whole_block(run.target)
    return run(write_target_gradients, block, warmup, subtasks, run.base, max_length, BATCH_TOKENS)


def pool_similarities(
    run: ScoreRun, warmup: Artifact, target: Artifact, eps_mode: str, max_length: int
) -> list[Artifact]:
    """Return the similarities of each block of kept rows, the exact way."""
    return run.map(
        write_similarities, _blocks(run), warmup, target, eps_mode, run.base, max_length,
        BATCH_TOKENS,
    )  # fmt: skip


def pool_and_target_features(
    run: ScoreRun, warmup: Artifact, eps_mode: str, max_length: int, dim: int, precision: str
) -> list[Artifact]:
    """Return the projected features of each block of kept rows, and last those of the target."""
    assert run.target is not None
    places: list[tuple[RowBlock, str | None, str]] = [
        *((block, eps_mode, precision) for block in _blocks(run)),
        (whole_block(run.target), None, "float16"),
    ]
    return run.results(
        [
            write_features.call(
                block, warmup, mode, run.base, max_length, BATCH_TOKENS, dim, PROJECTION_SEED, kind
            )
            for block, mode, kind in places
        ]
    )


def _blocks(run: ScoreRun) -> list[RowBlock]:
    return row_blocks(run, run.rows, run.kept.read(["position"])["position"].to_numpy())


# --- exact ----------------------------------------------------------------------------------------


@cached_files(version=VERSION, name="less-target", wants=ONE_GPU)
def write_target_gradients(
    out: Path,
    texts: RowBlock,
    warmup: Artifact,
    subtasks: Sequence[int],
    model: ModelSource,
    max_length: int,
    batch_tokens: int,
) -> Counts:
    """Write the unit gradients of the target examples, or their means by subtask if these are many."""
    examples = read_examples(texts, model, max_length)
    if not all(has_response(example) for example in examples):
        raise _no_response(texts, max_length, examples)
    for number, tuned, checkpoint in each_checkpoint(warmup, model):
        size = sum(weight.numel() for weight in checkpoint.weight.values())
        by_example = len(examples) * size * 4 <= COLUMN_BYTES
        mixture = np.eye(len(examples)) if by_example else _means(np.array(subtasks))
        gradients = unit_gradients(tuned, examples, mixture.astype(np.float32), size, batch_tokens)
        safetensors_torch.save_file(gradients, out / f"wanted-{number}.safetensors")
    counts = {"columns": len(mixture), "by_example": by_example}
    return {"rows_in": len(examples), "rows_out": len(examples), **counts}


def _means(subtasks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return [subtasks, examples]: the weights of the mean within each subtask."""
    member = np.equal.outer(np.unique(subtasks), subtasks).astype(np.float64)
    means: NDArray[np.float64] = member / member.sum(axis=1, keepdims=True)
    return means


def _no_response(
    texts: RowBlock, max_length: int, examples: Sequence[TokenizedExample]
) -> UserError:
    bad = [p for p, e in zip(texts.positions, examples, strict=True) if not has_response(e)]
    first = texts.rows.read(["row_id"])["row_id"].gather(bad[:5])
    first_ids = ", ".join(first) + (", ..." if len(bad) > 5 else "")
    return UserError(
        f"less: {len(bad)} of {len(examples)} target examples have no response token within "
        f"{max_length} tokens ({first_ids}); shorten them or raise select.max_length"
    )


def unit_gradients(
    model: Any,
    examples: Sequence[TokenizedExample],
    mixture: NDArray[np.float32],
    size: int,
    batch_tokens: int = BATCH_TOKENS,
) -> "dict[str, torch.Tensor]":
    """Return mixture [columns, examples] times the examples' unit gradients, matrix by matrix.

    Here a batch's gradients are held whole, since their length is known at the end alone.
    """
    totals: dict[str, torch.Tensor] = {}
    at_once = max(1, BATCH_GRADIENT_BYTES // (4 * size))
    for batch in example_batches(examples, range(len(examples)), batch_tokens, at_once):
        held: dict[str, torch.Tensor] = {}
        example_gradients(model, [examples[i] for i in batch], held.__setitem__)
        squares = sum(part.double().square().sum(dim=(1, 2)) for part in held.values())
        shares = torch.from_numpy(mixture[:, batch]).to(model.device) / _length(squares).float()
        for name, part in held.items():
            mixed = torch.einsum("kb,bij->kij", shares, part).cpu()
            totals[name] = totals[name] + mixed if name in totals else mixed
    return totals


@cached_files(version=VERSION, name="less-similarity", wants=ONE_GPU)
def write_similarities(
    out: Path,
    texts: RowBlock,
    warmup: Artifact,
    target: Artifact,
    eps_mode: str,
    model: ModelSource,
    max_length: int,
    batch_tokens: int,
) -> Counts:
    """Write similarities.npy: one block of rows, in their order; NaN for rows without a response."""
    examples = read_examples(texts, model, max_length)
    scored = np.array([has_response(example) for example in examples])
    columns = target.counts["columns"]
    count = len(read_warmup(warmup)["checkpoints"])
    current_meter().expect(count * int(scored.sum()), "gradients")
    checkpoint_similarities = np.full((count, len(examples), columns), np.nan, dtype=np.float32)
    directions = []
    for number, tuned, checkpoint in each_checkpoint(warmup, model):
        path = target.file(f"wanted-{number}.safetensors")
        gradients = safetensors_torch.load_file(path, device=str(tuned.device))
        direction = adam_direction(checkpoint, eps_mode)
        for batch in example_batches(examples, np.flatnonzero(scored), batch_tokens):
            some = [examples[i] for i in batch]
            checkpoint_similarities[number, batch] = similarities(tuned, some, direction, gradients)
        directions.append(direction)
    np.save(out / "similarities.npy", checkpoint_similarities, allow_pickle=False)
    return _counts(examples, scored) | _direction_counts(directions)


def similarities(
    model: Any,
    batch: Sequence[TokenizedExample],
    feature: Feature,
    target_gradients: "Mapping[str, torch.Tensor]",
) -> NDArray[np.float32]:
    """Return [B, columns]: the examples' unit features times the target gradients."""
    columns = len(next(iter(target_gradients.values())))
    # Long sums: in float32 the number of threads would show in them.
    products = torch.zeros((len(batch), columns), device=model.device, dtype=torch.float64)
    squares = torch.zeros(len(batch), device=model.device, dtype=torch.float64)

    def take(name: str, gradient: torch.Tensor) -> None:
        features = feature(name, gradient).flatten(1).double()
        products.addmm_(features, target_gradients[name].flatten(1).T.double())
        squares.add_(features.square().sum(dim=1))

    example_gradients(model, batch, take)
    return _finite(products / _length(squares)[:, None])


# --- datastore ------------------------------------------------------------------------------------


@cached_files(version=VERSION, name="less-features", wants=ONE_GPU)
def write_features(
    out: Path,
    texts: RowBlock,
    warmup: Artifact,
    eps_mode: str | None,
    model: ModelSource,
    max_length: int,
    batch_tokens: int,
    dim: int,
    seed: int,
    precision: str,
) -> Counts:
    """Write features-C.npy for each checkpoint and scored.npy: one block of rows, in their order.

    Without an eps_mode they are a target's: of plain gradients, and every row must have one.
    """
    examples = read_examples(texts, model, max_length)
    scored = np.array([has_response(example) for example in examples])
    if eps_mode is None and not scored.all():
        raise _no_response(texts, max_length, examples)
    count = len(read_warmup(warmup)["checkpoints"])
    current_meter().expect(count * int(scored.sum()), "gradients")
    directions = []
    for number, tuned, checkpoint in each_checkpoint(warmup, model):
        projection = Projection(dim, [seed, number])
        direction = adam_direction(checkpoint, eps_mode or "")
        feature = direction if eps_mode else plain_gradient
        features = np.zeros((len(examples), dim), dtype=np.float32)
        for batch in example_batches(examples, np.flatnonzero(scored), batch_tokens):
            some = [examples[i] for i in batch]
            features[batch] = projected_features(tuned, some, feature, projection)
        save_features(out, number, features, precision)
        directions.append(direction)
    np.save(out / "scored.npy", scored, allow_pickle=False)
    return _counts(examples, scored) | _direction_counts(directions) | {"by_example": True}


def projected_features(
    model: Any, batch: Sequence[TokenizedExample], feature: Feature, projection: Projection
) -> NDArray[np.float32]:
    """Return the examples' projected features [B, dim], divided by their length before projection."""
    total = torch.zeros((len(batch), projection.dim), device=model.device)
    squares = torch.zeros(len(batch), device=model.device, dtype=torch.float64)

    def take(name: str, gradient: torch.Tensor) -> None:
        features = feature(name, gradient).flatten(1)
        projection.add_to(total, name, features)
        squares.add_(features.double().square().sum(dim=1))

    example_gradients(model, batch, take)
    return _finite(total / _length(squares)[:, None])


def plain_gradient(name: str, gradient: "torch.Tensor") -> "torch.Tensor":
    """Return the gradient: the feature of target examples."""
    return gradient


# --- both -----------------------------------------------------------------------------------------


def read_similarities(
    blocks: Sequence[Artifact],
    target: Artifact,
    shares: Sequence[float],
    change: CheckpointChange | None = None,
) -> NDArray[np.float32]:
    """Return [rows, columns]: each block's similarities, weighted over the checkpoints.

    Args:
        blocks: similarities or features of rows.
        target: gradients or features of the target examples.
        shares: of the checkpoints.
        change: makes others of the similarities [rows, columns] at a checkpoint, by its number.
    """
    block_similarities = []
    for block in blocks:
        if "similarities.npy" in block.files:
            checkpoint_similarities = np.load(block.file("similarities.npy"), allow_pickle=False)
        else:
            checkpoint_similarities = feature_similarities(block, target, len(shares))
        parts: Iterable[NDArray[np.floating]] = checkpoint_similarities
        if change is not None:
            parts = (change(part, number) for number, part in enumerate(checkpoint_similarities))
        block_similarities.append(sum(s * part for s, part in zip(shares, parts, strict=True)))
    return np.concatenate(block_similarities).astype(np.float32)


@cached(version=VERSION, name="less-gram")
def target_gram(target: Artifact, checkpoints: int) -> NDArray[np.float64]:
    """Return the cosines of the target examples' gradients with one another [checkpoints, M, M]."""
    grams = np.stack([_gram(target, number) for number in range(checkpoints)])
    # Long sums: the number of threads shows in their last digits.
    return grams.round(GRAM_DECIMALS)


def _gram(target: Artifact, number: int) -> NDArray[np.float64]:
    if f"features-{number}.npy" in target.files:
        features = read_features(target, number)
        return features @ features.T
    gradients = safetensors_torch.load_file(target.file(f"wanted-{number}.safetensors"))
    flats = (part.flatten(1).double() for _, part in sorted(gradients.items()))
    gram: NDArray[np.float64] = np.sum([(flat @ flat.T).numpy() for flat in flats], axis=0)
    return gram


def read_columns(target: Artifact, subtasks: Sequence[int]) -> tuple[NDArray[np.int64], bool]:
    """Return each column's subtask, and whether columns are the target examples themselves."""
    by_example = bool(target.counts["by_example"])
    return (np.array(subtasks) if by_example else np.unique(subtasks)), by_example


def read_examples(texts: RowBlock, model: ModelSource, max_length: int) -> list[TokenizedExample]:
    """Return a block's rows as token ids and labels."""
    tokenizer = load_tokenizer(model.folder, model.trust)
    return [build_example(tokenizer, messages, max_length) for messages in texts.messages()]


def each_checkpoint(warmup: Artifact, model: ModelSource) -> Iterator[tuple[int, Any, Checkpoint]]:
    """Yield number, model and state of every checkpoint; the model is one and changes its adapters."""
    adapted = load_adapted(warmup, model)
    for number in range(len(read_warmup(warmup)["checkpoints"])):
        checkpoint = read_checkpoint(warmup, number, adapted.device)
        set_adapters(adapted, checkpoint.weight)
        yield number, adapted, checkpoint


def adam_direction(checkpoint: Checkpoint, eps_mode: str) -> AdamDirection:
    """Return the feature of training rows at a checkpoint."""
    return AdamDirection(checkpoint.exp_avg, checkpoint.exp_avg_sq, checkpoint.steps, eps_mode)


def example_batches(
    examples: Sequence[TokenizedExample],
    numbers: Sequence[int] | NDArray[np.int64],
    batch_tokens: int = BATCH_TOKENS,
    most: int | None = None,
) -> Iterator[list[int]]:
    """Yield those examples' numbers in batches of similar length, at most `most` each."""
    lengths = [len(examples[i].ids) for i in numbers]
    meter = current_meter()
    for batch in batches_by_length(lengths, batch_tokens):
        size = most or len(batch)
        for start in range(0, len(batch), size):
            part = [int(numbers[k]) for k in batch[start : start + size]]
            yield part
            meter.advance(len(part))


def _length(squares: Any) -> "torch.Tensor":
    """Return vector lengths that can be divided by."""
    length: torch.Tensor = squares.sqrt().clamp_min(1e-30)
    return length


def _finite(values: "torch.Tensor") -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.float().cpu().numpy()
    if not np.isfinite(array).all():
        raise FloatingPointError("a gradient is not finite; try models.dtype: float32")
    return array


def _direction_counts(directions: Sequence[AdamDirection]) -> Counts:
    """Return in how many coordinates Adam adapts, and how much of its steps is momentum."""
    return {
        "adaptive": sum(direction.adaptive for direction in directions),
        "coordinates": sum(direction.seen for direction in directions),
        "inertia": float(f"{sum(direction.inertia for direction in directions):.6g}"),
        "pull": float(f"{sum(direction.pull for direction in directions):.6g}"),
    }


def _counts(examples: Sequence[TokenizedExample], scored: NDArray[np.bool_]) -> Counts:
    return {
        "rows_in": len(examples),
        "rows_out": int(scored.sum()),
        "tokens": sum(len(example.ids) for example in examples),
    }
