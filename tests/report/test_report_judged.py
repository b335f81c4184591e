"""What the report says of grades and of what the model knows, in whole runs with a scripted engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.chart import Histogram
from curate.core.numerals import significant
from curate.core.section import DataTable, Item, Key, PassagePart, RowList, RowPart
from curate.judge.knowledge_section import ROUTES
from curate.pipeline.curation import run_curation
from curate.report.build import write_report
from curate.report.charts import draw_chart
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from curate.runs.rethreshold import rethreshold
from tests.generate.scripted import ScriptedEngine, text_of
from tests.judge.test_knowledge import rehearsing
from tests.judge.test_rubric import vote
from tests.report.sections import blocks_of, line_of, section_of, shown_ids, words_of_block
from tests.report.test_report_page import HOSTILE, Page, words_of
from tests.selectors.test_scorer import write_classifier

pytestmark = pytest.mark.system

PAIRS = [(f"{a} + {b}?", str(a + b)) for a in (1, 2, 3, 4) for b in (10, 20, 30)]
STORY = (
    "Tell me a story.",
    "Once there was a fox who lived in a wood and was never seen by anyone.",
)


def make(folder: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path, taint: str = "") -> Path:
    """Return a finished run whose rows were graded, scored, rehearsed and capped."""

    def answer(call: Any) -> str:
        if call.request.schema is None:
            return f"{taint}\n{rehearsing(call)}"
        good = "fox" not in text_of(call)
        verdict = json.loads(vote((4, 4, 5) if good else (1, 2, 1)))
        verdict["correct"]["reason"] = f"so it is{taint}"[:99]
        return json.dumps(verdict)

    engine = ScriptedEngine([(lambda call: True, answer)])
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: engine)
    folder.mkdir(exist_ok=True)
    story = (STORY[0] + taint, STORY[1] + taint)
    lines = [json.dumps({"prompt": p, "completion": c}) for p, c in (*PAIRS, story)]
    (folder / "pool.jsonl").write_text("\n".join(lines))
    scorer = write_classifier(folder / "scorer", "roberta", num_labels=1)
    recipe = {
        "name": "judged",
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "pool"}],
        "models": {"base": str(tiny)},
        "stages": [
            {"kind": "rubric", "votes": 2},
            {"kind": "scorer", "model": str(scorer), "drop": 0.0},
            {"kind": "knowledge", "cap": {"unknown": 0.3}},
            {"kind": "knowledge", "rehearse": True},
        ],
        "select": {"method": "random", "budget": {"rows": 4}},
        "store": str(folder / "store"),
    }
    return run_curation(Config.model_validate(recipe), folder / "run").folder


@pytest.fixture(scope="module")
def judged_run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return make(tmp_path_factory.mktemp("judged"), monkeypatch, tiny)


def test_grades_are_told_with_their_worst_rows(judged_run: Path) -> None:
    rubric, scorer = section_of(judged_run, "rubric"), section_of(judged_run, "scorer")
    (chart,) = blocks_of(rubric, Histogram)
    assert (chart.title, chart.threshold) == ("grade", 3.0)
    assert (chart.bins[0].low, chart.bins[-1].high) == (1, 5)
    assert sum(b.kept + b.dropped for b in chart.bins) == 13
    assert sum(b.dropped for b in chart.bins if b.low < 3) == 1
    (table,) = blocks_of(rubric, DataTable)
    assert [line[0] for line in table.lines] == ["correct", "complete", "clear"]
    assert line_of(table, "correct")[1] == significant((12 * 4 + 1) / 13)
    worst = blocks_of(rubric, Item)[0]
    assert worst.value == significant((3 * 1 + 2 + 1) / 5)
    row, remarks = worst.parts
    assert isinstance(row, RowPart)
    assert isinstance(remarks, PassagePart)
    assert row.row_id == "pool/pool.jsonl:13"
    assert remarks.passages[0] == ("correct", "so it is")
    assert not blocks_of(scorer, DataTable)
    assert "None of 12 rows was dropped." in words_of_block(scorer)
    page = words_of(judged_run)
    assert "fox" in page
    assert "1 of 13 rows scored below the threshold and was dropped" in page
    assert "What the judge said" in page


def test_knowledge_is_told_with_what_became_of_the_rows(judged_run: Path) -> None:
    capped, rehearsed = (section_of(judged_run, name) for name in ("knowledge", "knowledge-2"))
    evidence = pl.read_parquet(judged_run / "evidence/knowledge.parquet")
    (categories,) = blocks_of(capped, DataTable)
    rows, shares, kept = zip(*(line[1:] for line in categories.lines), strict=True)
    assert "The model answered 12 of 12 rows after 4 prompts of 4 examples" in words_of_block(
        capped
    )
    assert sum(map(int, rows)) == 12
    assert sum(float(str(share).split("\u202f")[0]) for share in shares) == pytest.approx(
        100, abs=0.3
    )
    assert sum(map(int, kept)) == evidence["keep"].sum()
    assert "fewer than 18.8 % of sampled answers" in words_of_block(capped)
    names = {str(line[0]).replace(" ", "_") for line in categories.lines if line[1] != "0"}
    assert set(evidence["category"]) == names
    became, _ = blocks_of(rehearsed, DataTable)
    routes = {blocks_of(line[0], Key)[0].text: int(str(line[1])) for line in became.lines}
    judged = pl.read_parquet(judged_run / "evidence/knowledge-2-known.parquet")["category"].count()
    assert sum(routes.values()) == judged
    rehearsals = pl.read_parquet(judged_run / "evidence/knowledge-2-made.parquet")
    assert rehearsals.height == routes["self"] + routes.get("paraphrase", 0)
    replaced = blocks_of(rehearsed, RowList)[0]
    assert {fact for item in blocks_of(replaced, Item) for fact in item.facts} == {
        ROUTES[route] for route in routes if route != "gold"
    }
    old, new = blocks_of(replaced, Item)[0].parts
    assert isinstance(old, RowPart) and isinstance(new, RowPart)
    assert (old.against, new.against) == (new.row_id, old.row_id)
    ledger = pl.read_parquet(judged_run / "ledger.parquet")
    assert ledger.height == 13 + rehearsals.height
    page = words_of(judged_run)
    assert "What the model knows" in page
    assert "unknown rows within" in page
    assert "the model's own answer" in page
    assert "What the model answered" in page


def test_rows_that_no_answer_knows_stand_beside_what_the_model_answered(judged_run: Path) -> None:
    table = pl.read_parquet(judged_run / "evidence/knowledge-known.parquet")
    unknown = table.filter(category="unknown")["row_id"].sort().to_list()
    capped = section_of(judged_run, "knowledge")
    assert shown_ids(capped) == unknown[:6]
    answers = [part.passages for part in blocks_of(capped, PassagePart)]
    assert answers and all(len(texts) == len(set(texts)) <= 2 for texts in answers)


def test_a_rehearsed_row_is_explained_by_the_one_in_its_place(judged_run: Path) -> None:
    run = open_run(judged_run)
    rehearsal = run.table("evidence/knowledge-2-made").collect().row(0, named=True)
    lines = explain_row(run, rehearsal["parents"][0])
    assert f"Replaced by {rehearsal['row_id']}" in lines
    graded = explain_row(run, "pool/pool.jsonl:13")
    assert not any("twin" in line for line in graded)


def test_a_threshold_moves_over_the_grades(judged_run: Path) -> None:
    moved = rethreshold(open_run(judged_run), "rubric", ["threshold=4.5"])
    assert moved.gone == 12
    assert moved.sweep["threshold"].to_list()[0] == pytest.approx(1.2)
    assert moved.sweep["dropped"].to_list()[0] == 0
    higher = rethreshold(open_run(judged_run), "scorer", ["drop=null", "threshold=9"])
    assert higher.gone == 12


def test_figures_are_drawn_for_each_stage(judged_run: Path) -> None:
    charts = [blocks_of(section_of(judged_run, stage), Histogram) for stage in ("rubric", "scorer")]
    assert [len(drawn) for drawn in charts] == [1, 1]
    assert "1 lie below 3.00" in draw_chart(charts[0][0]).alt


def test_hostile_texts_stay_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    run = make(tmp_path, monkeypatch, tiny, taint=f" {HOSTILE}")
    page = Page(write_report(run).read_text())
    assert page.tags.count("script") == len(page.scripts) == 2
    assert "img" not in page.tags
    assert "<script>alert(1)</script>" in "".join(page.texts)


def test_a_run_without_such_stages_has_no_section(make_run: Any) -> None:
    assert "What the model knows" not in words_of(make_run())
