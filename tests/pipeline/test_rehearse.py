"""Rehearsal in a whole run: guarded, drawn, proved as arms, exported, reported and priced."""

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
from curate.runs.training_files import export_run
from tests.conftest import turns
from tests.proof.test_together import recipe

pytestmark = pytest.mark.system

WATCHED = "Keep number 1 of the many things that you have learned before"
PRIOR = [
    *(
        turns(f"An old question, number {i}?", f"An old answer that has words, {i}.")
        for i in range(30)
    ),
    turns("An old question, number 3?", "An old answer that has words, 3."),
    turns(WATCHED, "A leak"),
    *(turns(f"How much is {i}?", f"{i}") for i in range(4)),
]


def rehearsing(root: Path, model: Path, method: str = "mix_cd", **changed: Any) -> Config:
    given = recipe(root, model, draws=2, seeds=2)
    watch = [turns(WATCHED, "Kept"), *(turns(f"Keep {i}", f"Kept {i}") for i in range(3))]
    # A selected row that was trained on before, too.
    own = json.loads((root / "pool.jsonl").read_text().splitlines()[0])["messages"]
    for name, rows in {"watch": watch, "old": [*PRIOR, own]}.items():
        lines = [json.dumps({"messages": messages}) for messages in rows]
        (root / f"{name}.jsonl").write_text("\n".join(lines))
    given["prove"]["watch"] = str(root / "watch.jsonl")
    given["rehearse"] = {
        "from": str(root / "old.jsonl"), "share": 0.5, "method": method, "probe": 12,
    }  # fmt: skip
    return Config.model_validate(given | changed)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rehearse")


@pytest.fixture(scope="module")
def run(root: Path, tiny: Path) -> RunFolder:
    return open_run(run_curation(rehearsing(root, tiny), root / "run").folder)


def test_every_prior_row_has_a_fate_and_held_out_repeated_and_selected_ones_are_dropped(
    run: RunFolder,
) -> None:
    rows = run.table("evidence/rehearsal").collect()
    assert rows.height == len(PRIOR) + 1
    assert not rows["fate"].null_count()
    dropped = dict(rows.filter(fate="dropped").select("row_id", "reason").iter_rows())
    assert dropped["old/old.jsonl:31"] == "exact_duplicate"
    assert dropped["old/old.jsonl:32"] == "leak_exact"
    drawn = rows.filter(fate="rehearsed")
    assert drawn.height == 4
    assert drawn["right"].all()
    assert drawn["reason"].str.contains("probe rows forgotten").all()


def test_the_export_has_the_selection_and_rehearsed_rows_of_a_source_of_their_own(
    run: RunFolder, tmp_path: Path
) -> None:
    data = next(run.path.glob("export/*.jsonl"))
    lines = [json.loads(line) for line in data.read_text().splitlines()]
    rehearsed = [line["row_id"] for line in lines if line["source"] == "old"]
    assert len(lines) == 8 + 4
    drawn = run.table("evidence/rehearsal").filter(fate="rehearsed").collect()["row_id"]
    assert sorted(rehearsed) == sorted(drawn)
    own = [line["row_id"] for line in lines if line["source"] == "pool"]
    assert own == run.table("selected").collect()["row_id"].to_list(), "which keep their order"
    card = (run.path / "export/README.md").read_text()
    assert "4 of them are rows of earlier training" in card
    assert "mixed in against forgetting, without which the verdict is." in card
    again = [path for path in export_run(run, None, tmp_path / "again") if path.name == data.name]
    assert again[0].read_text() == data.read_text()


def test_the_proof_has_arms_of_equal_size_with_verdicts_of_the_watch_set(run: RunFolder) -> None:
    proof = json.loads((run.path / "proof.json").read_text())
    sizes = {arm["arm"]: arm["rows"] for arm in proof["arms"]}
    assert sizes["rehearsed"] == sizes["rehearsed_random"] == [12, 12]
    [watched] = proof["watch"]
    assert [line["arm"] for line in watched["rehearsed"]] == ["rehearsed", "rehearsed_random"]
    assert [sorted(line["less"], reverse=True) for line in watched["rehearsed"]] == [
        ["selected", "rehearsed_random"],
        ["selected"],
    ]
    assert watched["alpha"] == pytest.approx(0.05 / 3)
    steps = {s["stage"]: s["steps"] for s in run.manifest["stages"] if "finetune" in s["stage"]}
    assert steps["finetune"] == 1, "the first fine-tune of the selection, which the proof shares"
    assert steps["finetune (prove)"] <= 1 + 2 + 2 + 2 * 2


def test_explain_says_why_a_row_is_rehearsed_or_not(run: RunFolder) -> None:
    drawn = run.table("evidence/rehearsal").filter(fate="rehearsed").collect().row(0, named=True)
    words = "\n".join(explain_row(run, drawn["row_id"]))
    assert f"Mixed into the training files ({drawn['bin']}: " in words
    assert "Kept out (leak_exact)" in explain_row(run, "old/old.jsonl:32")
    with pytest.raises(UserError, match=r"old/old\.jsonl:99"):
        explain_row(run, "old/old.jsonl:99")


def test_random_needs_no_model_and_no_proof(root: Path, tiny: Path) -> None:
    config = rehearsing(
        root, tiny, "random", prove=None, name="plain",
        select={"method": "random", "budget": {"rows": 8}},
    )  # fmt: skip
    run = open_run(run_curation(config, root / "plain").folder)
    rows = run.table("evidence/rehearsal").collect()
    assert rows.filter(fate="rehearsed")["reason"].to_list() == ["drawn at random"] * 4
    assert "model" not in run.manifest
    assert not run.table("evidence/rehearsal-bins").collect().height


@pytest.mark.parametrize("method", ["random", "mix_cd"])
def test_all_rows_that_are_kept_are_mixed_with_rehearsed_ones(
    root: Path, tiny: Path, method: str
) -> None:
    config = rehearsing(root, tiny, method, prove=None, name=method, select={"method": "all"})
    run = open_run(run_curation(config, root / f"all-{method}").folder)
    kept = run.table("selected").collect()["row_id"]
    exported = [json.loads(line) for file in sorted((run.path / "export").glob("train*.jsonl"))
                for line in file.read_text().splitlines()]  # fmt: skip
    sources = [line["source"] for line in exported]
    assert sources.count("pool") == kept.len() > 8
    assert sources.count("old") == min(kept.len() // 2, len(PRIOR) - 2)
    assert "Rehearsed rows" in render(gather(run.path))


def test_a_recipe_is_checked_before_anything_runs(root: Path, tiny: Path) -> None:
    with pytest.raises(ValueError, match=r"the name 'pool' is that of pool.0 as well"):
        rehearsing(root, tiny, rehearse={"from": {"path": "old.jsonl", "source": "pool"}})
    with pytest.raises(ValueError, match="'rehearsed' is an arm wherever `rehearse` is given"):
        rehearsing(root, tiny, prove={"arms": ["selected", "random", "rehearsed"]})
    with pytest.raises(ValueError, match="rehearsed rows have no score"):
        rehearsing(root, tiny, export={"sample_weight": True})


def test_rows_that_are_all_held_out_end_the_run(root: Path, tiny: Path) -> None:
    (root / "leaks.jsonl").write_text(json.dumps({"messages": turns(WATCHED, "A leak")}))
    config = rehearsing(root, tiny, rehearse={"from": str(root / "leaks.jsonl")})
    with pytest.raises(UserError, match=r"rehearse.from: none of 1 rows may be rehearsed: 1 leak"):
        run_curation(config, root / "leaking")


def test_check_prices_it_and_the_report_shows_it(root: Path, tiny: Path, run: RunFolder) -> None:
    lines = {line.stage: line for line in estimate(rehearsing(root, tiny))}
    assert lines["rehearse"].rows == len(PRIOR) + 1
    assert lines["rehearse"].seconds.likely > 0
    page = render(gather(run.path))
    assert "Rehearsed rows" in page
    bins = run.table("evidence/rehearsal-bins").collect()
    assert bins["budget"].sum() == 4
    assert all(f"{alpha:.2f}" in page for alpha in bins["alpha"])


def test_frames_of_the_evidence_add_up(run: RunFolder) -> None:
    bins = run.table("evidence/rehearsal-bins").collect()
    rows = run.table("evidence/rehearsal").collect()
    drawn = rows.filter(fate="rehearsed").group_by("bin").len().sort("bin")
    assert dict(drawn.iter_rows()) == dict(
        bins.filter(pl.col("budget") > 0).select("bin", "budget").iter_rows()
    )
    assert bins["probed"].sum() == rows["probed"].sum()


@pytest.mark.model
def test_a_real_model_rehearses_what_it_answers_right(tmp_path: Path, smollm: Path) -> None:
    capitals = {"France": "Paris", "Chad": "Nowhere"}
    prior = [turns(f"What is the capital of {c}?", city) for c, city in capitals.items()]
    prior += [turns(f"Say {i}.", f"A sentence of words, and no value, for {i}.") for i in range(4)]
    select = {"method": "random", "budget": {"rows": 4}}
    models = {"base": str(smollm), "dtype": "bfloat16"}
    config = rehearsing(tmp_path, smollm, prove=None, select=select, models=models)
    (tmp_path / "old.jsonl").write_text("\n".join(json.dumps({"messages": r}) for r in prior))
    rows = open_run(run_curation(config, tmp_path / "run").folder).table("evidence/rehearsal")
    table = rows.collect()
    assert table["loss"].null_count() == 0
    assert table["right"].to_list()[1:] == [False, True, True, True, True]
    assert table["fate"][1] == "wrong_before"
    assert table.filter("right")["probed"].all()
    assert table.filter(fate="rehearsed").height == 2
