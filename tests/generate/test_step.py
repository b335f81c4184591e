"""Generation inside a run: what joins the pool, what is written down, keys, limits, faults."""

from __future__ import annotations

import json
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.generate.candidates import REJECT_REASONS_EXPLAINED, RejectReason
from curate.pipeline.curation import run_curation
from curate.pipeline.run import RunResult
from curate.report.build import write_report
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from tests.conftest import CHATML
from tests.generate.scripted import ScriptedEngine, text_of
from tests.llm.test_prompts import write

pytestmark = pytest.mark.usefixtures("no_report")
POOL = [("How many legs has a spider?", "Eight."), ("What makes bread rise?", "Yeast does.")]
TARGET = [("Which river flows through Cologne?", "The Rhine."), ("Where is the Elbe?", "Dresden.")]
DOCUMENTS = [
    "The Rhine flows through Cologne and Bonn to the sea.",
    "Worker bees live for six weeks in summer.",
    "Bread rises when yeast makes gas.",
    "A spider makes silk with which it catches flies.",
]


def reply(call: Any) -> str:
    """Make an example of the passage's words; a refusal of the one on bees."""
    passage = text_of(call).split(" ---\n")[-1].rsplit("\n", 1)[0]
    answer = "I'm sorry, I cannot." if "bees" in passage else f"So it is: {passage}"
    return json.dumps({"prompt": f"Tell about: {passage}", "response": answer})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    scripted = ScriptedEngine([(lambda call: True, reply)])
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: scripted)
    return scripted


def lines(pairs: list[tuple[str, str]]) -> str:
    return "\n".join(json.dumps({"prompt": p, "completion": c}) for p, c in pairs)


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "pool.jsonl").write_text(lines(POOL))
    (tmp_path / "target.jsonl").write_text(lines(TARGET))
    (tmp_path / "corpus.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in DOCUMENTS))
    craft = {"method": "craft", "corpus": str(tmp_path / "corpus.jsonl"), "documents": 4}
    return {
        "name": "made",
        "pool": [{"path": str(tmp_path / "pool.jsonl"), "source": "pool"}],
        "target": str(tmp_path / "target.jsonl"),
        "generate": {"methods": [craft]},
        "select": {"method": "random", "budget": {"rows": 3}},
        "store": str(tmp_path / "store"),
    }


def run(recipe: dict[str, Any], tmp_path: Path, name: str = "run") -> RunResult:
    return run_curation(Config.model_validate(recipe), tmp_path / name, overwrite=True)


def stage(result: RunResult, name: str) -> dict[str, Any]:
    return next(entry for entry in result.manifest["stages"] if entry["stage"] == name)


def test_made_rows_join_the_pool_with_their_lineage(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path
) -> None:
    result = run(recipe, tmp_path)
    ledger = pl.read_parquet(result.folder / "ledger.parquet")
    generated = ledger.filter(source="generated")
    assert ledger.height == len(POOL) + 3
    assert generated["origin"].to_list() == ["craft"] * 3
    candidates = pl.read_parquet(result.folder / "generated/candidates.parquet")
    assert candidates.height == 4
    assert (
        candidates.filter(pl.col("flaw").is_null())["row_id"].to_list()
        == generated["row_id"].to_list()
    )
    assert candidates["flaw"].drop_nulls().to_list() == ["refused"]
    rows = open_run(result.folder).rows("pool")
    assert rows is not None
    first = rows.filter(source="generated").collect().row(0, named=True)
    assert (first["method"], first["hop"]) == ("craft", 1)
    assert any(parent.startswith("corpus/corpus.jsonl:") for parent in first["parents"])
    assert write_report(result.folder) == result.report


def test_the_bill_is_in_the_manifest(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path
) -> None:
    result = run(recipe, tmp_path)
    summary = stage(result, "generate")
    assert summary["llm"]["calls"] == len(engine.calls) == 4
    assert summary["llm"]["tokens"] > 0
    assert summary["methods"] == {"craft": {"made": 4, "kept": 3, "dropped": {"refused": 1}}}
    bill = orjson.loads((result.folder / "generated/bill.json").read_bytes())
    assert bill["bill"]["total"]["calls"] == 4


def test_an_engine_that_no_method_asks_is_not_loaded(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe's engine lacks its key; the generator has engines of its own."""
    loaded = []

    def load(params: Any, models: Any) -> ScriptedEngine:
        loaded.append(params.model)
        return ScriptedEngine([("", "It is the Rhine.")])

    def server(model: str) -> dict[str, Any]:
        return {"kind": "openai", "model": model, "endpoints": [{"url": "http://localhost:9/v1"}]}

    monkeypatch.setattr("curate.llm.engines.load_engine", load)
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": "Which river is it?"}))
    method = {"method": "answer", "engines": [server("a"), server("b")], "samples": 2}
    recipe |= {
        "prompts": str(tmp_path / "prompts.jsonl"),
        "generate": {"engine": server("unasked"), "methods": [method]},
    }
    result = run(recipe, tmp_path)
    assert loaded == ["a", "b"]
    bill = orjson.loads((result.folder / "generated/bill.json").read_bytes())
    assert bill["own_engines"] == ["a", "b"]
    page = write_report(result.folder).read_text()
    assert "no model was asked" not in page and "Engines of the methods' own" in unescape(page)


def test_an_identical_run_asks_nothing_and_an_added_row_pays_for_nothing_twice(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path
) -> None:
    run(recipe, tmp_path)
    again = run(recipe, tmp_path, "again")
    assert stage(again, "generate")["cached"] == 1
    assert len(engine.calls) == 4
    (tmp_path / "pool.jsonl").write_text(lines([*POOL, ("Name a river of France.", "The Loire.")]))
    more = run(recipe, tmp_path, "more")
    assert stage(more, "generate")["cached"] == 0
    assert len(engine.calls) == 4, "the answers are stored, whatever else changes"


def test_the_key_holds_what_files_say_and_not_where_they_lie(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path
) -> None:
    run(recipe, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "corpus.jsonl"
    (tmp_path / "corpus.jsonl").rename(moved)
    recipe["generate"]["methods"][0]["corpus"] = str(moved)
    assert stage(run(recipe, tmp_path), "generate")["cached"] == 1
    moved.write_text(moved.read_text().replace("Bonn", "Mainz"))
    assert stage(run(recipe, tmp_path), "generate")["cached"] == 0
    prompts = tmp_path / "prompts"
    write(prompts / "craft" / "write.j2", "=== user\n{{ task }} {{ passage }}\n")
    recipe["generate"]["prompts"] = str(prompts)
    try:
        run(recipe, tmp_path)
    except UserError as error:
        assert "write.j2" in str(error)
    else:
        assert len(engine.calls) > 4


def test_a_limit_ends_it_with_what_is_kept(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe["generate"]["limits"] = {"calls": 2}
    summary = stage(run(recipe, tmp_path), "generate")
    assert len(engine.calls) == 2
    assert "limit of 2 calls is reached" in summary["stopped"]["craft"]
    assert summary["methods"]["craft"]["kept"] >= 1


def test_nothing_kept_is_a_sentence(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path
) -> None:
    engine.rules = [(lambda call: True, '{"prompt": "Why so?", "response": "As an AI model, no."}')]
    with pytest.raises(UserError, match=r"no candidate was kept \(.*use a larger model"):
        run(recipe, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": [{"method": "crft"}]}, "generate.methods.0"),
        ({"methods": []}, "generate.methods"),
        ({"methods": [{"method": "craft"}]}, "corpus"),
        ({"engine": {"kind": "cloud"}, "methods": [{"method": "aide"}]}, "generate.engine"),
        ({"methods": [{"method": "aide"}, {"method": "aide"}]}, "stands here twice"),
    ],
)
def test_faults_in_the_recipe_name_their_place(
    recipe: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({**recipe, "generate": change}))
    with pytest.raises(UserError) as error:
        load_config(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("method", "instead"),
    [
        ({"method": "craft", "corpus": "c"}, "$"),
        ({"method": "refine"}, ", or `start: pool`"),
        ({"method": "taxonomy"}, ", or `subjects`"),
    ],
)
def test_a_method_that_needs_a_target_says_so(
    recipe: dict[str, Any], tmp_path: Path, method: dict[str, Any], instead: str
) -> None:
    path = tmp_path / "recipe.yaml"
    without = {k: v for k, v in recipe.items() if k != "target"}
    path.write_text(json.dumps({**without, "generate": {"methods": [method]}}))
    message = f"'{method['method']}' needs target examples: give `target`{instead}"
    with pytest.raises(UserError, match=message):
        load_config(path)


@pytest.mark.parametrize(
    "method", [{"method": "refine", "start": "pool"}, {"method": "taxonomy", "subjects": ["tides"]}]
)
def test_a_method_that_can_do_without_a_target_does(
    recipe: dict[str, Any], tmp_path: Path, method: dict[str, Any]
) -> None:
    path = tmp_path / "recipe.yaml"
    without = {k: v for k, v in recipe.items() if k != "target"}
    path.write_text(json.dumps({**without, "generate": {"methods": [method]}}))
    assert load_config(path).target is None


def test_a_row_is_explained_by_its_lineage_and_a_candidate_by_its_flaw(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path
) -> None:
    folder = open_run(run(recipe, tmp_path).folder)
    candidates = folder.table("generated/candidates").collect()
    kept = candidates.filter(pl.col("flaw").is_null())["row_id"][0]
    lines = explain_row(folder, kept)
    assert lines[lines.index("Lineage") + 1].startswith("  made by craft, hop 1")
    assert any(line.startswith("  from corpus/corpus.jsonl:") for line in lines)
    dropped = candidates.filter(flaw="refused")["row_id"][0]
    assert explain_row(folder, dropped)[2].startswith(
        "dropped as it was made: it is a refusal (I'm sorry"
    )


def test_every_flaw_is_explained() -> None:
    assert set(REJECT_REASONS_EXPLAINED) == set(RejectReason)


def test_rows_that_the_base_models_template_refuses_are_dropped_in_the_generators_books(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path, tiny: Path
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "strict"))
    strict = (
        "{% for m in messages %}{% if 'spider' in m['content'] and loop.length == 2 %}"
        "{{ raise_exception('no spiders') }}{% endif %}{% endfor %}"
    )
    (folder / "chat_template.jinja").write_text(strict + CHATML)
    recipe["models"] = {"base": str(folder), "dtype": "float32"}
    (tmp_path / "pool.jsonl").write_text(lines(POOL[1:]))
    recipe["select"] = {"method": "random", "budget": {"tokens": 500}}
    result = run(recipe, tmp_path)
    candidates = pl.read_parquet(result.folder / "generated/candidates.parquet")
    refused = candidates.filter(flaw="template_refused")
    assert refused["detail"].to_list() == ["no spiders"]
    assert stage(result, "generate")["methods"]["craft"] == {
        "made": 4, "kept": 2, "dropped": {"refused": 1, "template_refused": 1},
    }  # fmt: skip
    assert not (result.folder / "evidence/template.parquet").exists()
    said = "\n".join(explain_row(open_run(result.folder), refused["row_id"][0]))
    assert "refused by the base model's chat template" in said
    recipe["select"] = {"method": "random", "budget": {"rows": 2}}
    unread = run(recipe, tmp_path, "unread")
    assert stage(unread, "generate")["methods"]["craft"]["kept"] == 3
