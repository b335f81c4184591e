"""How much of its attention the base model gives prompts, by origin of the bundled rows.

    python tests/benchmarks/bench_context.py OUT [--pool data/pool]

Runs the stage `context` on the pool and prints for each origin its rows, the median score, the share
above 0.6, and the median letters of prompt and response.
"""

import argparse
from pathlib import Path

import polars as pl

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--pool", type=Path, default=Path("data/pool"))
    args = parser.parse_args()
    recipe = {
        "name": "context",
        "pool": [{"path": str(args.pool)}],
        "stages": [{"method": "exact"}, {"method": "context"}],
        "store": str(args.out / "store"),
    }
    run = run_curation(Config.model_validate(recipe), args.out / "context").folder
    evidence = pl.read_parquet(run / "evidence" / "context.parquet")
    turn = pl.element().struct.field("content").str.len_chars()
    letters = pl.col("messages").list.eval(turn)
    rows = pl.read_parquet(run / "selected.parquet").select(
        "row_id",
        "origin",
        prompt=letters.list.slice(0, letters.list.len() - 1).list.sum(),
        response=letters.list.last(),
    )
    table = (
        evidence.join(rows, on="row_id")
        .drop_nulls("score")
        .group_by("origin")
        .agg(
            pl.len().alias("rows"),
            pl.median("score").round(2),
            high=(pl.col("level") == "high").mean().round(2),
            prompt=pl.median("prompt"),
            response=pl.median("response"),
        )
        .sort("score", descending=True)
    )
    with pl.Config(tbl_rows=-1):
        print(table)
    entries = run / "manifest.json"
    print(f"{evidence.height} rows, {evidence['score'].null_count()} without a score; {entries}")


if __name__ == "__main__":
    main()
