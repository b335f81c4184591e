"""Stages that drop what is nearest to the target are named by the run, its manifest and its report."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import polars as pl
import pytest

from curate.clean.nearest_drops import SCHEMA, _Search, find_drops
from curate.config.loading import load_config
from curate.pipeline.curation import run_curation
from curate.runs.folder import open_run
from tests.conftest import frame, row, turns

QUESTION = (
    "If you follow these instructions, do you return to the starting point? Take {} steps {}."
)
WAYS = ("left", "right", "back", "up")


def walks(count: int, start: int = 0) -> list[str]:
    return [QUESTION.format(start + i, WAYS[i % 4]) for i in range(count)]


def others(count: int) -> list[str]:
    return [f"Tell me {i} things about the weather in town number {i * 7}." for i in range(count)]


def nearest(pool: list[str], target: list[str], *, size: int = 1_000) -> pl.DataFrame:
    search = _Search(frame([row(f"t{i}", turns(t, "x")) for i, t in enumerate(target)]))
    for batch in frame([row(f"r{i}", turns(t, "x")) for i, t in enumerate(pool)]).iter_slices(size):
        search.add(batch)
    return search.nearest()


def test_the_nearest_rows_share_the_targets_words() -> None:
    table = nearest([*others(50), *walks(8)], walks(3, 90))
    assert {name: dtype for name, dtype in table.schema.items()} == SCHEMA
    assert sorted(table["row_id"]) == [f"r{i}" for i in range(50, 58)]
    assert table["similarity"].is_sorted(descending=True)
    assert nearest(others(5), ["Zebra"]).height == 0
    assert nearest(["", "one"], ["", "one"]).height == 0


def test_batches_change_nothing() -> None:
    pool = [*walks(30), *others(30)]
    whole = nearest(pool, walks(4, 50))
    assert all(nearest(pool, walks(4, 50), size=size).equals(whole) for size in (1, 7, 59))


def verdicts(**reasons: str) -> pl.LazyFrame:
    lines = [{"row_id": f"r{i}", "keep": f"r{i}" not in reasons} for i in range(20)]
    return pl.LazyFrame(lines).with_columns(
        reason=pl.col("row_id").replace_strict(reasons, default=None, return_dtype=pl.String)
    )


def test_a_stage_is_named_that_drops_more_than_a_fifth_of_the_nearest_rows() -> None:
    table = pl.DataFrame({"row_id": [f"r{i}" for i in range(20)]})
    some = {f"r{i}": "leak_ngram" for i in range(5)}
    few = {f"r{i}": "leak_ngram" for i in range(4)}
    [drops] = find_drops(table, {"exact": verdicts(**few), "leaks": verdicts(**some)})
    assert (drops.stage, drops.reached, drops.dropped) == ("leaks", 20, 5)
    assert drops.sentence.startswith("leaks drops 5 of the 20 rows that are nearest to the target")
    assert find_drops(table.head(0), {"leaks": verdicts(**some)}) == []


RECIPE = """
name: near
pool: {{path: {root}/pool.jsonl, source: pool}}
target: {{path: {root}/target.jsonl}}
models: {{base: {model}}}
stages: [exact]
select: {{method: random, budget: {{rows: 5}}}}
store: {root}/store
"""


def write(path: Path, prompts: list[str], answer: str) -> None:
    lines = [json.dumps({"prompt": prompt, "completion": answer}) for prompt in prompts]
    path.write_text("\n".join(lines))


@pytest.mark.system
def test_a_run_says_so_at_its_end_in_its_manifest_and_report(
    tmp_path: Path, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "target.jsonl", walks(2, 60), "Yes, you do.")
    pool = [*walks(1) * 12, *others(20)]
    write(tmp_path / "pool.jsonl", pool, "It is so.")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(root=tmp_path, model=tiny))
    with caplog.at_level(logging.WARNING, logger="curate"):
        run_curation(load_config(tmp_path / "recipe.yaml"), tmp_path / "run")
    [sentence] = open_run(tmp_path / "run").manifest["warnings"]
    assert sentence.startswith("exact drops 9 of the 10 rows that are nearest")
    assert sentence in caplog.messages[-1]
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "exact drops 9 of the 10 rows" in page
