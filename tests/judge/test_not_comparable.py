"""Answers that are not comparable, in whole runs: told in log, manifest, evidence and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.generate.serverruns import good_act, recipe_of
from tests.generate.test_server_runs import run
from tests.llm.engines.fakeserver import Act, FakeServer, question, reply

STEPS = {"knowledge": "knowledge-answers", "clear": "clear-confidence"}


@pytest.mark.parametrize("asks", STEPS)
@pytest.mark.parametrize("checker", ["auto", "math"])
def test_it_is_told_everywhere(
    asks: str, checker: str, tmp_path: Path, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def plan(body: dict[str, Any], number: int) -> Act:
        free = "response_format" not in body
        vague = free and "3 plus 3" in question(body)
        return Act(body=reply(body, "either 5 or 7, that is")) if vague else good_act(body)

    with FakeServer(plan) as server:
        recipe = recipe_of(asks, tmp_path, tiny, server.url)
        recipe["stages"][0]["checker"] = checker
        result = run(recipe)
    (entry,) = (e for e in result.manifest["stages"] if e["stage"] == STEPS[asks])
    count = {"knowledge": 3, "clear": 2}[asks]
    assert entry["not_comparable"] == count
    assert f"{asks}: {count} of " in caplog.text and "nothing comparable" in caplog.text
    assert (
        f"{count} answers name nothing that could be compared by value" in result.report.read_text()
    )
    name = "knowledge-known" if asks == "knowledge" else "clear-confidence"
    table = pl.read_parquet(result.folder / f"evidence/{name}.parquet")
    assert table["not_comparable"].to_list().count(count) == 1
    if asks == "knowledge":
        assert table.filter(pl.col("not_comparable") > 0)["category"].to_list() == [None]


@pytest.mark.parametrize(
    "stage",
    ["clear", "correct", "knowledge", "confidence"],
)
def test_every_stage_that_compares_answers_takes_the_same_key(stage: str) -> None:
    from curate.core.methods import find_method
    from curate.core.stage import Stage
    from curate.generate.generation import Generator

    cls = find_method(Stage, stage)
    for checker in ("auto", "numeric", "math", "choice", "exact"):
        assert cls.model_validate({"kind": stage, "checker": checker}).checker == checker  # type: ignore[attr-defined]
    for method in ("reject", "self_guide"):
        given = find_method(Generator, method).model_validate({"method": method, "checker": "math"})
        assert given.checker == "math"  # type: ignore[attr-defined]
