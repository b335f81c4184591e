"""What each source lost: counts by reason and by stage, against the ledger counted in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from curate.report.fates_chart import draw_fates
from curate.report.losses import Losses, gather_losses
from curate.runs.folder import open_run

MakeRun = Callable[..., Path]


def losses_of(run: Path) -> Losses:
    losses = gather_losses(open_run(run))
    assert losses is not None
    return losses


def test_counts_are_those_of_the_ledger(make_run: MakeRun) -> None:
    run = make_run(rows=60, duplicates=7, leaks=3, source=lambda i: f"src{i % 3}")
    losses = losses_of(run)
    ledger = pl.read_parquet(run / "ledger.parquet").to_dicts()
    assert losses.by == "source" and losses.count == 3
    assert sorted(one.name or "" for one in losses.columns) == ["src0", "src1", "src2"]
    dropped = Counter((r["source"], r["reason"]) for r in ledger if r["fate"] == "dropped")
    for line in losses.reasons:
        counts = {one.name: n for one, n in zip(losses.columns, line.counts, strict=True)}
        assert counts == {name: dropped[name, line.reason] for name in counts}
        assert line.rows == sum(counts.values())
    by_stage = Counter((r["source"], r["stage"]) for r in ledger if r["fate"] == "dropped")
    for drops in losses.by_stage:
        assert drops.counts == tuple(by_stage[drops.source.name, s] for s in losses.stages)
        assert sum(drops.counts) == drops.source.dropped
    fates = Counter((r["source"], r["fate"]) for r in ledger)
    assert all(one.selected == fates[one.name, "selected"] for one in losses.columns)
    assert losses.all_rows.rows == 60 and losses.all_rows.dropped == 10
    assert losses.stages == ("exact", "leaks") and losses.total.counts == (7, 3)


def test_origins_take_the_place_of_a_single_source(make_run: MakeRun) -> None:
    run = make_run(rows=80, source=lambda i: "one", origin=lambda i: f"task{i % 20}" if i else None)
    losses = losses_of(run)
    assert losses.by == "origin" and losses.count == 21
    *named, others = losses.columns
    assert len(named) == 5 and others.others == 16
    assert sum(one.rows for one in losses.columns) == 80
    assert all(sum(line.counts) == line.rows for line in losses.reasons)
    (without,) = [line for line in losses.by_stage if line.source.name is None]
    assert without.source.rows == 1


def test_the_worst_source_lost_the_largest_share(make_run: MakeRun) -> None:
    run = make_run(rows=40, duplicates=4, leaks=0, source=lambda i: "few" if i > 36 else "many")
    losses = losses_of(run)
    shares = {one.name: one.dropped_share for one in losses.columns}
    assert shares[losses.worst.name] == max(shares.values())
    assert losses.highest == max(shares.values())


def test_a_run_that_dropped_nothing_has_none(make_run: MakeRun) -> None:
    assert gather_losses(open_run(make_run(duplicates=0, leaks=0))) is None


@pytest.mark.parametrize("sources", [2, 30])
def test_the_chart_says_what_became_of_each_source(make_run: MakeRun, sources: int) -> None:
    drawing = draw_fates(losses_of(make_run(source=lambda i: f"src{i % sources}")))
    assert "of src0 " in drawing.alt and "dropped" in drawing.alt
    assert ("more" in drawing.alt) == (sources > 3)
    assert ">60<" in drawing.svg or ">30<" in drawing.svg or ">2<" in drawing.svg
