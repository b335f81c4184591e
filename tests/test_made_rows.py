"""A whole run with a stage that makes rows: they join the pool, and everything still adds up."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.section import DataTable
from curate.pipeline.curation import run_curation
from curate.report.data import gather
from curate.runs.explain import explain_row
from curate.runs.folder import RunFolder, open_run
from curate.runs.plan import plan_selection
from tests.report.sections import blocks_of, section_of, words_of_block

ROWS = 12
PRIVATE = ("Write to desk@riverbank.org about it.", "Write to office@hillside.net about it.")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> RunFolder:
    folder = tmp_path_factory.mktemp("made")
    prompts = [*PRIVATE, *(f"Say number {i} aloud." for i in range(ROWS - 2))]
    lines = [json.dumps({"prompt": p, "completion": "Very well."}) for p in prompts]
    (folder / "pool.jsonl").write_text("\n".join(lines) + "\n")
    config = Config.model_validate(
        {
            "name": "made",
            "pool": [{"path": str(folder / "pool.jsonl"), "source": "web"}],
            "models": {"base": str(tiny)},
            "stages": [{"kind": "exact"}, {"kind": "pii"}, {"kind": "exact"}],
            "select": {"method": "random", "budget": {"rows": 8}},
            "store": str(folder / "store"),
        }
    )
    return open_run(run_curation(config, folder / "run").folder)


def test_masked_rows_take_the_place_of_theirs_and_of_each_other(run: RunFolder) -> None:
    ledger = run.table("ledger").collect()
    assert ledger.height == ROWS + 2
    masked = ledger.filter(reason="masked")
    replacements = ledger.filter(pl.col("row_id").is_in(masked["duplicate_of"].to_list()))
    assert masked.height == replacements.height == 2
    # Without the addresses the two rows are one, which the stage behind sees.
    assert replacements["fate"].to_list().count("dropped") == 1
    assert replacements.filter(fate="dropped")["stage"].to_list() == ["exact-2"]
    assert set(replacements["source"]) == {"web"}
    assert ledger.filter(fate="selected").height == 8


def test_no_private_word_is_left_in_what_is_kept(run: RunFolder) -> None:
    rows, ledger = run.rows("pool"), run.table("ledger")
    assert rows is not None
    kept = rows.join(ledger.filter(pl.col("fate") != "dropped"), on="row_id", how="semi").collect()
    texts = str(kept["messages"].to_list())
    assert "[EMAIL]" in texts
    assert "@" not in texts


def test_the_report_counts_rows_that_went_and_came(run: RunFolder) -> None:
    funnel = gather(run.path).funnel
    steps = {step.stage: (step.removed, step.added, step.remaining) for step in funnel.steps}
    assert steps["pool"] == (0, 0, ROWS)
    assert steps["pii"] == (2, 2, ROWS)
    assert steps["exact-2"] == (1, 0, ROWS - 1)
    assert (funnel.dropped, funnel.replaced, funnel.kept) == (3, 2, ROWS - 1)
    section = section_of(run.path, "pii")
    assert f"2 of {ROWS} rows" in words_of_block(section)
    (table,) = blocks_of(section, DataTable)
    assert [line for line in table.lines if line[1] != "0"] == [("email", "2", "2")]
    page = (run.path / "report" / "index.html").read_text()
    assert "Made by this stage" in page


def test_a_made_row_is_explained_by_the_one_it_was_made_of(run: RunFolder) -> None:
    masked = run.table("ledger").filter(reason="masked").collect().sort("row_id")
    old, new = masked.row(0, named=True)["row_id"], masked.row(0, named=True)["duplicate_of"]
    assert f"Replaced by {new}" in explain_row(run, old)
    lines = explain_row(run, new)
    at = lines.index("Lineage")
    assert lines[at + 1].strip() == "made by pii, hop 1"
    assert lines[at + 2].strip().startswith(f"from {old}: Write to")


def test_a_condition_can_speak_of_what_a_stage_found(run: RunFolder) -> None:
    read = plan_selection(run, None, ["filter=pii.email = 0"])
    assert not any(
        row_id.startswith("pii/") for row_id in read.ranking.filter("selected")["row_id"]
    )
    with pytest.raises(Exception, match="no row meets"):
        plan_selection(run, None, ["filter=pii.email > 0"])
