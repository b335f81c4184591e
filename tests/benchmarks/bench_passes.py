"""Methods that read rows with the base model, in core seconds of one run: what each adds to the others.

    python tests/benchmarks/bench_passes.py [ROWS]

ROWS (48) of the bundled pool and 8 target examples, SmolLM2-135M, max_length 512, one checkpoint. In the
order of the lines: what a method shares with those before it is stored, and costs it nothing.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_less import read_rows

from curate.core.calls import StoreRunner
from curate.core.store import Store
from curate.core.turntext import CONVERSATION, conversations
from curate.models.chat import build_example
from curate.models.load import choose_dtype, find_model, load_tokenizer, prepare
from tests.selectors.lossruns import ModelRun, scored

LENGTH = {"max_length": 512}
TUNED = {**LENGTH, "warmup": {"epochs": 1}}
METHODS: dict[str, dict[str, Any]] = {
    "rds": LENGTH,
    "ifd": LENGTH,
    "tss": {**LENGTH, "embedder": "static"},
    "less": TUNED,
    "delta_loss": TUNED,
    "cluster_less": {**TUNED, "cluster_rows": 16, "drawn_rows": 1, "embedder": "static"},
}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name))
        rows, target = (
            conversations(read_rows(StoreRunner(store), path).read().select(*CONVERSATION))
            for path in ("pool", "target.jsonl")
        )
        texts = rows[:: len(rows) // count][:count]
        folder, dtype = prepare(find_model("smollm2-135m")), choose_dtype("auto")
        run = ModelRun(store, folder=folder, texts=texts, targets=target[:8], dtype=dtype)
        tokenizer = load_tokenizer(folder)
        started = time.process_time()
        tokens = sum(len(build_example(tokenizer, text, 512).ids) for text in texts)
        spent = time.process_time() - started
        print(
            f"{count} rows, {tokens:,} tokens, {dtype}; tokenised in {spent:.2f} core s", flush=True
        )
        scored(run, "length")
        for method, settings in METHODS.items():
            before, started = len(run.executed_steps), time.process_time()
            scored(run, method, **settings)
            spent = time.process_time() - started
            print(f"{method:<13}{spent:6.1f} core s  {run.executed_steps[before:]}", flush=True)


if __name__ == "__main__":
    main()
