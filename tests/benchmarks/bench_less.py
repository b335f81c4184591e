"""LESS: gradients of whole batches, exact or projected, against the loop of the published code.

    python tests/benchmarks/bench_less.py [ROWS] [DIM] [DTYPE]

ROWS (32) of the bundled pool and 8 target examples, one checkpoint of SmolLM2-135M, DIM 8,192: few
rows, so that it ends in minutes. After a warm-up that is not timed, both sides do target and pool, in
this process, one after the other; the ratio is what counts.

The loop takes rows one by one: logits everywhere, weight gradients by autograd, flat vectors held for
16 rows and then projected by a dense Rademacher matrix, drawn anew in blocks since it does not fit
into memory. Drawing bits by numpy is faster than what the published code falls back to on a CPU.

Prints seconds, peak memory, and whether rankings agree: exact scores with those of the loop's vectors
before projection, and the scores of either projection with those of the whole vectors.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from curate.core.calls import StoreRunner, Table
from curate.core.keyed import ModelSource
from curate.core.memory import peak_memory
from curate.core.store import Artifact, Store
from curate.models.chat import TokenizedExample, build_example
from curate.models.gradients import has_response
from curate.models.influence import (
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
from curate.models.training import training_rows
from curate.models.warmup import Checkpoint, write_checkpoints
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from curate.selectors.less import Warmup

REPO = Path(__file__).parents[2]
MAX_LENGTH, TARGETS, WARMUP_ROWS = 256, 8, 24
BUFFER, DRAWN_AT_ONCE = 16, 64
Matrix = np.ndarray[Any, Any]


def read_rows(run: StoreRunner, path: str) -> Table:
    entries = [RowFile(path=str(REPO / "data" / path), source="bundled")]
    return row_set("bench", entries, seed=0, max_rejected=1.0).read(run)


def warm_up(run: StoreRunner, rows: Table, ids: list[str], model: ModelSource) -> Artifact:
    lora = Warmup(epochs=1, batch_rows=4).model_dump(mode="json")
    return run(write_checkpoints, training_rows([rows], ids), lora, MAX_LENGTH, model, 0)


# --- ours -----------------------------------------------------------------------------------------


def curate_exact(
    model: Any,
    state: Checkpoint,
    pool: list[TokenizedExample],
    target: list[TokenizedExample],
    dim: int,
) -> Matrix:
    size = sum(weight.numel() for weight in state.weight.values())
    mean = np.full((1, len(target)), 1 / len(target), dtype=np.float32)
    target_gradient = unit_gradients(model, target, mean, size)
    direction = adam_direction(state, "less_code")
    scores = np.zeros(len(pool))
    for batch in example_batches(pool, range(len(pool))):
        scores[batch] = similarities(model, [pool[i] for i in batch], direction, target_gradient)[
            :, 0
        ]
    return scores


def curate_projected(
    model: Any,
    state: Checkpoint,
    pool: list[TokenizedExample],
    target: list[TokenizedExample],
    dim: int,
) -> Matrix:
    projection = Projection(dim, [0])
    all_features = []
    for examples, feature in ((pool, adam_direction(state, "less_code")), (target, plain_gradient)):
        features = np.zeros((len(examples), dim), dtype=np.float32)
        for batch in example_batches(examples, range(len(examples))):
            some = [examples[i] for i in batch]
            features[batch] = projected_features(model, some, feature, projection)
        all_features.append(features)
    return np.asarray(all_features[0] @ all_features[1].mean(axis=0))


# --- the loop -------------------------------------------------------------------------------------


def flat_gradient(model: Any, example: TokenizedExample) -> torch.Tensor:
    model.zero_grad()
    ids, labels = torch.tensor([example.ids]), torch.tensor([example.labels])
    model(input_ids=ids, labels=labels).loss.backward()
    weights = [p.grad for p in model.parameters() if p.requires_grad]
    return torch.cat([w.flatten() for w in weights if w is not None]).float()


def flat_state(model: Any, tensors: Any) -> torch.Tensor:
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    return torch.cat([tensors[name].flatten() for name in names])


def project_dense(vectors: torch.Tensor, dim: int) -> torch.Tensor:
    """Return vectors [B, n] times a matrix of signs [n, dim], always the same one."""
    rng = np.random.default_rng(0)
    count = vectors.shape[1]
    parts = []
    for start in range(0, dim, DRAWN_AT_ONCE):
        width = min(DRAWN_AT_ONCE, dim - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(-(-count * width // 8)), np.uint8))
        signs = torch.from_numpy(bits[: count * width].reshape(width, count)).float()
        parts.append(vectors @ signs.mul_(2).sub_(1).T)
    return torch.cat(parts, dim=1)


class Loop:
    """The loop, and what it spends where; `exact` are the scores before projection."""

    def __init__(self) -> None:
        self.gradients = self.projection = 0.0
        self.exact: Matrix = np.zeros(0)

    def __call__(
        self,
        model: Any,
        state: Checkpoint,
        pool: list[TokenizedExample],
        target: list[TokenizedExample],
        dim: int,
    ) -> Matrix:
        m, v = flat_state(model, state.exp_avg), flat_state(model, state.exp_avg_sq)
        target_gradient = torch.zeros_like(m)
        features: dict[str, list[torch.Tensor]] = {"pool": [], "target": []}
        dots: list[float] = []
        for kind, examples in (("target", target), ("pool", pool)):
            for start in range(0, len(examples), BUFFER):
                begun = time.perf_counter()
                gradients = []
                for example in examples[start : start + BUFFER]:
                    g = flat_gradient(model, example)
                    if kind == "pool":
                        g = (0.9 * m + 0.1 * g) / torch.sqrt(0.999 * v + 0.001 * g**2 + 1e-8)
                        dots.append(float(g @ target_gradient / g.norm()))
                    else:
                        target_gradient += g / g.norm() / len(target)
                    gradients.append(g)
                self.gradients += time.perf_counter() - begun
                begun = time.perf_counter()
                features[kind].append(project_dense(torch.stack(gradients), dim))
                self.projection += time.perf_counter() - begun
        self.exact = np.array(dots)
        one, two = (torch.nn.functional.normalize(torch.cat(features[k])) for k in features)
        return (one @ two.mean(dim=0)).numpy()


# --- both -----------------------------------------------------------------------------------------


def timed(name: str, work: Callable[[], Matrix]) -> tuple[Matrix, float]:
    with peak_memory() as peak:
        started, cpu = time.perf_counter(), time.process_time()
        scores = work()
        seconds, spent = time.perf_counter() - started, time.process_time() - cpu
    timing = f"{seconds:8.1f} s  {spent:8.1f} s of processor  peak {peak[0]:6.0f} MiB"
    print(f"{name:<22}{timing}", flush=True)
    return scores, seconds


def main() -> None:
    count, dim = (int(sys.argv[i]) if len(sys.argv) > i else d for i, d in ((1, 32), (2, 8192)))
    dtype = choose_dtype(sys.argv[3] if len(sys.argv) > 3 else "auto")
    with tempfile.TemporaryDirectory() as folder:
        run = StoreRunner(Store(Path(folder)))
        rows, target_rows = read_rows(run, "pool"), read_rows(run, "target.jsonl")
        table = rows.read().sample(count + WARMUP_ROWS, seed=0)
        location = find_model("smollm2-135m")
        source = ModelSource(identify(location, dtype), prepare(location))
        warmup = warm_up(run, rows, table["row_id"][count:].to_list(), source)
        tokenizer = load_tokenizer(source.folder)
        pool, target = (
            [build_example(tokenizer, m, MAX_LENGTH) for m in some["messages"].to_list()]
            for some in (table[:count], target_rows.read()[:TARGETS])
        )
        assert all(has_response(example) for example in [*pool, *target])
        _, model, state = next(iter(each_checkpoint(warmup, source)))
        compare(model, state, pool, target, dim, dtype)


def compare(
    model: Any,
    state: Checkpoint,
    pool: list[TokenizedExample],
    target: list[TokenizedExample],
    dim: int,
    dtype: str,
) -> None:
    size = sum(weight.numel() for weight in state.weight.values())
    tokens = sum(len(example.ids) for example in [*pool, *target])
    print(
        f"{len(pool)} + {len(target)} rows, {tokens} tokens, {size:,} adapter weights, dim {dim}, "
        f"{dtype}, {torch.get_num_threads()} threads"
    )
    flat_gradient(model, pool[0])
    model.zero_grad()
    loop = Loop()
    exact, exact_time = timed("ours, exact", lambda: curate_exact(model, state, pool, target, dim))
    sketch, sketch_time = timed(
        "ours, datastore", lambda: curate_projected(model, state, pool, target, dim)
    )
    dense, loop_time = timed("loop, dense", lambda: loop(model, state, pool, target, dim))
    print(f"  of it gradients {loop.gradients:.1f} s, projection {loop.projection:.1f} s")
    for name, seconds in (("exact", exact_time), ("datastore", sketch_time)):
        alone = loop.gradients / seconds
        print(f"{name:<10} x{loop_time / seconds:.1f}, and x{alone:.1f} the loop's gradients alone")
    for name, one, two in (
        ("exact, ours with the loop's", exact, loop.exact),
        ("datastore with exact", sketch, exact),
        ("dense with the loop's exact", dense, loop.exact),
    ):
        shared = len(set(np.argsort(-one)[:10]) & set(np.argsort(-two)[:10]))
        print(f"{name:<28} Spearman {spearmanr(one, two).statistic:.4f}, best 10 share {shared}")


if __name__ == "__main__":
    main()
