"""The report on confidence and corrections, of a whole run with a scripted engine; hostile texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.chart import Histogram
from curate.core.derived_rows import derived_id
from curate.core.section import DataTable, Item, PassagePart
from curate.pipeline.curation import run_curation
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from curate.runs.rethreshold import rethreshold
from tests.generate.scripted import Reply, text_of
from tests.judge.clearruns import REFLECTIONS, use
from tests.report.sections import blocks_of, section_of, shown_ids, words_of_block

HOSTILE = "<script>alert(1)</script>"
ROWS = 24


def sampled(call: Any) -> Any:
    text = text_of(call)
    number = int(text.split("number ")[1].split("?")[0])
    if "Response A:" in text:
        second = text.split("Response B:")[1]
        return json.dumps({"reason": HOSTILE, "better": "B" if "better" in second else "A"})
    if "Response 1:" in text:
        second = text.split("Response 2:")[1]
        return json.dumps({"answer": "A" if "better" in second else "B"})
    if call.sampling.temperature == 0:
        return f"a better {number} {HOSTILE}" if number % 4 == 0 else f"worse {number}"
    if number == 3:
        return Reply("cut", "truncated")
    return f"{number} {HOSTILE} it is, as all of us know well" if number % 2 else "1 elephant"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """The folder of a run whose even rows are doubted; every other one of these gets a correction."""
    folder = tmp_path_factory.mktemp("clear")
    lines = [
        {"prompt": f"Which is number {i}?", "completion": f"{i} {HOSTILE} it is, as all of us know well"}
        for i in range(ROWS)
    ]  # fmt: skip
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = Config.model_validate(
        {
            "name": "clear",
            "pool": str(folder / "pool.jsonl"),
            "models": {"base": str(tiny)},
            "stages": [
                {"kind": "clear", "action": "score"},
                {"kind": "correct", "model": "base"},
                {"kind": "exact"},
            ],
            "select": {"method": "random", "budget": {"rows": 5}},
            "store": str(folder / "store"),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        use(patch, [(REFLECTIONS[0], '{"answer": "A"}'), (REFLECTIONS[1], '{"answer": "A"}'),
                    (lambda call: True, sampled)])  # fmt: skip
        run_curation(config, folder / "run")
    return folder / "run"


def test_the_numbers_of_the_section_add_up(finished: Path) -> None:
    clear, correct = section_of(finished, "clear"), section_of(finished, "correct")
    words = words_of_block(clear)
    assert f"12 of {ROWS} rows are at or below the threshold; this stage kept them." in words
    assert "5 sampled answers were cut or failed." in words
    (chart,) = blocks_of(clear, Histogram)
    assert sum(b.dropped for b in chart.bins) == 12
    assert sum(b.kept for b in chart.bins) == ROWS - 1 - 12
    table = pl.read_parquet(finished / "evidence/clear-confidence.parquet").drop_nulls("c")
    assert shown_ids(clear) == table.sort("c", "row_id")["row_id"].head(8).to_list()
    assert [part.passages for part in blocks_of(clear, PassagePart)] == [
        (("sample", "1 elephant"), ("sample", "1 elephant"))
    ] * 8
    (decisions,) = blocks_of(correct, DataTable)
    assert decisions.lines == (("not better", "6"), ("replaced", "6"))
    assert len(blocks_of(correct, Item)) == 6


def test_the_ledger_tells_of_each_row(finished: Path) -> None:
    run = open_run(finished)
    ledger = run.table("ledger").collect()
    assert ledger.height == ROWS + 6
    reasons = ledger.filter(fate="dropped").group_by("reason").len().sort("reason").rows()
    assert reasons == [("corrected", 6), ("low_confidence", 6)]
    old = ledger.filter(reason="corrected")
    assert old["duplicate_of"].to_list() == [derived_id(i, "correct") for i in old["row_id"]]
    assert set(old["duplicate_of"]) <= set(ledger.filter(pl.col("fate") != "dropped")["row_id"])
    explanation = "\n".join(explain_row(run, old["row_id"][0]))
    assert old["duplicate_of"][0] in explanation
    assert "of low confidence" in "\n".join(
        explain_row(run, ledger.filter(reason="low_confidence")["row_id"][0])
    )


def test_the_page_shows_both_sides_and_escapes_them(finished: Path) -> None:
    page = (finished / "report" / "index.html").read_text()
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert '<section id="stage-clear">' in page
    assert '<section id="stage-correct">' in page
    assert "6 of 12 doubted rows were replaced" in page
    assert "Replaced row" in page
    assert "1 has no score" in page


def test_the_threshold_moves_without_the_model(finished: Path) -> None:
    moved = rethreshold(open_run(finished), "clear", ["action=drop", "threshold=0.5"])
    assert (~moved.evidence["keep"]).sum() == 12
    counts = moved.sweep["dropped"].to_list()
    assert counts == sorted(counts)


def test_explaining_a_corrected_row_tells_both_confidences(finished: Path) -> None:
    run = open_run(finished)
    ledger = run.table("ledger").filter(pl.col("reason") == "corrected").collect()
    corrections = run.table("evidence/correct-corrections").collect()
    assert ledger.height == 6
    for row in ledger.to_dicts():
        correction = corrections.filter(row_id=row["row_id"]).row(0, named=True)
        lines = explain_row(run, row["row_id"])
        assert f"(score {correction['confidence_old']:.4f}, limit" in lines[2]
        assert f"Replaced by {correction['made_id']}" in lines
        sure = next(line for line in lines if "judged better, asked in both orders" in line)
        assert correction["confidence"] > 0.8
        assert float(sure.split()[-1]) == pytest.approx(correction["confidence"], abs=1e-4)


def test_a_stage_without_a_score_has_words_and_no_chart(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "pool.jsonl").write_text(json.dumps({"prompt": "Why?", "completion": "So it is."}))
    config = Config.model_validate(
        {
            "name": "clear",
            "pool": str(tmp_path / "pool.jsonl"),
            "models": {"base": str(tiny)},
            "stages": [{"kind": "clear"}],
            "select": {"method": "random", "budget": {"rows": 1}},
            "store": str(tmp_path / "store"),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        use(patch, [(REFLECTIONS[0], '{"answer": "A"}'), (REFLECTIONS[1], '{"answer": "A"}'),
                    (lambda call: True, lambda call: Reply("cut", "truncated"))])  # fmt: skip
        run_curation(config, tmp_path / "run")
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="stage-clear">') :].split("</section>")[0]
    assert "1 has no score, for want of a usable answer, and stayed." in section
    assert "<figure" not in section
