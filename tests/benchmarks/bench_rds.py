"""RDS+ representations: batched as the library does it, against the authors' loop in float32.

    python tests/benchmarks/bench_rds.py [ROWS] [FILE.jsonl ...]

The loop reads one row at a time with the model as transformers loads it (arXiv:2503.01807). Both sides
encode the same rows of the bundled pool (or of the files given) in this process, one after the other;
the ratio is what counts. Prints tokens a second of all cores together, which a busy machine
changes least, peak memory, and how far the scores differ when the first 20 rows stand for a target.
"""

import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from scipy.stats import spearmanr

from curate.core.calls import StoreRunner
from curate.core.memory import peak_memory
from curate.core.rows import Message
from curate.core.store import Store
from curate.models.chat import tokenise
from curate.models.lm import encode, pool_states
from curate.models.load import choose_dtype, find_model, load_tokenizer, prepare
from curate.models.weights import load_trunk
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from curate.selectors.rounds import best_first, round_robin

REPO = Path(__file__).parents[2]
MAX_LENGTH = 2048
TARGETS = 20
LOOP = "one by one, float32"


def read_rows(count: int, paths: list[str]) -> list[list[Message]]:
    files = paths or [str(REPO / "data" / "pool")]
    entries = [RowFile(path=p, source=f"s{i}") for i, p in enumerate(files)]
    store = Store(REPO / ".curate" / "bench")
    table = row_set("bench", entries, seed=0, max_rejected=1.0).read(StoreRunner(store))
    rows = table.read(["messages"])
    return rows.sample(min(count, rows.height), seed=0)["messages"].to_list()


@lru_cache
def plain_trunk(folder: Path) -> Any:
    return transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()


def one_by_one(folder: Path, rows: list[list[int]]) -> np.ndarray:
    model = plain_trunk(folder)
    vectors = []
    with torch.inference_mode():
        for row in rows:
            states = model(input_ids=torch.tensor([row]), use_cache=False).last_hidden_state
            vectors.append(pool_states(states, torch.ones(1, len(row), dtype=torch.long))[0])
    return torch.stack(vectors).numpy()


def cosines(vectors: np.ndarray, targets: int = TARGETS) -> np.ndarray:
    """Return the scores of every row against the first rows, which stand for a target."""
    return np.asarray(vectors @ vectors[:targets].T)


def agreement(scores: np.ndarray, truth: np.ndarray) -> str:
    """Return how far scores differ, and how many of the best 5 % by round-robin are the same."""
    budget = max(len(scores) // 20, 1)
    best, other = (
        set(round_robin(map(best_first, part.T), len(part))[:budget].tolist())
        for part in (truth, scores)
    )
    ranks = np.mean([spearmanr(a, b).statistic for a, b in zip(scores.T, truth.T, strict=True)])
    return (
        f"largest difference {np.abs(scores - truth).max():.1e}  Spearman {ranks:.4f}  "
        f"{len(best & other)} of the best {budget} the same"
    )


def measure(count: int, paths: list[str]) -> dict[str, Any]:
    """Encode rows in each way and print speeds and agreement; return the figures."""
    folder = prepare(find_model("smollm2-135m"))
    rows = tokenise(load_tokenizer(folder), read_rows(count, paths), MAX_LENGTH)
    tokens = sum(map(len, rows))
    print(f"{len(rows)} rows, {tokens} tokens, {torch.get_num_threads()} threads", flush=True)
    auto = choose_dtype("auto")
    runs: dict[str, Callable[[], NDArray[Any]]] = {
        "batched, float32": lambda: encode(load_trunk(folder, "float32"), rows),
        LOOP: lambda: one_by_one(folder, rows),
    }
    if auto != "float32":
        runs[f"batched, {auto}"] = lambda: encode(load_trunk(folder, auto), rows)
    speeds: dict[str, float] = {}
    scores: dict[str, NDArray[Any]] = {}
    peaks: dict[str, float] = {}
    for name, run in runs.items():
        load_trunk(folder, auto if auto in name else "float32")
        plain_trunk(folder)
        with peak_memory() as peak:
            started = time.process_time()
            scores[name] = cosines(run())
            speeds[name] = tokens / (time.process_time() - started)
        peaks[name] = peak[0]
        print(
            f"{name:<22} {speeds[name]:8.0f} tokens a core second  peak {peak[0]:6.0f} MiB",
            flush=True,
        )
    batched = [name for name in runs if name != LOOP]
    for name in batched:
        ratio = speeds[name] / speeds[LOOP]
        print(f"{name:<22} x{ratio:.2f}  {agreement(scores[name], scores[LOOP])}")
    return {
        "rows": len(rows),
        "tokens": tokens,
        "tokens_a_core_second": {name: round(speed) for name, speed in speeds.items()},
        "ratio": {name: round(speeds[name] / speeds[LOOP], 2) for name in batched},
        "difference": {n: float(np.abs(scores[n] - scores[LOOP]).max()) for n in batched},
        "peak_mb": round(max(peaks.values())),
    }


def main() -> None:
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2:])


if __name__ == "__main__":
    main()
