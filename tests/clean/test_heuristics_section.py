"""What the report says of rules and of personal data."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.section import DataTable, Quote
from tests.report.realrun import finish
from tests.report.sections import blocks_of, line_of, section_of, words_of_block

REFUSAL = "As an AI language model, I cannot help <b>you</b>"
ANSWERS = ["Very well, as you like."] * 6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    folder = tmp_path_factory.mktemp("heuristics")
    answers = [*ANSWERS, REFUSAL, REFUSAL]
    lines = [{"prompt": f"Say number {i}.", "completion": a} for i, a in enumerate(answers)]
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    config = Config.model_validate(
        {
            "name": "heuristics",
            "pool": [{"path": str(folder / "pool.jsonl"), "source": "web"}],
            "models": {"base": str(tiny)},
            "stages": [{"method": "rules"}, {"method": "pii", "action": "flag"}],
            "select": {"method": "random", "budget": {"rows": 4}},
            "store": str(folder / "store"),
        }
    )
    return finish(config, folder / "run")


def test_rules_say_how_many_rows_fail_each_and_what_gave_them_away(run: Path) -> None:
    section = section_of(run, "rules")
    assert "2 of 8 rows (25.0 %) fail a rule and were dropped." in words_of_block(section)
    (table,) = blocks_of(section, DataTable)
    # Both rules fail the same rows; the reason is the rule that comes first.
    assert line_of(table, "markup")[:2] == ("2", "2")
    failed, reason, examples = line_of(table, "refusal")
    assert (failed, reason) == ("2", "0")
    (example,) = blocks_of(examples, Quote)
    assert "As an AI language model" in example.text


def test_rules_of_runs_without_details_have_no_examples(run: Path) -> None:
    path = run / "evidence" / "rules-details.parquet"
    details = pl.read_parquet(path)
    path.unlink()
    try:
        section = section_of(run, "rules")
    finally:
        details.write_parquet(path)
    assert blocks_of(section, Quote) == []
    assert line_of(blocks_of(section, DataTable)[0], "refusal")[:2] == ("2", "0")


def test_where_nothing_is_flagged_there_is_no_table(run: Path) -> None:
    section = section_of(run, "pii")
    words = words_of_block(section)
    assert "None of 6 rows holds what was looked for." in words
    assert "Names of people and addresses have no form" in words
    assert blocks_of(section, DataTable) == []
