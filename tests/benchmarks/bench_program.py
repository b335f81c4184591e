"""Needles: what a model retrieves from lists of dictionaries before and after rows of `program`.

    python tests/benchmarks/bench_program.py OUT [--rows 150] [--watch 50] [--tokens 1000] [--epochs 2]

SmolLM2-135M is tuned on --rows lists of dictionaries of `program`, one key of each asked for, and
measured on --watch others of the same length, by another seed. Exact match: every token of the reference
is the likeliest one (curate.models.evaluation), so that greedy decoding writes it. Beside it the mean
loss of the tokens of the value and of the rest of the response. Before and after are of the same
examples; the difference has a 95 % bootstrap interval over these and knows nothing of other fine-tunes.
Figures go to OUT/program.json.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from figurefile import write_figures

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.store import Artifact, Store
from curate.core.turntext import conversations
from curate.models.chat import build_examples, render_tokens
from curate.models.evaluation import evaluate
from curate.models.finetune import finetune, load_measured
from curate.models.load import load_tokenizer
from curate.models.lora_values import brief_lora
from curate.models.training import training_rows
from curate.pipeline.curation import append_generated, read_inputs
from curate.pipeline.run import Run

DRAWS = 10_000
MARGIN = 1.1
MEASURES = {"exact": "exact match", "answer_loss": "loss of the value", "rest_loss": "other loss"}


def programmed(out: Path, seed: int, rows: int, tokens: int) -> tuple[Run, Table]:
    """Return the run of a recipe that draws dictionaries, and these."""
    method = {"method": "program", "tasks": ["dictionary"], "rows": rows, "tokens": tokens}
    config = Config.model_validate(
        {
            "name": f"needles-{seed}",
            "seed": seed,
            "models": {"base": "smollm2-135m", "embedder": "static"},
            "generate": {"methods": [method]},
            "store": str(out / "store"),
        }
    )
    store = Store(out / "store")
    run = Run(config, store, lambda steps: [store.ensure(step) for step in steps])
    read_inputs(run)
    append_generated(run)
    assert run.generated is not None
    return run, Table(run.generated, "rows")


def measured(run: Run, watch: Table, tokens: int, tuned: Artifact | None) -> pl.DataFrame:
    """Return exact match and losses of each row of a watch set."""
    tokenizer = load_tokenizer(run.base.folder)
    rows = conversations(watch.read(["row_id", "messages", "tools"]))
    values = []
    for row in rows:
        rendering = render_tokens(tokenizer, row)
        stop = rendering.text.rindex(" and it is in Dictionary")
        start = rendering.text.rindex(" is ", 0, stop) + len(" is ")
        offsets = enumerate(rendering.offsets)
        values.append([i for i, (first, last) in offsets if first < stop and last > start])
    examples = build_examples(tokenizer, rows, round(MARGIN * tokens))
    assert not any(example.cut for example in examples)
    return evaluate(load_measured(tuned, run.base), examples, values)


def compared(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, Any]:
    """Return the means before and after, and the difference with its bootstrap interval."""
    figures = {}
    draws = np.random.default_rng(0).integers(0, before.height, (DRAWS, before.height))
    for column, name in MEASURES.items():
        one, other = (frame[column].cast(pl.Float64).to_numpy() for frame in (before, after))
        rise = other - one
        low, high = np.quantile(rise[draws].mean(axis=1), [0.025, 0.975])
        figures[name] = {
            "before": round(float(one.mean()), 4),
            "after": round(float(other.mean()), 4),
            "difference": [round(float(x), 4) for x in (rise.mean(), low, high)],
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=150)
    parser.add_argument("--watch", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=1_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    arguments = parser.parse_args()
    out, tokens = arguments.out, arguments.tokens
    started = time.process_time()
    _, watch = programmed(out, 1, arguments.watch, tokens)
    run, rows = programmed(out, 0, arguments.rows, tokens)
    before = measured(run, watch, tokens, None)
    seconds = {"before": round(time.process_time() - started)}
    lora = brief_lora(arguments.epochs, arguments.learning_rate, round(MARGIN * tokens))
    ids = rows.read(["row_id"])["row_id"].to_list()
    tuned = run(finetune, training_rows([rows], ids), lora, [0, 0, 0], run.base)
    after = measured(run, watch, tokens, tuned)
    seconds["all"] = round(time.process_time() - started)
    settings = {k: v for k, v in vars(arguments).items() if k != "out"}
    losses = tuned.counts["train_loss"]
    figures = {**settings, **compared(before, after), "train_loss": losses, "core_seconds": seconds}
    write_figures(out, "program", figures)


if __name__ == "__main__":
    main()
