"""Methods to compare: how a recipe names them, what they take over, what is at fault and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
import yaml

from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.selector import Selector
from curate.core.selectparams import Budget
from curate.core.store import Store
from curate.core.workload import Workload
from curate.estimate.base_model import BaseModel
from curate.estimate.embedding import Embedding
from curate.estimate.pace import exactly
from curate.estimate.selection import choice_lines
from curate.pipeline.curation import run_curation
from curate.runs.explain import explain_row
from curate.runs.folder import RunFolder, open_run
from curate.selectors.compared import compared_lines, scoring, selection_names
from tests.config.test_recipe import schema_faults
from tests.conftest import stored_table
from tests.report.realrun import shared_recipe, write_inputs

SELECT: dict[str, Any] = {
    "method": "embed",
    "budget": {"rows": 7},
    "filter": "tokens < 300",
    "shares": [{"by": "source", "most": 0.5}],
    "diversity": {"most": 0.95},
}
RECIPE: dict[str, Any] = {"name": "a", "pool": "data", "target": "target.jsonl", "select": SELECT}


def compare(given: Any, **more: Any) -> Config:
    return Config.model_validate({**RECIPE, "compare": given, **more})


def complain(folder: Path, given: Any, **more: Any) -> list[str]:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "compare": given, **more}, sort_keys=False))
    with pytest.raises(UserError) as caught:
        load_config(path)
    return [line.split(": ", 1)[1] for line in str(caught.value).splitlines()]


def test_methods_take_over_the_plan_of_the_selection() -> None:
    config = compare(["bm25", {"method": "embed", "combine": "mean"}, {"method": "random"}])
    assert selection_names(config.select, config.compare) == ["embed", "bm25", "embed-2", "random"]
    for params in config.compare:
        assert params.budget == Budget(rows=7)
        assert (params.filter, params.shares) == ("tokens < 300", config.select.shares)
        assert params.diversity == config.select.diversity


def test_what_a_method_gives_of_its_own_counts() -> None:
    own: dict[str, Any] = {"method": "bm25", "budget": {"tokens": 90}, "filter": None, "shares": []}
    params = compare([own, "random"]).compare[0]
    assert (params.budget, params.filter, params.shares) == (Budget(tokens=90), None, [])


def test_conditions_on_scores_hold_for_the_run_alone() -> None:
    shares = [{"by": "nearest_id", "most": 0.2}]
    select = {**SELECT, "filter": "score > 0.2 AND tokens < 9", "shares": shares}
    config = compare(["bm25"], select=select)
    assert [(p.filter, p.shares) for p in config.compare] == [(None, [])] * 2


@pytest.mark.parametrize("given", ["bm25", {"method": "bm25"}, ["bm25"]])
def test_a_random_draw_is_added_as_the_control(given: Any) -> None:
    names = [params.model_dump()["method"] for params in compare(given).compare]
    assert names == ["bm25", "random"]


def test_no_second_random_draw_is_added() -> None:
    select = {"method": "random", "budget": {"rows": 7}}
    assert len(compare(["bm25"], select=select).compare) == 1
    assert len(compare(["random", "bm25"]).compare) == 2
    assert compare([]).compare == []
    assert Config.model_validate(RECIPE).compare == []


def test_a_resolved_recipe_reads_as_itself() -> None:
    config = compare(["bm25", {"method": "got", "epsilon": 0.2}])
    assert Config.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["bm25", "bm52"], ["compare.1: unknown 'method' 'bm52'; known: "]),
        (["bm25", {"method": "got", "epsilom": 1}],
         ["compare.1.epsilom: unknown key; did you mean 'epsilon'?"]),
        ([{"method": "got", "epsilon": -1}], ["compare.0.epsilon: Input should be greater than 0"]),
        ([{"method": "bm25", "budget": {"rows": 0}}], ["compare.0.budget: rows must be above 0"]),
        ([{"method": "bm25", "filter": "tokens <"}], ["compare.0.filter: 'tokens <'"]),
        ([{"method": "bm25", "filter": "fuzzy.score < 1"}],
         ["compare.0: filter or shares: nothing is named 'fuzzy'"]),
        ([{"combine": "mean"}], ["compare.0: "]),
        (3, ["compare: Input should be a valid list"]),
    ],
)  # fmt: skip
def test_faults_are_told_with_their_place(tmp_path: Path, given: Any, said: list[str]) -> None:
    lines = complain(tmp_path, given)
    assert len(lines) == len(said)
    for line, start in zip(lines, said, strict=True):
        assert line.startswith(start), line


def test_a_fault_of_the_selection_is_told_once(tmp_path: Path) -> None:
    select = {"method": "embed", "budget": {"rows": -1}}
    assert len(complain(tmp_path, ["bm25", "got"], select=select)) == 1
    select = {"method": "embed", "budget": {"rows": 1}, "filter": "tokens <"}
    lines = complain(tmp_path, ["bm25", "got"], select=select)
    assert [line.split(":")[0] for line in lines] == ["select.filter"]


def test_a_targeted_method_needs_a_target(tmp_path: Path) -> None:
    select = {"method": "length", "budget": {"rows": 1}}
    said = complain(tmp_path, ["random", "bm25"], select=select, target=None)
    assert said[0].startswith("compare.1: 'bm25' needs `target:` examples")
    blend = {"method": "blend", "parts": [{"method": "length"}, {"method": "embed"}]}
    said = complain(tmp_path, [blend], select=select, target=None)
    assert said[0].startswith("compare.0.method: 'embed' needs `target:` examples")


def test_the_json_schema_takes_methods_without_a_budget() -> None:
    for given in ("bm25", ["bm25", {"method": "got", "epsilon": 0.2}], {"method": "random"}):
        assert schema_faults({**RECIPE, "compare": given}) == []
    assert schema_faults(compare(["bm25"]).model_dump(mode="json")) == []
    assert schema_faults({**RECIPE, "compare": [{"method": "bm25", "epsilon": 1}]})


def test_selections_that_differ_after_scoring_share_their_scores() -> None:
    config = compare(
        [{"method": "embed", "combine": "mean"}, {"method": "embed", "compare": "prompt"}]
    )
    selector = config.select
    assert isinstance(selector, Selector)
    own, mean, prompt = (scoring(params) for params in (selector, *config.compare[:2]))
    assert own == mean != prompt


# --- what a run makes of them -----------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> RunFolder:
    folder = tmp_path_factory.mktemp("compared")
    write_inputs(folder)
    given = shared_recipe(folder, tiny, [{"kind": "exact"}]).model_dump(mode="json")
    select = {"method": "embed", "budget": {"rows": 9}}
    compare = ["bm25", {"method": "embed", "combine": "mean"}]
    config = Config.model_validate({**given, "select": select, "compare": compare})
    return open_run(run_curation(config, folder / "run").folder)


def chosen(run: RunFolder, table: str) -> set[str]:
    return set(run.table(table).filter("selected").select("row_id").collect()["row_id"])


def test_every_selection_is_in_the_run_folder(run: RunFolder) -> None:
    names = ["bm25", "embed-2", "random"]
    files = sorted(path.stem for path in (run.path / "evidence" / "compare").iterdir())
    assert files == sorted([*names, *(f"{name}-scores" for name in names)])
    own = chosen(run, "evidence/select")
    overlap = run.table("evidence/comparison-overlap").collect()
    assert overlap.filter(one="embed")["other"].to_list() == names
    for name, shared in overlap.filter(one="embed").select("other", "shared").iter_rows():
        assert shared == len(own & chosen(run, f"evidence/compare/{name}"))
    assert set(run.table("evidence/coverage").collect()["name"]) == {"embed", *names}
    assert [line.split(":")[0] for line in compared_lines(run.path)] == names


def test_what_selections_share_is_made_and_counted_once(run: RunFolder) -> None:
    manifest = orjson.loads((run.path / "manifest.json").read_bytes())
    steps = {stage["stage"]: stage["steps"] for stage in manifest["stages"]}
    assert steps["score-embed"] == steps["select"] == steps["comparison"] == steps["coverage"] == 1
    assert steps["embed"] == 2, "pool and target, for the method, its like and the coverage"
    compared = [name for name in steps if name.split(" ")[0] == "select-compared"]
    assert [steps[name] for name in compared] == [1, 1, 1]


def test_a_row_is_told_where_other_methods_rank_it(run: RunFolder) -> None:
    own = run.table("evidence/select").collect()["row_id"][0]
    lines = explain_row(run, own)
    at = lines.index("By the compared methods")
    for line, name in zip(lines[at + 1 : at + 4], ("bm25", "embed-2", "random"), strict=True):
        ranking_row = (
            run.table(f"evidence/compare/{name}").filter(pl.col("row_id") == own).collect()
        )
        word = "selected" if ranking_row["selected"][0] else "not selected"
        assert line.startswith(f"  {name}: {word}, rank {ranking_row['rank'][0]} ranks ")


def test_a_fault_of_a_compared_method_says_whose_it_is(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path)
    given = shared_recipe(tmp_path, tiny, []).model_dump(mode="json")
    compare = ["random", {"method": "random", "filter": "tokens > 1000000"}]
    with pytest.raises(UserError, match=r"compare\.1 \(random-3\): select.filter: no row meets"):
        run_curation(Config.model_validate({**given, "compare": compare}), tmp_path / "run")


def test_the_estimate_counts_scoring_and_embedding_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.estimate.embedding.embedding_pace", lambda *_: exactly(0.5))
    pool = stored_table(store, "rows", pl.DataFrame(), {"rows_out": 10})
    rds = {"method": "rds", "combine": "global_max"}
    others = [rds, {"method": "rds", "max_length": 10}, {"method": "kcenter", "compare": "prompt"}]
    config = compare([{"method": "rds"}, *others])
    embedding = Embedding(pool, "static")
    base = BaseModel(config, {"pool": pool}, {"pool": [20] * 10})
    base.pace = exactly(1 / 40)
    lines = [*choice_lines(config, 10, base, embedding)]
    assert [line.stage for line in lines] == ["select"] + ["compare"] * 5
    assert [line.tokens for line in lines] == [0, 200, 0, 100, 0, 0]
    assert [line.seconds for line in lines] == [exactly(s) for s in (5.0, 5.0, 0, 2.5, 5.0, 0)]
    assert embedding.seconds(Workload(embedded_rows=10)) == exactly(0)
