"""Rehearsal: what tuning on GSM8K forgets of P3, alone, with random and with mix-cd rows of it.

    python tests/benchmarks/bench_rehearsal.py DATA OUT [--seeds 6] [--rows 48] [--share 0.1]

SmolLM2-135M is tuned on GSM8K rows, others for each seed. What it could do before are the eight sets of
P3 with the most short rows whose response is a text and no value (of those with a value it gets less
than a fifth right, so that it can forget few): PRIOR rows to draw from, HELD_OUT rows to measure. Of the
latter: the share that is wrong after (curate.proof.rehearsal_draw), and the rise of the loss.
Differences between arms are paired by seed, with 95 % intervals over seeds and rows (curate.proof
.statistics.estimate). Figures of the seeds so far go to OUT/rehearsal.json after each.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from figurefile import write_figures
from pools import read_lines, write_rows

from curate.answers.values import find_form
from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.store import Artifact, Store
from curate.models.finetune import finetune
from curate.models.lora_values import LoraValues, brief_lora
from curate.models.training import training_rows
from curate.pipeline import curation
from curate.pipeline.rehearse import FINDING
from curate.pipeline.run import Run
from curate.proof.prior_readings import base_state, judge_rows, read_rows
from curate.proof.rehearsal_draw import RISE
from curate.proof.statistics import Matrix, estimate
from curate.proof.training import FIXED_SEED

SETS, PRIOR, HELD_OUT, LETTERS = 8, 160, 80, 250
LORA = brief_lora(epochs=2, learning_rate=5e-4, max_length=1024)
ARMS = ("selected", "random", "mix_cd")
Row = dict[str, Any]


def p3_rows(data: Path) -> list[Row]:
    """Return short rows without a value of the sets that have most of them, in random order."""
    sets: dict[str, list[Row]] = {}
    for path in sorted((data / "p3").glob("*.gz")):
        name = path.name.split(".")[0]
        for line in read_lines(path):
            answer = line["completion"].removesuffix("<|endoftext|>").strip()
            short = len(line["prompt"]) + len(answer) <= LETTERS
            if line["prompt"].strip() and short and find_form(answer) is None:
                row = {"prompt": line["prompt"], "completion": answer, "origin": name}
                sets.setdefault(name, []).append(row)
    largest = sorted(sets, key=lambda name: -len(sets[name]))[:SETS]
    rng = np.random.default_rng(0)
    each = (PRIOR + HELD_OUT) // SETS
    rows = [sets[n][i] for n in largest for i in rng.permutation(len(sets[n]))[:each]]
    return [rows[i] for i in rng.permutation(len(rows))]


def gsm8k_rows(data: Path) -> list[Row]:
    lines = read_lines(data / "gsm8k" / "train.jsonl.gz")
    rows = [{"prompt": line["question"], "completion": line["answer"]} for line in lines]
    return [row for row in rows if len(row["prompt"]) + len(row["completion"]) <= 2 * LETTERS]


def rehearsed_run(out: Path, seed: int, rows: int, share: float) -> Run:
    """Return the run of a recipe that draws rows of GSM8K and rehearses P3."""
    config = Config.model_validate(
        {
            "name": f"rehearsal-{seed}",
            "seed": seed,
            "pool": [{"path": str(out / "gsm8k.jsonl"), "source": "gsm8k"}],
            "protected": [{"path": str(out / "held-out.jsonl"), "source": "held-out"}],
            "models": {"base": "smollm2-135m", "embedder": "static"},
            "select": {"method": "random", "budget": {"rows": rows}},
            "rehearse": {"from": {"path": str(out / "p3.jsonl"), "source": "p3"}, "share": share},
            "export": {"formats": ["messages"]},
            "store": str(out / "store"),
        }
    )
    store = Store(out / "store")
    run = Run(config, store, lambda steps: [store.ensure(step) for step in steps])
    curation.run_steps(run)
    return run


def tuned_arms(run: Run, lora: LoraValues) -> dict[str, Artifact]:
    """Return the fine-tune of each arm; all have the seed of the run's first."""
    rehearsal, selection = run.findings[FINDING], next(iter(run.selections.values()))
    chosen = selection.ranking.read().filter("selected")["row_id"].to_list()
    tables = {"random": Table(rehearsal, "random"), "mix_cd": Table(rehearsal, "rehearsed")}
    tuned = {}
    for arm in ARMS:
        more = [tables[arm]] if arm in tables else []
        ids = chosen + [i for table in more for i in table.read(["row_id"])["row_id"]]
        rows = training_rows([run.rows, *more], ids)
        tuned[arm] = run(finetune, rows, lora, [run.seed, 0, FIXED_SEED], run.base)
    return tuned


def forgotten(run: Run, lora: LoraValues) -> dict[str, tuple[list[float], list[float]]]:
    """Return by arm, for held-out rows that the base gets right, whether wrong after, and the rise."""
    held_out, limit = run.protected, lora["max_length"]
    assert held_out is not None
    base = run(base_state, held_out, read_rows(run, held_out, run.base, limit)).read()
    results = {}
    for arm, tuned in tuned_arms(run, lora).items():
        readings = read_rows(run, held_out, run.base, limit, tuned)
        after = judge_rows(held_out.read(["row_id", "messages"]), readings)
        both = base.filter("right").join(
            after.rename({"loss": "tuned"}), on="row_id", maintain_order="left"
        )
        rise = both["tuned"] - both["loss"]
        wrong = both.with_columns(rise=rise).select(
            pl.coalesce(~pl.col("by_value"), pl.col("rise") > RISE)
        )
        results[arm] = wrong.to_series().cast(pl.Float64).to_list(), rise.to_list()
    return results


def describe(by_seed: Sequence[Mapping[str, tuple[list[float], list[float]]]]) -> Row:
    """Return damage and rise of each arm, and of pairs how much less the first forgets."""
    figures: Row = {"seeds": len(by_seed)}
    for name, place in (("wrong_after", 0), ("rise", 1)):
        arms: dict[str, Matrix] = {
            arm: np.array([seed[arm][place] for seed in by_seed]) for arm in ARMS
        }
        figures["rows"] = arms["selected"].shape[1]
        figures[name] = {arm: round(float(values.mean()), 4) for arm, values in arms.items()}
        for one, other in (("random", "selected"), ("mix_cd", "selected"), ("mix_cd", "random")):
            less = estimate(-arms[one], -arms[other])
            interval = [round(x, 4) for x in (less.difference, less.low, less.high)]
            figures[f"{name}: {one} less than {other}"] = interval
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--share", type=float, default=0.1)
    arguments = parser.parse_args()
    out: Path = arguments.out
    rows = p3_rows(arguments.data)
    fields = ["prompt", "completion", "origin"]
    write_rows(out / "p3.jsonl", rows[:PRIOR], fields)
    write_rows(out / "held-out.jsonl", rows[PRIOR:], fields)
    write_rows(out / "gsm8k.jsonl", gsm8k_rows(arguments.data), fields[:2])
    by_seed, started = [], time.process_time()
    for seed in range(arguments.seeds):
        run = rehearsed_run(out, seed, arguments.rows, arguments.share)
        by_seed.append(forgotten(run, LORA))
        counts = dict(run.findings[FINDING].counts)
        seconds = round(time.process_time() - started)
        write_figures(
            out, "rehearsal", {**describe(by_seed), "last": counts, "core_seconds": seconds}
        )


if __name__ == "__main__":
    main()
