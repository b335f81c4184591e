"""Lengths and languages of pool, kept rows and selection, against counts in plain Python."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from curate.report.distributions import (
    STEPS,
    FateCounts,
    gather_languages,
    gather_lengths,
    median_bin,
)
from curate.report.lengths_chart import draw_lengths
from curate.runs.folder import RunFolder, open_run

MakeRun = Callable[..., Path]


def fates_of(run: Path) -> dict[str, str]:
    ledger = pl.read_parquet(run / "ledger.parquet")
    return dict(ledger.select("row_id", "fate").iter_rows())


def test_every_row_is_in_the_bin_of_its_characters(make_run: MakeRun) -> None:
    path = make_run(rows=80, text=lambda i: "x" * (i * i + 1))
    run, fates = open_run(path), fates_of(path)
    rows = run.rows("pool")
    assert rows is not None
    expected: dict[str, Counter[int]] = {name: Counter() for name in ("pool", "kept", "selected")}
    for row_id, messages in rows.select("row_id", "messages").collect().iter_rows():
        chars = sum(len(message["content"]) for message in messages)
        place = math.floor(math.log10(chars) * STEPS + 1e-9)
        expected["pool"][place] += 1
        expected["kept"][place] += fates[row_id] != "dropped"
        expected["selected"][place] += fates[row_id] == "selected"
    lengths = gather_lengths(run)
    assert lengths is not None
    first = min(expected["pool"])
    for at, one in enumerate(lengths.bins, first):
        assert one.low == pytest.approx(10 ** (at / STEPS))
        assert one.counts == FateCounts(*(expected[name][at] for name in expected))
    assert lengths.total == FateCounts(80, 72, 10)


def test_a_ledger_in_another_order_gives_the_same_lengths(make_run: MakeRun) -> None:
    path = make_run(rows=80, text=lambda i: "x" * (i * i + 1))
    before = gather_lengths(open_run(path))
    pl.read_parquet(path / "ledger.parquet").reverse().write_parquet(path / "ledger.parquet")
    assert gather_lengths(open_run(path)) == before


def test_the_chart_has_round_numbers_and_the_medians_in_words(make_run: MakeRun) -> None:
    wide = gather_lengths(open_run(make_run(text=lambda i: "x" * (1 + 3_000 * (i % 7)))))
    narrow = gather_lengths(open_run(make_run("two", text=lambda i: "x" * (100 + 5 * i))))
    assert wide is not None and narrow is not None
    assert ">1,000<" in draw_lengths(wide).svg and ">2,000<" not in draw_lengths(wide).svg
    drawing = draw_lengths(narrow)
    assert ">200<" in drawing.svg
    for middle in median_bin(narrow):
        assert f"{middle:#.3g}".rstrip(".") in drawing.alt


def test_a_lost_pool_has_no_lengths(make_run: MakeRun) -> None:
    run = open_run(make_run())
    pool = Path(run.manifest["store"]) / run.manifest["artifacts"]["pool"]
    (pool / "rows.parquet").unlink()
    assert gather_lengths(run) is None


def with_languages(path: Path, codes: list[str | None]) -> RunFolder:
    """Let the first stage have told languages, one code after the other."""
    evidence = pl.read_parquet(path / "evidence/exact.parquet")
    column = pl.Series("response_language", [codes[i % len(codes)] for i in range(evidence.height)])
    evidence.with_columns(column).write_parquet(path / "evidence/exact.parquet")
    return open_run(path)


def test_languages_are_counted_among_judged_kept_and_selected_rows(make_run: MakeRun) -> None:
    path = make_run(rows=60, selected=10)
    mix = gather_languages(with_languages(path, ["en", "en", None, "de"]))
    assert mix is not None and mix.stage == "exact" and mix.count == 3
    fates = fates_of(path)
    evidence = pl.read_parquet(path / "evidence/exact.parquet")
    expected: Counter[tuple[str | None, str]] = Counter(
        (code, fates[row_id])
        for row_id, code in evidence.select("row_id", "response_language").iter_rows()
    )
    assert mix.lines[0].code == "en"
    for line in mix.lines:
        by_fate = {fate: expected[line.code, fate] for fate in set(fates.values())}
        assert line.counts.pool == sum(by_fate.values())
        assert line.counts.kept == line.counts.pool - by_fate["dropped"]
        assert line.counts.selected == by_fate["selected"]


def test_languages_beyond_the_most_frequent_are_counted(make_run: MakeRun) -> None:
    mix = gather_languages(with_languages(make_run(), [f"l{i}" for i in range(9)]))
    assert mix is not None and len(mix.lines) == 6 and mix.count == 9


def test_a_run_in_which_no_stage_told_languages_has_none(make_run: MakeRun) -> None:
    assert gather_languages(open_run(make_run())) is None
