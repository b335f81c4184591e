"""The order in parts in the report: either half alone, both together, and nothing where none is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.numerals import percent
from curate.report.build import write_report

MakeRun = Callable[..., Path]
TITLE = "The order in parts"


def trained_parts(**changed: Any) -> dict[str, Any]:
    parts = [
        {"part": n, "first_rank": 10 * n - 9, "last_rank": 10 * n, "rows": 4, "tokens": 80.0,
         "mean": 1 + n / 10, "by_seed": [1 + n / 10 - 0.01, 1 + n / 10 + 0.01]}
        for n in range(1, 6)
    ]  # fmt: skip
    return {
        "metric": "loss",
        "unit": "nats per response token",
        "rows": 4,
        "parts": parts,
        "base": 2.0,
        "correlation": 1.0,
        "p": 2 / 120,
        "orders": 120,
        "by_seed": [1.0, 1.0],
        "trend": "better",
        "sentence": "A sentence of the parts.",
        **changed,
    }


def add_trained(run: Path, quantiles: dict[str, Any]) -> None:
    proof = json.loads((run / "proof.json").read_text())
    (run / "proof.json").write_text(json.dumps({**proof, "quantiles": quantiles}))


def add_measured(run: Path, near: int | None = 2) -> None:
    lines = [
        {"part": n, "first_rank": 10 * n - 9, "last_rank": 10 * n, "rows": 10, "tokens": 21.0,
         "similarity": 0.9 - n / 10, "coverage": 0.95 - n / 10, "near": near, "targets": 4}
        for n in range(1, 6)
    ]  # fmt: skip
    table = pl.DataFrame(lines, schema_overrides={"near": pl.Int64})
    table.write_parquet(run / "evidence" / "quantiles.parquet")


def test_both_halves_stand_in_one_section(make_run: MakeRun) -> None:
    run = make_run()
    add_trained(run, trained_parts())
    add_measured(run)
    page = write_report(run).read_text()
    assert page.count(f"<h2>{TITLE}") == 1
    for part in (
        "A sentence of the parts.",
        "each of the 120 orders",
        "41 to 50",
        "1.1000",
        percent(0.5),
    ):
        assert part in page
    assert "Similarity of a part&#39;s rows to the target" in page
    assert "loss of models trained on each part: part 1 1.1000; part 2 1.2000" in page
    assert "This does not say whether" not in page
    assert '<a href="#quantiles">the order in parts</a>' in page


@pytest.mark.parametrize("near", [2, None])
def test_what_is_stored_is_told_without_a_fine_tune(make_run: MakeRun, near: int | None) -> None:
    run = make_run()
    add_measured(run, near)
    page = write_report(run).read_text()
    assert "This does not say whether nearer rows train a better model" in page
    assert "of models trained on each part" not in page


def test_an_order_without_parts_says_why(make_run: MakeRun) -> None:
    run = make_run()
    add_trained(run, trained_parts(parts=[], rows=0, sentence="No quantiles: so few rows."))
    page = write_report(run).read_text()
    assert "No quantiles: so few rows." in page
    assert page.count('id="quantiles"') == page.count('href="#quantiles">the order') == 1


def test_a_plain_draw_has_what_it_trained_alone(make_run: MakeRun) -> None:
    run = make_run()
    add_trained(run, trained_parts())
    page = write_report(run).read_text()
    assert "A sentence of the parts." in page
    assert "Similarity of a part" not in page


def test_nothing_trained_says_why(make_run: MakeRun) -> None:
    run = make_run()
    parts = [
        {key: line[key] for key in ("part", "first_rank", "last_rank", "rows", "tokens")}
        for line in trained_parts()["parts"]
    ]
    quantiles = {"metric": "loss", "unit": "nats", "rows": 1, "parts": parts, "trend": "not shown"}
    add_trained(run, {**quantiles, "sentence": "No quantiles: too few rows."})
    page = write_report(run).read_text()
    assert "No quantiles: too few rows." in page
    assert "of models trained on each part" not in page


def test_a_run_without_either_has_no_such_section(make_run: MakeRun) -> None:
    assert TITLE not in write_report(make_run()).read_text()
