"""LESS's datastore by ranks: float16 and int8 features against exact similarities, on real rows.

    python tests/benchmarks/bench_datastore.py [ROWS] [DIM]

ROWS (300) of the bundled pool and its 20 target examples, one checkpoint of SmolLM2-135M, DIM 8,192. The
rows' gradients are projected once and stored either way, so that rounding alone differs between the two.

Prints Spearman's correlation and the shared share of the best tenth, by the score (the mean over the
examples) and by single examples, in the mean.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from bench_less import MAX_LENGTH, Matrix, read_rows, warm_up
from scipy.stats import spearmanr

from curate.core.calls import StoreRunner
from curate.core.keyed import ModelSource
from curate.core.store import Store
from curate.models.chat import TokenizedExample, build_example
from curate.models.features import read_features, save_features
from curate.models.gradients import has_response
from curate.models.influence import (
    PROJECTION_SEED,
    adam_direction,
    each_checkpoint,
    example_batches,
    plain_gradient,
    projected_features,
    similarities,
    unit_gradients,
)
from curate.models.load import choose_dtype, find_model, identify, load_tokenizer, prepare
from curate.models.project import Projection
from curate.models.warmup import Checkpoint

WARMUP_ROWS = 64
PRECISIONS = ("float16", "int8")
Examples = list[TokenizedExample]


def exact_similarities(model: Any, state: Checkpoint, pool: Examples, target: Examples) -> Matrix:
    size = sum(weight.numel() for weight in state.weight.values())
    gradients = unit_gradients(model, target, np.eye(len(target), dtype=np.float32), size)
    direction = adam_direction(state, "less_code")
    result = np.zeros((len(pool), len(target)))
    for batch in example_batches(pool, range(len(pool))):
        result[batch] = similarities(model, [pool[i] for i in batch], direction, gradients)
    return result


def features(model: Any, examples: Examples, feature: Any, dim: int) -> Matrix:
    projection = Projection(dim, [PROJECTION_SEED, 0])
    result = np.zeros((len(examples), dim), dtype=np.float32)
    for batch in example_batches(examples, range(len(examples))):
        some = [examples[i] for i in batch]
        result[batch] = projected_features(model, some, feature, projection)
    return result


def stored(folder: Path, vectors: Matrix, precision: str) -> Matrix:
    """Return features as they are read from a store that keeps them in a precision."""
    own = folder / precision
    own.mkdir(parents=True)
    save_features(own, 0, vectors, precision)
    artifact: Any = SimpleNamespace(file=lambda name: own / name)
    return read_features(artifact, 0)


def agreement(one: Matrix, other: Matrix) -> tuple[float, float]:
    """Return Spearman's correlation and the shared share of the best tenth of scores [N]."""
    best = max(1, len(one) // 10)
    shared = set(np.argsort(-one)[:best]) & set(np.argsort(-other)[:best])
    return float(spearmanr(one, other).statistic), len(shared) / best


def lines(ways: dict[str, Matrix]) -> Iterator[str]:
    names = list(ways)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            a, b = ways[one], ways[other]
            rank, best = agreement(a.mean(axis=1), b.mean(axis=1))
            single = np.mean([agreement(x, y) for x, y in zip(a.T, b.T, strict=True)], axis=0)
            yield (
                f"{one + ' and ' + other:<19} score: Spearman {rank:.4f}, best tenth {best:.2f}; "
                f"single examples: {single[0]:.4f}, {single[1]:.2f}; "
                f"largest difference {np.abs(a - b).max():.4f}"
            )


def main() -> None:
    count, dim = (int(sys.argv[i]) if len(sys.argv) > i else d for i, d in ((1, 300), (2, 8192)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = StoreRunner(Store(folder / "store"))
        rows, targets = read_rows(run, "pool"), read_rows(run, "target.jsonl").read()
        table = rows.read().sample(count + WARMUP_ROWS, seed=0)
        location = find_model("smollm2-135m")
        source = ModelSource(identify(location, choose_dtype("auto")), prepare(location))
        warmup = warm_up(run, rows, table["row_id"][count:].to_list(), source)
        tokenizer = load_tokenizer(source.folder)
        pool, target = (
            [build_example(tokenizer, m, MAX_LENGTH) for m in some["messages"].to_list()]
            for some in (table[:count], targets)
        )
        pool = [example for example in pool if has_response(example)]
        _, model, state = next(iter(each_checkpoint(warmup, source)))
        started = time.process_time()
        ways = {"exact": exact_similarities(model, state, pool, target)}
        between = time.process_time()
        example_features = features(model, target, plain_gradient, dim)
        own = features(model, pool, adam_direction(state, "less_code"), dim)
        ended = time.process_time()
        target_features = stored(folder / "target", example_features, "float16")
        for precision in PRECISIONS:
            ways[precision] = stored(folder / "pool", own, precision) @ target_features.T
        print(f"{len(pool)} rows, {len(target)} examples, dim {dim}, {source.dtype}")
        print(f"core seconds: exact {between - started:.0f}, projected {ended - between:.0f}")
        print("\n".join(lines(ways)))


if __name__ == "__main__":
    main()
