"""Which data sets help a target? Cheap measures of `sources` against trials, on 26 P3 sets x 6 targets.

    python tests/benchmarks/bench_sources.py DATA OUT [--learn 48] [--seeds 2] [--examples 16]

DATA holds p3/*.jsonl.gz. Of each set 200 rows of at most 400 characters (or of its shortest 40) are the
pool, and EXAMPLES others of six sets of different families are target examples. Each set is learned once
a seed, from one warm-up, and that serves all targets. For each target the other 25 sets are ranked by
each measure; the trials' mean effect is the truth. All is drawn with seed 0, and stored steps are taken
up again from OUT.

Prints for each measure regret@1 and regret@3: by how much the best of its first k sets lowers the loss
less than the best of all, in nats a response token, and as a share of what the best of all does.
`random` is what a random order has in expectation. Also Spearman's correlation of measure and effect,
and `own`: the rank of the target's own set among all 26. How far the effects of two seeds agree bounds
how far any measure can agree with them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pools import read_lines, write_rows
from scipy.stats import rankdata, spearmanr

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
Line = dict[str, Any]


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
    """Return by how much each set lowers each target example's loss [sets, seeds, examples]."""
    groups = run.rows.read(["row_id", "source"]).rename({"source": "group"})
    tuned: list[Any] = []
    for name in names:
        warmup, own = train_trials(run, run.rows, groups, trial, [name])
        tuned += own
        print(f"learned {name}", flush=True)
    gains = measure_trials(run, target_of(run), warmup, tuned)
    return gains.reshape(len(names), trial.seeds, -1)


def measure_sets(run: FakeRun, target: str) -> pl.DataFrame:
    """Return the measures of all sets for the examples of one, by their names."""
    examples = run(examples_of, target_of(run), target)
    groups = run(row_groups, run.rows, run.kept, "source")
    embedded = embed_pool_and_target(FakeRun(run.store, run.rows, examples, run.models))
    return run(measures, run.rows, run.tokens, groups, embedded, MEASURES).read()


@cached(version=1, name="bench-examples")
def examples_of(target: Table, source: str) -> pl.DataFrame:
    return target.read().filter(source=source)


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


def judge_target(table: pl.DataFrame, own: int, effects: NDArray[np.float64]) -> list[Line]:
    """Return a line for each measure, for their mean rank, for the trials, and for a random order.

    Args:
        table: the measures of the sets.
        own: the number of the target's own set, whose rank is given and which is no choice.
        effects: of all sets.
    """
    ranks: dict[str, NDArray[np.float64]] = {
        name: table[f"{name}_rank"].to_numpy().astype(float) for name in MEASURES
    }
    ranks["mean rank"] = np.mean(list(ranks.values()), axis=0)
    ranks["trials"] = -effects
    others = np.arange(len(effects)) != own
    lines: list[Line] = [
        {"measure": name, **regrets(effects[others], np.argsort(rank[others], kind="stable")),
         "spearman": float(spearmanr(-rank[others], effects[others]).statistic),
         "own": 1.0 + int((rank < rank[own]).sum())}
        for name, rank in ranks.items()
    ]  # fmt: skip
    middle = {"spearman": 0.0, "own": (1 + len(effects)) / 2}
    return [*lines, {"measure": "random", **expected_regrets(effects[others]), **middle}]


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
    lines: list[Line] = []
    for name in TARGETS:
        by_seed = gains[:, :, owners == name].mean(axis=2)
        effects = by_seed.mean(axis=1)
        lines += [
            {"target": name, **line}
            for line in judge_target(measure_sets(run, name), names.index(name), effects)
        ]
        best = ", ".join(f"{names[i]} {effects[i]:+.3f}" for i in np.argsort(-effects)[:4])
        agreement = np.corrcoef(rankdata(by_seed, axis=0), rowvar=False)
        print(
            f"{name}: best {best}; {(effects < 0).sum()} of {len(names)} raise the loss; "
            f"Spearman of the first and the last seed {np.atleast_2d(agreement)[0, -1]:.2f}",
            flush=True,
        )
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
