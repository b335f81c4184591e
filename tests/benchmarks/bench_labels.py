"""Labels drawn by doubt against labels drawn at random: how good is the confidence fitted to so many?

    python tests/benchmarks/bench_confidence.py DATA OUT --rows 1200 --only bundled
    python tests/benchmarks/bench_labels.py OUT bundled [--seeds 200] [--labels 60 120]

Reads the signals and the truth of a pool that bench_confidence.py has measured. For each seed, so many
rows are labelled with the truth, drawn at random or by curate.judge.labelling (threshold: the tenth of
the lowest mean rank; densities from the run's stored vectors), and the stage's own fit is made. Prints
the mean over the seeds with its standard error, always over all rows of the pool:

    auroc       of the cross-fitted confidence
    ece         its expected calibration error
    kept        error of the weighted share of right rows above the threshold of the mean rank
    threshold   distance of the true precision at the threshold that `precision` finds from what is
                asked: four tenths of the way from the pool's share of right rows to 1
    none        share of the seeds in which no threshold reaches it
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from curate.core.errors import UserError
from curate.judge.calibration import cross_fit, deal_folds, standardise
from curate.judge.labelling import Candidates, draw_rows
from curate.judge.measures import Flags, Floats, auroc, calibration_error, reliability
from curate.judge.signals import mean_rank, oriented
from curate.judge.threshold import lowest_kept
from curate.runs.folder import open_run
from curate.runs.labels import stored_vectors

DROPPED, PRECISION = 0.1, 0.4


class LabelledPool:
    """A measured pool: signals, and which rows are right."""

    def __init__(self, folder: Path) -> None:
        run = open_run(folder / "run")
        signals = run.table("evidence/confidence-signals").collect()
        labels = run.table("evidence/confidence-labels").collect()
        self.ids = signals["row_id"]
        truth = signals.select("row_id").join(
            labels, on="row_id", how="left", maintain_order="left"
        )
        self.right: Flags = truth["correct"].to_numpy().astype(bool)
        self.ranks: Floats = mean_rank(signals).to_numpy()
        self.features = standardise(oriented(signals).to_numpy().astype(np.float64))
        self.cut = float(np.quantile(self.ranks, DROPPED))
        self.candidates = Candidates(self.ids, self.ranks, self.cut, stored_vectors(run, self.ids))

    def draw(self, count: int, seed: int, *, random: bool) -> tuple[Flags, Floats]:
        """Return which rows are labelled, and the weight of each row's label."""
        labelled, weights = np.zeros(len(self.ids), dtype=bool), np.ones(len(self.ids))
        if random:
            rng = np.random.default_rng(seed)
            labelled[rng.choice(len(self.ids), count, replace=False)] = True
            return labelled, weights
        drawn = draw_rows(self.candidates, count, seed)
        places = self.ids.to_frame().with_row_index("at").join(drawn, on="row_id")
        labelled[places["at"].to_numpy()] = True
        weights[places["at"].to_numpy()] = places["weight"].to_numpy()
        return labelled, weights

    def measure(self, labelled: Flags, weights: Floats) -> dict[str, float | None]:
        """Return what a fit to the labels comes to."""
        folds = np.zeros(len(labelled), dtype=np.int64)
        folds[labelled] = deal_folds(self.ids.filter(labelled).to_list())
        chances = cross_fit(self.features, labelled, self.right, folds, isotonic=False)
        area = auroc(chances, self.right)
        kept = self.ranks >= self.cut
        estimate = np.average(self.right[kept & labelled], weights=weights[kept & labelled])
        figures = {
            "auroc": area.value if area else None,
            "ece": calibration_error(reliability(chances, self.right)),
            "kept": abs(float(estimate - self.right[kept].mean())),
        }
        precision = self.right.mean() + PRECISION * (1 - self.right.mean())
        table = pl.DataFrame({"score": chances, "correct": self.right, "weight": weights})
        try:
            threshold, _ = lowest_kept(table.filter(labelled), float(precision))
        except UserError:
            return {**figures, "threshold": None, "none": 1.0}
        true = float(self.right[chances >= threshold].mean())
        return {**figures, "threshold": abs(true - float(precision)), "none": 0.0}


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("pool")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--labels", type=int, nargs="+", default=[60, 120])
    options = parser.parse_args()
    pool = LabelledPool(options.out / options.pool)
    print(
        f"{options.pool}: {len(pool.ids)} rows, {pool.right.mean():.3f} right, {options.seeds} seeds"
    )
    for count in options.labels:
        for random in (True, False):
            draws = (pool.draw(count, seed, random=random) for seed in range(options.seeds))
            table = pl.DataFrame([pool.measure(*one) for one in draws])
            columns = {name: table[name].drop_nulls().to_numpy() for name in table.columns}
            means = (
                f"{name} {values.mean():.4f} ± {values.std() / len(values) ** 0.5:.4f}"
                for name, values in columns.items()
            )
            print(f"{count:5} {'random' if random else 'drawn':7}", "  ".join(means), flush=True)


if __name__ == "__main__":
    main()
