"""CLEAR on planted wrong answers: does confidence find them, do corrections help, what does it cost?

    python tests/benchmarks/bench_clear.py DATA OUT [--rows N] [--only gsm8k|bundled]
        [--max-tokens T] [--nli MODEL] [--embedder E] [--model tuned|base] [--filter-only]

DATA holds gsm8k/train.jsonl.gz. Two pools of N (2,000) rows at most, drawn with seed 0, a fifth of them
wrong: gsm8k train rows with the answer of another one of them, and rows of data/pool with the wrong
answers planted there, beside clean ones.

Prints for O, S and C the AUROC with a 95 % bootstrap interval, the share of wrong rows in the lowest
fifth (the precision of dropping it) and in both halves about the median; then the share of right rows
before and after: of the whole pool, of what the filter keeps, of what is left and corrected. A
correction is right if its value (gsm8k) or its text (bundled) is that of the right answer. Cost by
stage: seconds, calls and tokens for 1,000 rows, and peak memory. Answers are stored under OUT, so a
second run asks nothing anew; seconds are those of the making.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray
from pools import Row, planted_answers, recipe, swapped_gsm8k, with_truth, write_planted
from scipy.stats import rankdata

from curate.answers.checkers import AnswerVerdict, check_exact, check_numeric
from curate.judge.correct import REPLACED
from curate.pipeline.curation import run_curation

DROPPED = 0.2
RESAMPLES = 2_000
STEPS = (
    "clear-samples", "clear-confidence", "correct-tune", "correct-answers", "correct-comparisons",
)  # fmt: skip
Flags = NDArray[np.bool_]


def measure(name: str, rows: list[Row], args: argparse.Namespace) -> None:
    folder = args.out / name
    pool = folder / "pool.jsonl"
    write_planted(pool, rows)
    stages: list[dict[str, Any]] = [
        {"kind": "clear", "action": "score", "max_tokens": args.max_tokens, "nli": args.nli}
    ]
    if not args.filter_only:
        new = max(args.max_tokens, 16)
        stages += [{"kind": "correct", "model": args.model, "max_tokens": new}]
    run_curation(recipe(name, str(pool), args.out, stages, args.embedder), folder / "run")
    evidence = folder / "run" / "evidence"
    confidence = pl.read_parquet(evidence / "clear-confidence.parquet")
    scored_rows = with_truth(confidence, pool, name, rows)
    print(f"\n{name}: {len(rows)} rows, {scored_rows['c'].null_count()} without a score")
    report_scores(scored_rows)
    if not args.filter_only:
        report_corrections(
            name, scored_rows, pl.read_parquet(evidence / "correct-corrections.parquet")
        )
    report_cost(folder / "run", len(rows))


def report_scores(scored_rows: pl.DataFrame) -> None:
    print(
        f"{'score':<6} {'AUROC':>6}  95 % interval   wrong in the lowest 20 %  in the lower half"
        f"  in the upper half  right - wrong"
    )
    for name in ("o", "s", "c"):
        scored = scored_rows.drop_nulls("c").sort(name, "row_id")
        values, right = scored[name].to_numpy(), scored["right"].to_numpy()
        area, low, high = bootstrap(values, right)
        fifth = 1 - right[: max(round(DROPPED * len(right)), 1)].mean()
        below = values <= np.median(values)
        upper = f"{1 - right[~below].mean():.3f}" if (~below).any() else "-"
        gap = values[right].mean() - values[~right].mean()
        print(
            f"{name:<6} {area:6.3f}  {low:.3f} to {high:.3f}  {fifth:24.3f}"
            f"  {1 - right[below].mean():17.3f}  {upper:>17}  {gap:+13.3f}"
        )
    by_form = scored_rows.drop_nulls("c").group_by(pl.col("form").fill_null("text")).agg(
        pl.len(), right=pl.col("right").sum(),
        c_right=pl.col("c").filter("right").mean(), c_wrong=pl.col("c").filter(~pl.col("right")).mean(),
        usable=pl.col("usable").mean(),
    )  # fmt: skip
    with pl.Config(tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print(by_form.sort("form"))


def auroc(values: NDArray[np.float64], right: Flags) -> float:
    count, others = int(right.sum()), int((~right).sum())
    ranks = rankdata(values)
    return float((ranks[right].sum() - count * (count + 1) / 2) / (count * others))


def bootstrap(values: NDArray[np.float64], right: Flags) -> tuple[float, float, float]:
    """Return AUROC and its 95 % interval, by resampling right and wrong rows each by themselves."""
    rng = np.random.default_rng(0)
    groups = np.flatnonzero(right), np.flatnonzero(~right)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([rng.choice(group, len(group)) for group in groups])
        drawn.append(auroc(values[chosen], right[chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return auroc(values, right), float(low), float(high)


def report_corrections(name: str, scored_rows: pl.DataFrame, corrections: pl.DataFrame) -> None:
    check = check_numeric if name == "gsm8k" else check_exact
    joined = scored_rows.join(corrections.drop("confidence_old"), on="row_id", how="left")
    new_right = [
        new is not None and check(new, gold) == AnswerVerdict.CORRECT
        for new, gold in joined.select("new", "gold").rows()
    ]
    joined = joined.with_columns(new_right=pl.Series(new_right, dtype=pl.Boolean))
    sure = joined.filter(pl.col("decision").is_null())
    replaced = joined.filter(decision=REPLACED)
    left = [*sure["right"], *replaced["new_right"]]
    print("decisions:", dict(corrections.group_by("decision").len().sort("decision").rows()))
    doubted = joined.filter(pl.col("decision").is_not_null())
    answered = doubted.filter(pl.col("new").is_not_null())
    for what, flags in (
        ("pool", joined["right"].to_list()),
        ("kept by the filter (above the median, or unscored)", sure["right"].to_list()),
        ("doubted, before", doubted["right"].to_list()),
        ("new answers to the doubted", answered["new_right"].to_list()),
        ("replaced, before", replaced["right"].to_list()),
        ("replaced, after", replaced["new_right"].to_list()),
        ("left after correction", left),
    ):
        share = f"{np.mean(flags):.3f}" if flags else "-"
        print(f"  right {share:>6} of {len(flags):>5}  {what}")


def report_cost(run: Path, rows: int) -> None:
    manifest = orjson.loads((run / "manifest.json").read_bytes())
    stage_costs = {entry["stage"]: entry for entry in manifest["stages"]}
    print("cost for 1,000 rows of the pool")
    for name in STEPS:
        if name in stage_costs:
            entry = stage_costs[name]
            each = {n: v / rows * 1000 for n, v in entry["llm"].items()}
            print(
                f"  {name:<20} {entry['seconds'] / rows * 1000:8.0f} s {each['calls']:8.0f} calls "
                f"{each['tokens']:10.0f} tokens  peak {entry['peak_memory_mb']:.0f} MiB"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--only", choices=["gsm8k", "bundled"])
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--nli", help="NLI cross-encoder: a folder or a hub id")
    parser.add_argument("--embedder", default="static")
    parser.add_argument("--model", choices=["tuned", "base"], default="tuned")
    parser.add_argument("--filter-only", action="store_true")
    args = parser.parse_args()
    if args.only != "bundled":
        measure("gsm8k", swapped_gsm8k(args.data, args.rows)[0], args)
    if args.only != "gsm8k":
        measure("bundled", planted_answers(args.out / "bundled", args.rows), args)


if __name__ == "__main__":
    main()
