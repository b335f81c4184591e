"""Rules and personal data measured: on planted truth, on real data, and rows a second.

    python tests/benchmarks/bench_rules.py bundled
    python tests/benchmarks/bench_rules.py real FILES...
    python tests/benchmarks/bench_rules.py speed FILES... [--rows N] [--language]

bundled: for each defect planted in data/pool (data/truth.jsonl) how many rows each rule drops;
rows without one, duplicates and wrong answers should stay.

real: for each file how many rows fail each rule, a few of them with what gave them away, and
how much personal data of each kind there is.

speed: N (50,000) rows of the files, repeated if need be, through `rules` and `pii`: rows a second of
each step, and the most memory that the process held above what it held before.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pools import REPO, run_stages

from curate.clean.heuristics.findings import RULES
from curate.clean.pii import find_pii
from curate.core.memory import peak_memory

EXAMPLE_ROWS = 3


def bundled() -> None:
    truth = pl.read_ndjson(REPO / "data" / "truth.jsonl").select("row_id", "defect")
    with tempfile.TemporaryDirectory() as folder:
        pool = [{"path": str(REPO / "data" / "pool" / "*"), "source": "bundled"}]
        run = run_stages(pool, [{"kind": "rules"}], Path(folder))
        verdicts = run.evidence["rules"].read()
    names = [name for name in RULES if name in verdicts.columns]
    table = verdicts.join(truth, on="row_id", how="left").with_columns(
        pl.col("defect").fill_null("none")
    )
    sums = [pl.col(name).sum() for name in names]
    counted = table.group_by("defect").agg(
        pl.len().alias("rows"), (~pl.col("keep")).sum().alias("dropped"), *sums
    )
    for line in counted.sort("rows").to_dicts():
        rest = {k: v for k, v in line.items() if v and k not in ("defect", "rows", "dropped")}
        print(f"{line['defect']:<18}{line['rows']:>6} rows{line['dropped']:>5} dropped  {rest}")


def real(files: Sequence[str]) -> None:
    for file in files:
        with tempfile.TemporaryDirectory() as folder:
            run = run_stages(
                [pool_entry(file)], [{"kind": "rules", "action": "flag"}], Path(folder)
            )
            verdicts = run.evidence["rules"].read()
            measures = run.prepared["rules"]["measures"].read()
            rows = run.rows.read()
        print(f"\n{file}: {verdicts.height} rows, {(verdicts['score'] > 0).sum()} fail a rule")
        for name in RULES:
            if name in verdicts.columns and verdicts[name].any():
                show(name, verdicts.filter(pl.col(name)), measures, rows)
        kinds = (
            find_pii(rows).group_by("kind").agg(pieces=pl.len(), rows=pl.col("row_id").n_unique())
        )
        print("  personal data:", kinds.sort("kind").rows())


def show(rule: str, failing: pl.DataFrame, all_measures: pl.DataFrame, rows: pl.DataFrame) -> None:
    print(f"  {rule}: {failing.height}")
    some = failing.select("row_id").sample(min(EXAMPLE_ROWS, failing.height), seed=0)
    row_measures = all_measures.join(some, on="row_id", how="semi")
    for line in row_measures.join(rows.select("row_id", "messages"), on="row_id").to_dicts():
        nonzero = {k: v for k, v in line.items() if v and k not in ("row_id", "messages")}
        print(
            f"    {line['row_id']} {nonzero}\n      {json.dumps(line['messages'][-1]['content'][-160:])}"
        )


def pool_entry(file: str) -> dict[str, Any]:
    """Return an entry of the pool; P3's responses end in a marker."""
    return {"path": file, "strip_end": "<|endoftext|>"}


def speed(files: Sequence[str], count: int, *, language: bool) -> None:
    rules: dict[str, Any] = {"kind": "rules", "action": "flag"}
    if language:
        rules["language"] = {"allowed": ["en"]}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        pool = write_pool(files, count, store / "rows.jsonl")
        with peak_memory() as held:
            pass
        run = run_stages(
            [{"path": str(pool)}], [rules, {"kind": "pii", "action": "flag"}], store / "store"
        )
        for artifact in run.artifacts:
            rate = artifact.counts["rows_in"] / max(artifact.seconds, 1e-9)
            above = artifact.peak_memory_mb - held[0]
            print(
                f"{artifact.name:<18}{artifact.seconds:>9.2f} s{rate:>12,.0f} rows/s"
                f"{above:>9.0f} MiB more"
            )


def write_pool(files: Sequence[str], count: int, path: Path) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        run = run_stages([pool_entry(file) for file in files], [], Path(folder))
        rows = run.rows.read().select("messages")
    times = -(-count // rows.height)
    pl.concat([rows] * times).head(count).write_ndjson(path)
    lengths = pl.element().struct.field("content").str.len_chars()
    chars = rows.select(pl.col("messages").list.eval(lengths).list.sum()).to_series()
    print(f"{count} rows of {chars.to_numpy().mean():.0f} characters")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("bundled")
    commands.add_parser("real").add_argument("files", nargs="+")
    timed = commands.add_parser("speed")
    timed.add_argument("files", nargs="+")
    timed.add_argument("--rows", type=int, default=50_000)
    timed.add_argument("--language", action="store_true")
    given = parser.parse_args()
    if given.command == "bundled":
        bundled()
    elif given.command == "real":
        real(given.files)
    else:
        speed(given.files, given.rows, language=given.language)


if __name__ == "__main__":
    main()
