"""Near prompts with different answers, as the report and `curate explain` tell of them."""

from __future__ import annotations

import json

import pytest

from curate.clean.duplicate_figures import duplicate_figures, find_contrasting
from curate.clean.fuzzy import FuzzyStage
from curate.config.recipe import Config
from curate.pipeline.curation import run_curation
from curate.report.build import write_report
from curate.runs.explain import explain_row
from curate.runs.folder import RunFolder, open_run
from tests.clean.test_guards import PASSAGE
from tests.report.sections import record_of

QUESTIONS = [
    ("Who bought the mill?", "The rope makers."),
    ("What was dried there?", "Hemp."),
    ("Who bought the mill?", "The rope makers!"),
    ("Who bought 2 mills?", "Hemp."),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("run")
    lines = [{"prompt": PASSAGE + question, "completion": answer} for question, answer in QUESTIONS]
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = {
        "name": "differing",
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "p"}],
        "stages": [{"kind": "exact"}, {"kind": "fuzzy"}],
        "store": str(folder / "store"),
    }
    return open_run(run_curation(Config.model_validate(config), folder / "run").folder)


def test_the_report_lists_pairs_of_kept_rows_by_what_differs(run: RunFolder) -> None:
    record = record_of(run, "fuzzy")
    assert duplicate_figures(record).dropped == 1
    contrasting = find_contrasting(record)
    assert contrasting is not None
    assert (contrasting.rows, contrasting.counts) == (3, {"numbers": 2, "responses": 1})
    differences = {(p.row_id[-1], p.other_id[-1]): p.differs for p in contrasting.examples}
    assert differences == {("1", "2"): "responses", ("1", "4"): "numbers", ("2", "4"): "numbers"}
    page = write_report(run.path).read_text(encoding="utf-8")
    assert "Near prompts with different answers" in page
    assert "2 pairs differ in the numbers, 1 pair differs in the responses." in page


def test_explain_names_the_rows_that_a_kept_row_is_similar_to(run: RunFolder) -> None:
    lines = "\n".join(explain_row(run, "p/pool.jsonl:2"))
    assert "similar to p/pool.jsonl:1 (0." in lines
    assert "but the responses differ" in lines
    assert "similar to p/pool.jsonl:4 (0." in lines
    assert "but the numbers differ" in lines
    assert "differ" not in "\n".join(explain_row(run, "p/pool.jsonl:3"))


def test_pairs_below_the_threshold_are_not_listed(run: RunFolder) -> None:
    """They are stored from the floor on."""
    stored = run.table("evidence/fuzzy-differing").collect()
    floor = FuzzyStage().floor
    assert min(stored["similarity"]) >= floor < duplicate_figures(record_of(run, "fuzzy")).limit
