"""Stage ablation in a whole run: what is selected without a stage, and from which scores."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.store import Store
from curate.pipeline.ablation import evidence, with_descendants
from curate.pipeline.curation import run_curation, run_steps
from curate.pipeline.proof import ablated_selections
from curate.pipeline.run import Run, RunResult
from tests.conftest import row, stored_rows, stored_table, turns
from tests.generate.serverruns import good_act, recipe_of
from tests.llm.engines.fakeserver import FakeServer
from tests.proof.test_together import recipe

pytestmark = pytest.mark.system

WORDS = (
    "river",
    "tree",
    "stone",
    "bird",
    "cloud",
    "lamp",
    "field",
    "house",
    "song",
    "paper",
    "glass",
)
STAGES: list[Any] = ["exact", "rules", "fuzzy", "leaks"]


def text(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


def ablating(root: Path, model: Path, stages: Sequence[Any] = STAGES, **changed: Any) -> Config:
    """Return a recipe on a pool with equal, similar, declining and leaking rows."""
    rng = random.Random(0)
    rows = [turns(f"Tell me {text(rng, 6)}", f"It is {text(rng, 12)}") for _ in range(30)]
    evals = [turns(f"Which {text(rng, 10)} was it", f"It was {text(rng, 5)}") for _ in range(4)]
    similar = [turns(r[0]["content"], f"{r[1]['content']} indeed") for r in rows[:8]]
    # Two of those that rules drops would leak.
    prompts = [evals[0][0]["content"], evals[1][0]["content"], *(text(rng, 3) for _ in range(4))]
    declining = [turns(prompt, f"I cannot help with {prompt}.") for prompt in prompts]
    given = recipe(root, model, draws=2, seeds=1, written=0, ablate=True)
    texts = {"pool": [*rows, *rows[4:9], *similar, *declining], "target": rows[:3], "eval": evals}
    for name, messages in texts.items():
        lines = [json.dumps({"messages": m}) for m in messages]
        (root / f"{name}.jsonl").write_text("\n".join(lines))
    given |= {"stages": [*stages], "select": {"method": "rds", "budget": 10, "max_length": 192}}
    given["models"]["embedder"] = "static"
    given["prove"]["lora"]["max_length"] = 192
    return Config.model_validate(given | changed)


def run(root: Path, config: Config, name: str = "run") -> RunResult:
    return run_curation(config, root / name)


def stages_of(result: RunResult) -> dict[str, dict[str, Any]]:
    assert result.proof is not None
    return {line["stage"]: line for line in result.proof["ablation"]["stages"]}


def selected(ranking: Table) -> list[str]:
    rows = ranking.read().filter("selected")
    return [str(row_id) for row_id in rows["row_id"]]


def selecting(config: Config) -> Run:
    """Return a run that has selected; without its proof, where a test asks for `no_proof`."""
    store = Store(Path(config.store))
    run = Run(config, store, lambda steps: [store.ensure(step) for step in steps])
    run_steps(run)
    return run


@pytest.fixture
def no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.pipeline.curation.prove_selections", lambda run: None)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ablation")


@pytest.fixture(scope="module")
def ablated(root: Path, tiny: Path) -> RunResult:
    return run(root, ablating(root, tiny))


def test_every_stage_has_a_line_with_what_it_did(ablated: RunResult) -> None:
    lines = stages_of(ablated)
    assert [*lines] == ["exact", "rules", "fuzzy", "leaks"]
    counts = {name: (line["dropped"], line["back"]) for name, line in lines.items()}
    # Equal rows are similar ones; of what rules drops leaks would drop two.
    assert counts == {"exact": (5, 0), "rules": (6, 4), "fuzzy": (8, 8), "leaks": (0, 0)}
    assert "later stages drop what it drops" in lines["exact"]["note"]
    assert "so it stays" in lines["leaks"]["note"]
    assert lines["fuzzy"]["earned"] is not None
    assert [*ablated.manifest["ablation"]] == [*sorted(lines)]
    assert all(spent["seconds"] >= 0 for spent in ablated.manifest["ablation"].values())


@pytest.mark.parametrize(
    "select",
    [
        # Its words are counted in all rows that are there, so that it scores anew.
        {"method": "dsir", "budget": 10},
        {"method": "perplexity", "budget": 10, "max_length": 192},
        {"method": "embed", "budget": {"tokens": 1200}, "diversity": {"most": 0.95}},
    ],
)
def test_without_a_stage_it_selects_what_the_recipe_without_it_selects(
    tmp_path: Path, tiny: Path, no_proof: None, select: dict[str, Any]
) -> None:
    own = selecting(ablating(tmp_path, tiny, select=select))
    rankings = {stage.stage: stage.ranking for stage in ablated_selections(own)}
    changed = 0
    for place, stage in enumerate(["exact", "rules", "fuzzy"]):
        stages = [*STAGES[:place], *STAGES[place + 1 :]]
        other = selecting(ablating(tmp_path, tiny, stages, select=select))
        expected = selected(next(iter(other.selections.values())).ranking)
        ranking = rankings[stage]
        assert selected(ranking or next(iter(own.selections.values())).ranking) == expected
        changed += ranking is not None
    assert changed == 2


def test_no_row_is_scored_twice(ablated: RunResult) -> None:
    steps = {entry["stage"]: entry for entry in ablated.manifest["stages"]}
    back = sum(line["back"] for line in stages_of(ablated).values())
    for name in ("index", "score-rds", "tokens"):
        assert steps[f"{name} (ablate)"]["rows_in"] == back
        assert steps[f"{name} (ablate)"]["steps"] == 1


def test_a_second_run_does_nothing_anew_and_says_the_same(
    ablated: RunResult, root: Path, tiny: Path
) -> None:
    proof = (ablated.folder / "proof.json").read_bytes()
    again = run(root, ablating(root, tiny))
    assert all(stage["cached"] == stage["steps"] for stage in again.manifest["stages"])
    assert (again.folder / "proof.json").read_bytes() == proof


def test_leaking_rows_that_come_back_are_dropped_by_the_stage_for_them(
    tmp_path: Path, tiny: Path, no_proof: None
) -> None:
    given = {"select": {"method": "random", "budget": 100}}
    leaks: dict[bool, int] = {}
    for guarded in (True, False):
        run = selecting(ablating(tmp_path, tiny, STAGES if guarded else STAGES[:-1], **given))
        rows = run.rows.read()
        prompts = rows.select("row_id", prompt=pl.col("messages").list.first().struct["content"])
        leaking = prompts.filter(pl.col("prompt").str.starts_with("Which "))["row_id"]
        assert len(leaking) == 2
        ranking = next(s.ranking for s in ablated_selections(run) if s.stage == "rules")
        assert ranking is not None
        leaks[guarded] = len({*leaking} & {*selected(ranking)})
    # Without that stage the proof finds them (tests/proof/test_ablation.py).
    assert leaks == {True: 0, False: 2}


def test_stages_that_run_a_model_judge_nothing_anew_and_keep_their_scores(
    tmp_path: Path, tiny: Path, no_proof: None
) -> None:
    stages = ["exact", {"kind": "confidence", "drop": 0.2, "max_length": 192}, "fuzzy", "leaks"]
    select = {"method": "random", "budget": 10, "filter": "confidence.score > -100"}
    run = selecting(ablating(tmp_path, tiny, stages, select=select))
    before = [a.name for a in run.artifacts]
    lines = {stage.stage: stage for stage in ablated_selections(run)}
    anew = [a.name for a in run.artifacts][len(before) :]
    assert any(name.startswith("confidence") for name in before)
    assert not any(name.startswith("confidence") for name in anew)
    assert lines["exact"].unjudged == ["confidence"]
    assert lines["fuzzy"].unjudged == []
    assert lines["confidence"].ranking is not None, "a condition still knows its scores"


def test_rows_that_were_made_go_with_all_that_was_made_of_them(tmp_path: Path) -> None:
    rows = [
        row("a", turns("a", "b")),
        row("made", turns("c", "d")),
        row("of-made", turns("e", "f")),
    ]
    rows[1] |= {"parents": ["a"]}
    rows[2] |= {"parents": ["made"]}
    pool = stored_rows(Store(tmp_path), "pool", rows)
    gone = with_descendants(pool, pl.Series(["made"]))
    assert gone.to_list() == ["made", "of-made"]


@pytest.mark.parametrize("count", [0, 1])
def test_left_out_are_the_drops_of_a_stage_and_the_rows_that_it_made(
    tmp_path: Path, count: int
) -> None:
    """Also of a stage that could have made rows and made none."""
    store = Store(tmp_path)
    pool = stored_rows(store, "pool", [row(i, turns(i, "x")) for i in ("a", "b", "new")])
    verdicts = pl.DataFrame(
        {
            "row_id": ["a", "b"],
            "keep": [True, False],
            "reason": [None, "corrected"],
            "score": [1, 2],
        }
    )
    rows = stored_rows(store, "made", [row("new", turns("new", "x"))][:count])
    spared = evidence(pool, stored_table(store, "evidence", verdicts), rows).result
    assert spared["keep"].to_list() == [True, True, False][: 2 + count]
    assert spared["score"].to_list() == [1, 2, None][: 2 + count]


@pytest.mark.parametrize("stages", [[], ["leaks"], ["leaks", "pii"]])
def test_a_recipe_without_a_stage_to_leave_out_is_refused(
    tmp_path: Path, tiny: Path, stages: list[str]
) -> None:
    with pytest.raises((UserError, ValueError), match="there is no stage to leave out"):
        ablating(tmp_path, tiny, stages)


def test_rows_of_a_generator_are_left_out_together_and_no_model_is_asked_again(
    tmp_path: Path, tiny: Path
) -> None:
    with FakeServer(lambda body, number: good_act(body)) as server:
        given = recipe_of("generate", tmp_path, tiny, server.url)
        rubric = recipe_of("rubric", tmp_path, tiny, server.url)["stages"][0]
        evals = [json.dumps({"messages": turns(f"Which bird {i}?", f"The {i}")}) for i in range(4)]
        (tmp_path / "eval.jsonl").write_text("\n".join(evals))
        lora = {"epochs": 1, "rank": 2, "max_length": 192}
        given |= {
            "target": {"path": given["target"], "eval": str(tmp_path / "eval.jsonl")},
            "stages": ["exact", rubric],
            "select": {"method": "length", "budget": 4},
            "prove": {"ablate": True, "draws": 2, "seeds": 1, "written": 0, "lora": lora},
        }
        result = run(tmp_path, Config.model_validate(given))
    calls = {s["stage"]: s["llm"]["calls"] for s in result.manifest["stages"] if s["llm"]["calls"]}
    assert {*calls} == {"generate", "rubric-grades"}
    lines = stages_of(result)
    assert [*lines] == ["generate", "exact", "rubric"]
    assert lines["generate"]["new_rows"] > 0
    assert lines["generate"]["back"] == 0
    assert lines["generate"]["earned"] is not None
    assert result.manifest["ablation"]["generate"]["calls"] == calls["generate"]
    assert result.ablated[0].startswith("generate: earned")
    rows = pl.read_parquet(result.folder / "evidence/proof-ablation-rows.parquet")
    pool = rows.filter(arm="generate")["row_id"]
    assert len(pool) == 4
    assert pool.str.starts_with("pool").all()


def test_without_the_marks_by_hand_no_row_is_pinned(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = stored_rows(store, "pool", [row(name, turns("q", "a")) for name in "ab"])
    verdicts = stored_table(
        store,
        "evidence",
        pl.DataFrame(
            {"row_id": ["a", "b"], "keep": [True, False], "pinned": [True, False]}
        ).with_columns(reason=pl.lit("marked_by_hand")),
    )
    spared = evidence(rows, verdicts, None).result
    assert spared["keep"].all()
    assert "pinned" not in spared.columns
