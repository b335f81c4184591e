"""Eval sets from documents that generators hold out: the split, the file, the guard, the verdict."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate.cli import main
from curate.config.checks import check_corpora
from curate.config.faults import KeyFault
from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.generate.corpus import CorpusFiles, read_passages
from curate.generate.methods.craft import CraftGenerator
from curate.generate.methods.search_instruct import SearchInstructGenerator
from curate.generate.step import method_source
from curate.pipeline.curation import run_curation
from curate.pool.synthetic import synthetic_sentence
from curate.report.build import write_report
from tests.conftest import frame, row, turns
from tests.generate.scripted import ScriptedEngine, text_of
from tests.generate.test_step import lines

NAMES = [
    "bees",
    "rye",
    "silk",
    "tin",
    "salt",
    "moss",
    "clay",
    "flax",
    "jade",
    "hops",
    "peat",
    "wool",
]
DOCUMENTS = [f"Document {name}: {name} has {len(name) + n} uses." for n, name in enumerate(NAMES)]
TARGET = [("Which river flows through Cologne?", "The Rhine."), ("Where is the Elbe?", "Dresden.")]
POOL = [(f"How many legs have {n} spiders?", f"They have {8 * n} legs.") for n in range(1, 30)]


def reply(call: Any) -> str:
    """Make an example of the passage's words."""
    passage = text_of(call).split(" ---\n")[-1].rsplit("\n", 1)[0]
    name = next(name for name in NAMES if f"Document {name}:" in passage)
    return json.dumps({"prompt": f"What of {name} {name}?", "response": f"So it is: {passage}"})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    scripted = ScriptedEngine([(lambda call: True, reply)])
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: scripted)
    return scripted


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "pool.jsonl").write_text(lines(POOL))
    (tmp_path / "target.jsonl").write_text(lines(TARGET))
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("\n".join(json.dumps({"text": text}) for text in DOCUMENTS))
    held = {"path": str(corpus), "held_out": 0.4}
    return {
        "name": "made",
        "pool": [{"path": str(tmp_path / "pool.jsonl"), "source": "pool"}],
        # The file is yet to be written.
        "target": {"path": str(tmp_path / "target.jsonl"), "eval": str(tmp_path / "eval.jsonl")},
        "generate": {"methods": [{"method": "craft", "corpus": held, "documents": 12}]},
        "stages": ["exact", "leaks"],
        "select": {"method": "random", "budget": {"rows": 3}},
        "store": str(tmp_path / "store"),
    }


def texts_of(path: Path, **held: Any) -> list[str]:
    corpus = CorpusFiles.model_validate({"path": str(path), **held})
    return [passage.text for passage in read_passages(corpus, 100)]


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@given(
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**63 - 1),
    texts=st.lists(st.text("abc ", min_size=1), max_size=20),
)
def test_every_document_is_of_one_part_wherever_it_stands(
    share: float, seed: int, texts: Sequence[str]
) -> None:
    corpus = CorpusFiles(path="c", held_out=share, held_out_seed=seed)
    other = corpus.model_copy(update={"part": "held_out"})
    assert all(corpus.reads(text) is not other.reads(text) for text in texts)
    larger = CorpusFiles(path="d", held_out=share + (1 - share) / 2, held_out_seed=seed)
    assert not any(larger.reads(text) and not corpus.reads(text) for text in texts)
    assert all(CorpusFiles(path="c").reads(text) for text in texts)


def test_the_share_and_the_seed_say_which_documents_are_held_out(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    texts = [f"Text number {number}." for number in range(2_000)]
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    held = texts_of(path, held_out=0.2, part="held_out")
    assert abs(len(held) - 400) < 4 * (2_000 * 0.2 * 0.8) ** 0.5
    assert sorted([*held, *texts_of(path, held_out=0.2)]) == sorted(texts)
    assert set(held) != set(texts_of(path, held_out=0.2, held_out_seed=1, part="held_out"))
    path.write_text("\n".join(json.dumps({"text": text}) for text in reversed(texts)))
    assert texts_of(path, held_out=0.2, part="held_out") == held[::-1]
    path.write_text(json.dumps({"text": "One."}))
    with pytest.raises(UserError, match=r"no document is (held out|kept) with held_out: 0.5"):
        texts_of(path, held_out=0.5), texts_of(path, held_out=0.5, part="held_out")


def test_what_is_held_out_is_in_the_identity_and_nothing_else_moves_it(
    recipe: dict[str, Any],
) -> None:
    def identity(**held: Any) -> dict[str, Any]:
        path = recipe["generate"]["methods"][0]["corpus"]["path"]
        params = CraftGenerator.model_validate({"corpus": {"path": path, **held}})
        return method_source(params.model_dump(mode="json"), None).identity

    assert set(identity()) == {"params", "files", "prompts", "version"}
    assert identity(held_out=0.2)["held_out"] == [[0.2, 0, "kept"]]
    assert identity(held_out=0.2, held_out_seed=1) != identity(held_out=0.2)


@pytest.mark.system
def test_no_held_out_document_makes_a_row_of_the_pool(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path
) -> None:
    result = curate.evalset(recipe, tmp_path / "eval.jsonl")
    records = written(result.path)
    eval_calls = len(engine.calls)
    assert result.rows == len(records) == eval_calls
    assert 0 < eval_calls < len(DOCUMENTS)
    assert [record["messages"][0]["role"] for record in records] == ["user"] * eval_calls
    mark = {
        "writer": "scripted",
        "engine": "scripted",
        "method": "craft",
        "held_out": 0.4,
        "seed": 0,
    }
    assert all(record["synthetic"].items() >= mark.items() for record in records)
    assert result.documents == len(
        {name for record in records for name in record["synthetic"]["documents"]}
    )
    run = run_curation(Config.model_validate(recipe), tmp_path / "run")
    requests_for_pool = [text_of(call) for call in engine.calls[eval_calls:]]
    assert len(requests_for_pool) == len(DOCUMENTS) - eval_calls
    held = [next(n for n in NAMES if n in record["messages"][0]["content"]) for record in records]
    assert not any(f"Document {name}:" in text for name in held for text in requests_for_pool)
    ledger = pl.read_parquet(run.folder / "ledger.parquet")
    assert ledger.filter(source="generated").height == len(DOCUMENTS) - eval_calls
    # Written once more it is the same file, and nothing is paid for.
    before = result.path.read_bytes()
    assert curate.evalset(recipe, tmp_path / "eval.jsonl").path.read_bytes() == before
    assert len(engine.calls) == len(DOCUMENTS)


@pytest.mark.system
def test_a_row_of_the_pool_with_a_prompt_of_it_is_dropped(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path
) -> None:
    records = written(curate.evalset(recipe, tmp_path / "eval.jsonl").path)
    prompt = records[0]["messages"][0]["content"]
    (tmp_path / "pool.jsonl").write_text(lines([*POOL, (prompt, "It is another answer.")]))
    run = run_curation(Config.model_validate(recipe), tmp_path / "run")
    ledger = pl.read_parquet(run.folder / "ledger.parquet")
    assert ledger.filter(stage="leaks")["row_id"].to_list() == [f"pool/pool.jsonl:{len(POOL) + 1}"]


@pytest.mark.system
def test_the_verdict_and_the_report_say_that_it_is_synthetic(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path, tiny: Path
) -> None:
    curate.evalset(recipe, tmp_path / "eval.jsonl")
    recipe["models"] = {"base": str(tiny), "dtype": "float32"}
    recipe["prove"] = {"draws": 3, "lora": {"rank": 2, "epochs": 1}}
    run = run_curation(Config.model_validate(recipe), tmp_path / "run")
    proof = orjson.loads((run.folder / "proof.json").read_bytes())
    said = "The eval set is synthetic: all"
    assert said in proof["sentence"]
    assert "by scripted from documents that were held out" in proof["synthetic"]
    assert said in write_report(run.folder).read_text()
    assert said in (run.folder / "export" / "README.md").read_text()


def test_what_a_verdict_says_of_synthetic_rows() -> None:
    plain = [row("a", turns("x", "y")), row("b", turns("z", "y"), meta='{"synthetic": true}')]
    marked = row("c", turns("w", "y"), meta='{"synthetic": {"writer": "qwen3", "held_out": 0.2}}')
    assert synthetic_sentence(frame(plain)) is None
    sentence = synthetic_sentence(frame([*plain, marked]))
    assert sentence is not None
    assert sentence.startswith(
        "The eval set is partly synthetic: 1 of 3 examples were written by qwen3"
    )


def test_the_command_line(
    engine: ScriptedEngine,
    recipe: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = tmp_path / "recipe.yaml", tmp_path / "eval.jsonl"
    path.write_text(json.dumps(recipe))
    monkeypatch.setattr(sys, "argv", ["curate", "evalset", str(path), "--out", str(out)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    said = capsys.readouterr().out
    count = len(written(out))
    assert f"eval.jsonl: {count} examples from {count} held-out documents" in said
    assert "A proof wants some 100 examples" in said
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["path"], record["rows"], record["documents"]) == (str(out), count, count)
    assert len(record["lines"]) == 1


def test_what_it_asks_at_most_is_said_before_it_asks(
    engine: ScriptedEngine,
    recipe: dict[str, Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "curate"):
        curate.evalset(recipe, tmp_path / "eval.jsonl")
    places = [m.startswith("evalset: craft asks at most 12 calls") for m in caplog.messages]
    kept = [": craft: " in m for m in caplog.messages]
    assert places.index(True) < kept.index(True)


@pytest.mark.parametrize(("other", "message"), [
    ({"held_out": 0.6}, "of another method, corpus or held-out part"),
    ({}, "has other examples than this recipe writes now"),
])  # fmt: skip
def test_an_eval_set_that_is_there_is_not_lost(
    engine: ScriptedEngine,
    recipe: dict[str, Any],
    tmp_path: Path,
    other: dict[str, Any],
    message: str,
) -> None:
    out = tmp_path / "eval.jsonl"
    curate.evalset(recipe, out)
    before, count = out.read_bytes(), len(engine.calls)
    recipe["generate"]["methods"][0]["corpus"] |= other
    recipe |= {} if other else {"seed": 7}
    if not other:
        out.write_bytes(before.splitlines(keepends=True)[0])
        before = out.read_bytes()
    with pytest.raises(UserError, match=message):
        curate.evalset(recipe, out)
    assert out.read_bytes() == before
    assert (len(engine.calls) == count) is bool(other)


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ({"held_out": 0.2, "part": "held_out"}, "`curate evalset` alone reads what is held out"),
        ({"held_out": 1}, "less than 1"),
    ],
)
def test_faults_of_a_recipe(
    recipe: dict[str, Any], tmp_path: Path, corpus: dict[str, Any], message: str
) -> None:
    recipe["generate"]["methods"][0]["corpus"] |= corpus
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    with pytest.raises(UserError, match=message):
        load_config(path)


def test_methods_that_hold_out_other_documents_of_a_corpus_are_a_fault(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    path = recipe["generate"]["methods"][0]["corpus"]["path"]
    recipe["generate"]["methods"].append({"method": "search_instruct", "corpus": path})
    written_recipe = tmp_path / "recipe.yaml"
    written_recipe.write_text(json.dumps(recipe))
    with pytest.raises(UserError, match="give both the same held_out and held_out_seed"):
        load_config(written_recipe)


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ("docs/", "docs/*.md", False),
        ("docs", "./docs/", False),
        ("docs/bees.md", "docs/**", False),
        ("s3://bucket/docs/", "s3://bucket/docs/*.md", False),
        ("docs/", "documents/", True),
        ("docs/a.md", "docs/b.md", True),
        ("s3://bucket/docs/", "s3://other/docs/", True),
    ],
)
def test_a_corpus_is_the_same_however_its_path_is_written(
    first: str, second: str, apart: bool
) -> None:
    methods = [
        CraftGenerator.model_validate({"corpus": {"path": first, "held_out": 0.2}}),
        SearchInstructGenerator.model_validate({"corpus": second}),
    ]
    with nullcontext() if apart else pytest.raises(KeyFault, match="holds out other documents"):
        check_corpora(methods)


def test_the_mark_names_a_model_of_this_process_and_whole_documents(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A model in this process is identified by its weights, not by a name.
    monkeypatch.setattr(engine, "identity", lambda: {"engine": "transformers", "weights": "1f"})
    path = recipe["generate"]["methods"][0]["corpus"]["path"]
    recipe["generate"]["methods"][0]["corpus"]["path"] = path.replace("corpus", "c#")
    Path(path).rename(path.replace("corpus", "c#"))
    recipe["models"] = {"base": "smollm2-135m"}
    records = written(curate.evalset(recipe, tmp_path / "eval.jsonl").path)
    assert {record["synthetic"]["writer"] for record in records} == {"smollm2-135m"}
    assert all(
        name.startswith("corpus/c#.jsonl:")
        for record in records
        for name in record["synthetic"]["documents"]
    )


@pytest.mark.parametrize("content", [
    lines(TARGET),
    '{"prompt": "Is it?", "response": "No.", "synthetic": true}',
    '{"prompt": "Is it?", "response": "No.", "meta": {"synthetic": {"writer": "qwen3"}}}',
    '[{"prompt": "Is it?", "response": "No.", "synthetic": {}}',
    "",
])  # fmt: skip
def test_a_file_of_somebody_else_stays(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path, content: str
) -> None:
    (tmp_path / "eval.jsonl").write_text(content)
    with pytest.raises(UserError, match="is no eval set that was written here"):
        curate.evalset(recipe, tmp_path / "eval.jsonl")
    assert (tmp_path / "eval.jsonl").read_text() == content
    assert not engine.calls


def test_a_recipe_that_holds_nothing_out(
    engine: ScriptedEngine, recipe: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"a name that ends in \.jsonl"):
        curate.evalset(recipe, tmp_path / "eval.json")
    recipe["generate"]["methods"][0]["corpus"].pop("held_out")
    with pytest.raises(UserError, match="no generator of the recipe holds documents out"):
        curate.evalset(recipe, tmp_path / "new.jsonl")
    assert not engine.calls
