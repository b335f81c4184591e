"""Plans: what they select is what a fresh run with the same section selects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.runs.folder import RunFolder, open_run
from curate.runs.plan import plan_selection
from curate.runs.summaries import plan_lines, plan_record
from curate.view.whatif import plan_answer
from tests.report.realrun import finish, shared_recipe, write_inputs

COMPARE: list[dict[str, Any]] = [
    {"method": "bm25"},
    {"method": "length", "order": "shortest", "diversity": {"most": 0.7}},
    {"method": "embed", "compare": "prompt"},
]
STAGES: list[dict[str, Any]] = [{"kind": "exact"}]
SELECT: dict[str, Any] = {
    "method": "embed",
    "budget": {"rows": 20},
    "diversity": {"most": 0.97},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planned")
    write_inputs(path)
    return path


def selecting(
    folder: Path, model: Path, select: dict[str, Any], compare: Sequence[dict[str, Any]] = ()
) -> Config:
    given = shared_recipe(folder, model, STAGES).model_dump(mode="json")
    return Config.model_validate({**given, "select": select, "compare": list(compare)})


@pytest.fixture(scope="module")
def run(folder: Path, tiny: Path) -> RunFolder:
    return open_run(finish(selecting(folder, tiny, SELECT, COMPARE), folder / "run"))


@pytest.mark.parametrize(
    ("budget", "overrides", "select"),
    [
        ("rows=7", [], {"budget": {"rows": 7}}),
        ("tokens=900", [], {"budget": {"tokens": 900}}),
        ("fraction=0.1", ["combine=mean"], {"budget": {"fraction": 0.1}, "combine": "mean"}),
        (None, ["filter=tokens < 200"], {"filter": "tokens < 200"}),
        (None, ["filter=exact.score = 0 AND source IN ('web')"],
         {"filter": "exact.score = 0 AND source IN ('web')"}),
        (None, ["shares=[{by: source, most: 0.5}]"], {"shares": [{"by": "source", "most": 0.5}]}),
        (None, ["diversity={most: 0.85}"], {"diversity": {"most": 0.85}}),
        (None, ["diversity=null"], {"diversity": None}),
        (None, ["method=bm25"], {"method": "bm25"}),
        ("rows=9", ["method=bm25", "combine=mean"],
         {"method": "bm25", "combine": "mean", "budget": {"rows": 9}}),
        (None, ["method=length", "order=shortest"],
         {"method": "length", "order": "shortest", "diversity": {"most": 0.7}}),
        (None, ["compare=prompt"], {"compare": "prompt"}),
        (None, ["method=embed-2", "combine=mean"], {"compare": "prompt", "combine": "mean"}),
        (None, ["method=random"], {"method": "random"}),
    ],
)  # fmt: skip
def test_a_plan_selects_what_a_run_would(
    run: RunFolder,
    folder: Path,
    tiny: Path,
    budget: str | None,
    overrides: list[str],
    select: dict[str, Any],
) -> None:
    planned = plan_selection(run, budget, overrides)
    fresh = selecting(folder, tiny, {**SELECT, **select})
    again = open_run(finish(fresh, folder / "again")).table("evidence/select").collect()
    selected_ids = again.filter("selected")["row_id"].to_list()
    assert planned.ranking.filter("selected")["row_id"].to_list() == selected_ids
    assert planned.ranking["reason"].to_list() == again["reason"].to_list()
    assert planned.rows == len(selected_ids) > 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["compare=response"], "holds no scores for another compare"),
        (["method=bm25", "k1=2"], "holds no scores for another k1"),
        (["method=got"], "holds evidence for 'embed' and 'bm25' .*, not for 'got'"),
        (["method=bm52"], "unknown method 'bm52'"),
        (["method=embed-2", "compare=example"], "holds no scores for another compare"),
        (["diversity={most: 0.5}"], "holds pairs from 0.[78] on"),
        (["diversity={most: 0.9, embedder: minilm}"], "run the recipe with"),
        (["filter=fuzzy.score < 1"], "nothing is named 'fuzzy'"),
        (["colour=1"], "unknown key"),
    ],
)
def test_what_needs_a_run_is_refused(run: RunFolder, overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan_selection(run, None, overrides)


def test_a_random_plan_needs_no_scores(folder: Path, tiny: Path) -> None:
    run = open_run(finish(selecting(folder, tiny, SELECT), folder / "alone"))
    planned = plan_selection(run, "rows=5", ["method=random"])
    assert planned.rows == 5


def test_tokens_that_a_run_did_not_count_are_left_out(folder: Path, tiny: Path) -> None:
    random = {"method": "random", "budget": {"rows": 8}}
    run = open_run(finish(selecting(folder, tiny, random), folder / "uncounted"))
    planned = plan_selection(run, "rows=5")
    assert planned.tokens is plan_record(planned)["tokens"] is None
    assert plan_lines(planned)[0] == "5 rows (5 rows)"
    answer = plan_answer(run, "rows=5", [])
    assert answer.selection.tokens is answer.selection.run_tokens is None
