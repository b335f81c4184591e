"""A race in a whole run: the selection is the winner's, and everything that reads a run knows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.estimate.recipe import estimate
from curate.pipeline.curation import run_curation
from curate.report.build import render
from curate.report.data import gather
from curate.runs.explain import explain_row
from curate.runs.folder import RunFolder, open_run
from curate.runs.plan import plan_selection
from tests.conftest import turns
from tests.proof.test_together import recipe

pytestmark = pytest.mark.system

EVALS = 37
OF: list[Any] = ["bm25", {"method": "length", "budget": 6}, "dsir"]


def racing(root: Path, model: Path, evals: int = EVALS, **changed: Any) -> Config:
    given = recipe(root, model, draws=2, seeds=2)
    rows = [turns(f"Which tree number {i}?", f"It was {i}") for i in range(evals)]
    (root / "eval.jsonl").write_text("\n".join(json.dumps({"messages": r}) for r in rows))
    given["select"] = {"method": "race", "of": OF, "rounds": 2, "budget": 8}
    return Config.model_validate(given | changed)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("race")


@pytest.fixture(scope="module")
def run(root: Path, tiny: Path) -> RunFolder:
    return open_run(run_curation(racing(root, tiny), root / "run").folder)


def winner_of(run: RunFolder) -> str:
    return str(run.manifest["race"]["winner"])


def test_the_run_is_the_one_that_a_recipe_with_the_winner_would_be(
    run: RunFolder, root: Path, tiny: Path
) -> None:
    selected = run.table("selected").collect()
    config = racing(root, tiny, select=run.manifest["race"]["select"], prove=None)
    other = open_run(run_curation(config, root / "winner").folder)
    assert other.table("selected").collect().equals(selected)
    assert other.table("evidence/select").collect().equals(run.table("evidence/select").collect())
    assert run.manifest["config"]["select"]["method"] == "race", "the recipe stays what it was"
    assert f"selected with `{winner_of(run)}`" in (run.path / "export/README.md").read_text()


def test_the_standings_are_evidence_and_the_winners_trainings_are_the_proofs(
    run: RunFolder,
) -> None:
    standings = run.table("evidence/race").collect()
    last = standings.filter(round=2).sort("mean")
    assert last["name"][0] == winner_of(run) == last.filter("kept")["name"].item()
    tuned = {s["stage"]: s["steps"] for s in run.manifest["stages"] if "finetune" in s["stage"]}
    assert tuned["finetune"] == run.manifest["race"]["fine_tunes"] <= 3 + 2
    assert tuned["finetune (prove)"] <= 2 + 2, "controls alone"


def test_the_proof_reads_the_other_half_and_divides_the_level(run: RunFolder) -> None:
    proof = json.loads((run.path / "proof.json").read_text())
    assert proof["eval_examples"] == 19
    assert json.loads((run.path / "evidence/race-summary.json").read_text())["examples"] == 18
    assert proof["judged"] == 3
    assert "because 3 selections share the level" in proof["sentence"]


def test_plan_and_explain_know_winner_and_losers(run: RunFolder) -> None:
    assert plan_selection(run, None).shared == plan_selection(run, None).rows
    assert plan_selection(run, "rows=3").rows == 3
    for entry in OF:
        method = entry if isinstance(entry, str) else entry["method"]
        plan = plan_selection(run, None, [f"method={method}"])
        assert plan.rows == (8 if isinstance(entry, str) else 6)
    lines = "\n".join(explain_row(run, run.table("selected").collect()["row_id"][0]))
    assert f"Selected by {winner_of(run)}, which won the race of bm25, length, dsir" in lines
    losers = {"bm25", "length", "dsir"} - {winner_of(run)}
    assert all(f"  race/{name}: " in lines for name in losers)


def test_the_report_shows_the_race(run: RunFolder) -> None:
    report = gather(run.path)
    assert report.race is not None
    assert [[line.trainings for line in lines] for lines in report.race.rounds] == [
        [1] * 3,
        [2] * 2,
    ]
    page = render(report)
    assert f"{winner_of(run)} won the race of bm25, length, dsir." in page
    assert "which no choice has seen" in page
    assert "held a race for this" in page


def test_a_second_run_trains_nothing(run: RunFolder, root: Path, tiny: Path) -> None:
    again = run_curation(racing(root, tiny), root / "run")
    assert all(stage["cached"] == stage["steps"] for stage in again.manifest["stages"])
    same = pl.read_parquet(root / "run/evidence/race.parquet")
    assert same.equals(run.table("evidence/race").collect())


def test_check_tells_the_bill(tmp_path: Path, tiny: Path) -> None:
    lines = {line.stage: line for line in estimate(racing(tmp_path, tiny))}
    assert lines["eval: choice"].rows == lines["race: measure"].rows == 18
    assert lines["eval: verdict"].rows == lines["proof: measure"].rows == 19
    assert lines["race: tune"].does.startswith("up to 5 fine-tunes of 3 candidates in 2 rounds")
    assert lines["race: tune"].seconds.likely > 0
    assert lines["proof: tune"].does.startswith("4 fine-tunes"), "those of the winner are made"


@pytest.mark.parametrize("command", ["check", "run"])
def test_too_small_an_eval_set_is_refused_before_anything_is_scored(
    tmp_path: Path, tiny: Path, command: str
) -> None:
    config = racing(tmp_path, tiny, evals=35)
    with pytest.raises(UserError, match="give at least 36 different prompts"):
        estimate(config) if command == "check" else run_curation(config, tmp_path / "run")
    assert not list(tmp_path.glob("store/score-*"))


def test_a_fault_of_a_candidate_says_whose_it_is(tmp_path: Path, tiny: Path) -> None:
    select = {
        "method": "race",
        "of": ["random", {"method": "random", "filter": "tokens > 1000000"}],
        "budget": 8,
    }
    with pytest.raises(UserError, match=r"select\.of\.1 \(random-2\): select.filter: no row meets"):
        run_curation(racing(tmp_path, tiny, select=select), tmp_path / "run")
