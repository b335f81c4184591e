"""Which data sets help a target? Cheap measures of `sources` against trials, on 26 P3 sets x 6 targets.

    python tests/benchmarks/bench_sources.py DATA OUT [--learn 48] [--seeds 2] [--examples 16]

DATA holds p3/*.jsonl.gz. Of each set 200 rows of at most 400 characters (or of its shortest 40) are the
pool, and EXAMPLES others of six sets of different families are target examples. Each set is learned once
a seed, from one warm-up, and that serves all targets. For each target the other 25 sets are ranked by
each measure; the trials' mean effect is the truth. All is drawn with seed 0, and stored steps are taken
up again from OUT.

Prints for each measure regret@1 and regret@3: by how much the best of its first k sets lowers the loss
less than the best of all, in nats a response token, and as a share of what the best of all does.
`random` is what a random order has in expectation. Also Spearman's correlation of measure and effect.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pools import read_lines, write_rows
from scipy.stats import spearmanr

from curate.core.calls import StoreRunner, Table, cached
from curate.core.run import target_of
from curate.core.store import Store
from curate.models.settings import ModelNames
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from curate.selectors.group_measures import Measure, measures, row_groups
from curate.selectors.pool_target import embed_pool_and_target
from curate.selectors.trials import Trial, measure_trials, train_trials
from curate.testing import FakeRun

TARGETS = ("ag_news", "gigaword", "imdb", "paws", "qasc", "ropes")
ROWS, LONGEST, FEWEST = 200, 400, 40
MEASURES: list[Measure] = ["embedding", "ngrams", "mmd"]
FIRST, ORDERS = (1, 3), 2_000


def write_sets(data: Path, out: Path, examples: int) -> list[str]:
    """Write the rows of each set, and as many target examples; return the names of the sets.

    Rows are of at most LONGEST characters, or the shortest of a set that has too few of these.
    """
    names = []
    for path in sorted((data / "p3").glob("*.jsonl.gz")):
        name = path.name.removesuffix(".jsonl.gz")
        lines = [
            (line["prompt"], line["completion"].removesuffix("<|endoftext|>").strip())
            for line in read_lines(path)
        ]
        lines = sorted(
            ((p, a) for p, a in lines if p.strip() and a), key=lambda r: len(r[0] + r[1])
        )
        fit = sum(len(p) + len(a) <= LONGEST for p, a in lines)
        lines = lines[: max(fit, FEWEST)]
        order = np.random.default_rng(0).permutation(len(lines))[: ROWS + examples]
        drawn = [{"prompt": lines[i][0], "completion": lines[i][1]} for i in order]
        write_rows(out / "target" / f"{name}.jsonl", drawn[:examples], ["prompt", "completion"])
        write_rows(out / "pool" / f"{name}.jsonl", drawn[examples:], ["prompt", "completion"])
        names.append(name)
    return names


def read_sets(run: StoreRunner, folder: Path, names: Sequence[str]) -> Table:
    entries = [RowFile(path=str(folder / f"{name}.jsonl"), source=name) for name in names]
    return row_set(folder.name, entries, seed=0, max_rejected=1.0).read(run)


def measure_effects(run: FakeRun, names: Sequence[str], trial: Trial) -> NDArray[np.float64]:
    """Return by how much each set lowers the loss of each target example [sets, examples]."""
    by_set = run.rows.read(["row_id", "source"]).group_by("source").agg("row_id")
    groups: dict[str, list[str]] = dict(by_set.iter_rows())
    tuned: list[Any] = []
    for name in names:
        warmup, own = train_trials(run, run.rows, groups, trial, [name])
        tuned += own
        print(f"learned {name}", flush=True)
    gains = measure_trials(run, target_of(run), warmup, tuned)
    mean: NDArray[np.float64] = gains.reshape(len(names), trial.seeds, -1).mean(axis=1)
    return mean


def measure_sets(run: FakeRun, target: str) -> pl.DataFrame:
    """Return the measures of all sets but the target's own, by their names."""
    one = FakeRun(run.store, run.rows, run(examples_of, target_of(run), target), run.models)
    one.kept = run(other_rows, run.rows, run.kept, target)
    groups = run(row_groups, run.rows, one.kept, "source")
    embedded = embed_pool_and_target(one)
    return run(measures, run.rows, one.tokens, groups, embedded, MEASURES).read()


@cached(version=1, name="bench-examples")
def examples_of(target: Table, source: str) -> pl.DataFrame:
    return target.read().filter(source=source)


@cached(version=1, name="bench-kept")
def other_rows(rows: Table, kept: Table, source: str) -> pl.DataFrame:
    others = rows.read(["row_id", "source"]).filter(pl.col("source") != source)
    return kept.read().join(others, on="row_id", how="semi", maintain_order="left")


def regrets(effects: NDArray[np.float64], order: NDArray[np.int64]) -> dict[str, float]:
    """Return by how much the best of the first sets falls short of the best of all."""
    best = float(effects.max())
    short = {k: best - float(effects[order[:k]].max()) for k in FIRST}
    return {f"@{k}": value for k, value in short.items()} | {
        f"share@{k}": value / best for k, value in short.items()
    }


def expected_regrets(effects: NDArray[np.float64]) -> dict[str, float]:
    """Return the mean of the regrets over orders."""
    rng = np.random.default_rng(0)
    lines = [regrets(effects, rng.permutation(len(effects))) for _ in range(ORDERS)]
    return {key: float(np.mean([line[key] for line in lines])) for key in lines[0]}


def judge_target(table: pl.DataFrame, effects: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Return a line for each measure, the lines of a random order and of all measures together."""
    ranks: dict[str, NDArray[np.float64]] = {
        name: table[f"{name}_rank"].to_numpy().astype(float) for name in MEASURES
    }
    ranks["all three"] = np.mean(list(ranks.values()), axis=0)
    lines: list[dict[str, Any]] = [
        {"measure": name, **regrets(effects, np.argsort(rank, kind="stable")),
         "spearman": float(spearmanr(-rank, effects).statistic)}
        for name, rank in ranks.items()
    ]  # fmt: skip
    return [*lines, {"measure": "random", **expected_regrets(effects), "spearman": 0.0}]


def main(data: Path, out: Path, examples: int, trial: Trial) -> None:
    names = write_sets(data, out, examples)
    store = Store(out / "store")
    runner = StoreRunner(store)
    pool, target = (
        read_sets(runner, out / "pool", names),
        read_sets(runner, out / "target", TARGETS),
    )
    run = FakeRun(store, pool, target, ModelNames())
    gains = measure_effects(run, names, trial)
    owners = target.read(["source"])["source"].to_numpy()
    lines = []
    for name in TARGETS:
        others = np.array([other != name for other in names])
        effects = gains[others][:, owners == name].mean(axis=1)
        table = measure_sets(run, name)
        assert table["group"].to_list() == [other for other in names if other != name]
        lines += [{"target": name, **line} for line in judge_target(table, effects)]
        order = np.argsort(-effects)
        best = ", ".join(f"{table['group'][int(i)]} {effects[i]:+.3f}" for i in order[:3])
        harmful = int((effects < 0).sum())
        print(f"{name}: best {best}; {harmful} of {len(effects)} raise the loss", flush=True)
    frame = pl.DataFrame(lines)
    frame.write_json(out / "sources.json")
    with pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=3):
        print(frame)
        print(frame.group_by("measure", maintain_order=True).agg(pl.col(pl.Float64).mean()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--learn", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--examples", type=int, default=16)
    given = parser.parse_args()
    budget = Trial(top=26, rows=given.learn, seeds=given.seeds)
    main(given.data, given.out, given.examples, budget)
