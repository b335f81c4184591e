"""How often is a real random draw called better or worse? Each draw in turn as if it were a selection.

    python tests/benchmarks/bench_calibration.py DATA OUT [--targets A,B] [--draws N] [--rows K]

DATA as for bench_targets.py, whose pool and targets these are. N (40) random draws of K (50) rows, the
controls that a proof makes, are trained, each with a seed of its own, for one epoch with SmolLM2-135M,
and measured on the 80 held-out examples of each target. Then every draw in turn is "the selection",
against random subsets of 3, 5 and 9 of the others (SUBSETS of them), under the rule of the proof with
one control. Prints for each target and for all together the share of false calls with a 95 % interval,
which redraws whole "selections", since subsets of one pool of draws are not independent; beside it the
rule at 3 % and the spread.

Stored fine-tunes are found again under OUT: it may be stopped and run again, also with more draws or
other targets. All targets share the draws, and bench_targets.py with the same OUT finds them too.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_targets import TARGETS, make_files, open_run, rank
from numpy.typing import NDArray
from pools import tuned_losses

from curate.models.lora_values import LoraValues
from curate.pipeline.run import Run
from curate.proof.arms import draw_arms
from curate.proof.statistics import ALPHA, STRICT_ALPHA, WITHIN, compare

COUNTS, SUBSETS, RESAMPLES = (3, 5, 9), 25, 2_000
LORA: LoraValues = {
    "rank": 16, "alpha": 32, "epochs": 1, "learning_rate": 5e-4, "batch_rows": 8, "max_length": 1024,
}  # fmt: skip


def train_draws(run: Run, count: int, draws: int) -> NDArray[np.float64]:
    """Return the gains of random draws from the kept rows [draws, examples]."""
    ranking, config = rank(run, "random", count), run.config
    gains = []
    for number in range(draws):
        drawn = draw_arms(ranking, [config.seed, number]).filter(arm="random_rows")
        losses = tuned_losses(config, drawn["row_id"].to_list(), LORA, [number])
        gains.append(-losses)
        print(f"  {config.name} draw {number}: loss {losses.mean():.4f}", flush=True)
    return np.array(gains)


def false_calls(gains: NDArray[np.float64], count: int, alpha: float) -> NDArray[np.float64]:
    """Return for every draw how often it is called better or worse against subsets of the others."""
    rng = np.random.default_rng(count)
    shares = []
    for number in range(len(gains)):
        others = np.delete(np.arange(len(gains)), number)
        subsets = [rng.choice(others, count, replace=False) for _ in range(SUBSETS)]
        verdicts = [
            compare(gains[[number]], gains[subset], alpha=alpha).verdict for subset in subsets
        ]
        shares.append(np.mean([verdict != WITHIN for verdict in verdicts]))
    return np.array(shares)


def describe(name: str, by_target: Sequence[NDArray[np.float64]]) -> str:
    """Return a line of the table: false calls with their interval, for each number of draws."""
    rng, cells = np.random.default_rng(0), []
    for count in COUNTS:
        if min(len(gains) for gains in by_target) <= count:
            cells.append(f"n {count}: too few draws")
            continue
        shares = np.concatenate([false_calls(gains, count, ALPHA) for gains in by_target])
        strict = np.concatenate([false_calls(gains, count, STRICT_ALPHA) for gains in by_target])
        means = rng.choice(shares, (RESAMPLES, len(shares))).mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        cells.append(
            f"n {count}: {shares.mean():.3f} [{low:.3f}, {high:.3f}], at 3 % {strict.mean():.3f}"
        )
    return f"{name:<17}{'   '.join(cells)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--pool", type=int, default=1_000, help="rows")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    make_files(args.data, args.out, args.pool)
    by_target = {}
    for target in args.targets.split(","):
        gains = train_draws(open_run(args.out, target), args.rows, args.draws)
        by_target[target] = gains
        spread = gains.mean(axis=1).std(ddof=1)
        print(f"{describe(target, [gains])}   spread {spread:.4f}, {len(gains)} draws", flush=True)
    print(describe("all", list(by_target.values())))


if __name__ == "__main__":
    main()
