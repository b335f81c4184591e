"""Tags: what is asked, common names by rule and meaning, a floor that moves, rows without tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.section import DataTable
from curate.core.store import Store
from curate.judge.tagnames import link_tags, rule_form, tag_names
from curate.judge.tags import frequent_tags
from curate.pipeline.curation import run_curation
from tests.conftest import stored_table
from tests.generate.scripted import Reply, ScriptedEngine, answer_schema, text_of
from tests.judge.clearruns import EngineRun, judge_stage, pool, real_run, use
from tests.report.sections import blocks_of, section_of, words_of_block

ROWS = [("Add 2 and 3.", "5"), ("How many apples?", "4"), ("Write a poem.", "..."), ("Hi", "Hello")]
TAGS = {
    "Add 2 and 3.": ["Math", "addition", "MATH!"],
    "How many apples?": ["maths", "word-problem"],
    "Write a poem.": ["writing", "poetry", "Word Problem"],
    "Hi": ["?"],
}


def tagger(call: Any) -> str:
    prompt = text_of(call).strip('"').strip()
    return json.dumps({"tags": TAGS[prompt]})


def tagged(
    store: Store, monkeypatch: Any, rules: Any = None, **params: Any
) -> tuple[pl.DataFrame, Table, ScriptedEngine]:
    engine = use(monkeypatch, rules or [(lambda call: True, tagger)])
    run = EngineRun(store)
    verdicts, prepared = judge_stage(run, pool(run, ROWS), {"kind": "tags", **params})
    return verdicts.read(), prepared["names"], engine


def test_tags_have_common_names_and_a_floor(store: Store, monkeypatch: Any) -> None:
    evidence, names, engine = tagged(store, monkeypatch)
    # "maths" and "math" mean the same; of equally frequent spellings the first by name stands.
    assert evidence["tags"].to_list() == ["math", "math; word problem", "word problem", ""]
    assert evidence["score"].to_list() == [1.0, 2.0, 1.0, 0.0]
    assert evidence["tag"].to_list() == ["math", "math", "word problem", None]
    assert evidence["keep"].all()
    counts = names.artifact.counts
    assert [counts[n] for n in ("written", "by_rule", "by_meaning")] == [9, 6, 5]
    assert len(engine.calls) == 4
    assert answer_schema(engine.calls[0])["properties"]["tags"]["maxItems"] == 12


def test_the_floor_moves_without_a_call(store: Store, monkeypatch: Any) -> None:
    tagged(store, monkeypatch)
    evidence, _, engine = tagged(store, monkeypatch, least=1)
    assert engine.calls == []
    assert evidence["tags"].to_list() == [
        "math; addition", "math; word problem", "writing; poetry; word problem", ""
    ]  # fmt: skip
    assert evidence["tag"].to_list() == ["math", "math", "word problem", None]


def test_without_merging_only_the_rule_brings_tags_together(store: Store, monkeypatch: Any) -> None:
    evidence, names, _ = tagged(store, monkeypatch, merge=1, least=1)
    assert evidence["tags"].to_list()[:2] == ["math; addition", "maths; word problem"]
    assert names.artifact.counts["by_meaning"] == 6


def test_a_row_that_was_not_tagged_has_none(store: Store, monkeypatch: Any) -> None:
    rules = [("poem", Reply("", "refused")), (lambda call: True, tagger)]
    evidence, _, _ = tagged(store, monkeypatch, rules, least=1)
    last = evidence.row(2, named=True)
    assert (last["score"], last["tags"], last["tag"], last["keep"]) == (None, None, None, True)
    assert evidence["tags"][3] == ""


@pytest.mark.parametrize(
    ("tag", "form"),
    [
        (" Word-Problem ", "word problem"),
        ("C++", "c"),
        ("ＰＹＴＨＯＮ 3", "python 3"),
        ("Straße", "strasse"),
        ("数学", "数学"),
        ("?!", ""),
    ],
)
def test_the_rule(tag: str, form: str) -> None:
    assert rule_form(tag) == form


@given(st.text(max_size=20))
def test_the_rule_is_done_once(tag: str) -> None:
    form = rule_form(tag)
    assert rule_form(form) == form and ";" not in form and form == form.strip()


def test_linked_tags_take_the_name_of_the_first() -> None:
    tags = ["python", "math", "poem", "maths"]
    assert link_tags(tags, "static", 0.9).tolist() == [0, 1, 2, 1]
    assert link_tags(tags, "static", 1).tolist() == [0, 1, 2, 3]
    assert link_tags([], "static", 0.9).tolist() == []


def test_a_name_is_that_of_most_rows_not_of_most_mentions(store: Store) -> None:
    lists = [["maths", "Maths", "MATHS!"], ["math"], ["math", "poem"]]
    answers = pl.DataFrame({"row_id": ["a", "b", "c"], "tags": lists})
    run = EngineRun(store)
    table = run(tag_names, stored_table(store, "answers", answers), run.embedder(), 0.9)
    assert table.read().rows() == [("a", "math"), ("b", "math"), ("c", "math"), ("c", "poem")]


def test_the_floor_counts_rows() -> None:
    names = pl.DataFrame({"row_id": ["a", "a", "b", "c"], "tag": ["x", "y", "x", "z"]})
    assert frequent_tags(names, 2).rows() == [("a", 1.0, "x", "x"), ("b", 1.0, "x", "x")]


@pytest.mark.system
@pytest.mark.parametrize(
    ("select", "taken"),
    [
        ({"method": "instag", "budget": 2}, {2, 1}),
        ({"method": "mixture", "by": "tags.tag", "budget": 3}, None),
        ({"method": "random", "filter": "tags.tags LIKE '%word%'", "budget": 4}, {2, 3}),
    ],
)
def test_a_recipe_selects_by_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path, select: Any, taken: Any
) -> None:
    use(monkeypatch, [(lambda call: True, tagger)])
    lines = [json.dumps({"prompt": p, "completion": c}) for p, c in ROWS]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    recipe = {
        "name": "tags",
        "pool": [{"path": str(tmp_path / "pool.jsonl")}],
        "models": {"base": str(tiny)},
        "stages": [{"method": "tags"}],
        "select": select,
        "store": str(tmp_path / "store"),
    }
    run = run_curation(Config.model_validate(recipe), tmp_path / "run").folder
    ledger = pl.read_parquet(run / "ledger.parquet").filter(fate="selected")
    if taken is None:
        evidence = pl.read_parquet(run / "evidence" / "tags.parquet")
        groups = ledger.join(evidence, on="row_id")["tag"]
        assert groups.n_unique() == 3
    else:
        assert set(ledger["row_id"]) == {f"pool/pool.jsonl:{k}" for k in taken}
    section = section_of(run, "tags")
    (table,) = blocks_of(section, DataTable)
    assert [line[:2] for line in table.lines] == [("math", "2"), ("word problem", "2")]
    assert "2 tags of at least 2 rows each" in words_of_block(section)


@pytest.mark.model
def test_the_real_model_tags(store: Store, smollm: Path) -> None:
    run = real_run(store, smollm)
    stage = {"kind": "tags", "least": 1, "engine": {"kind": "transformers"}}
    verdicts, prepared = judge_stage(run, pool(run, ROWS[:2]), stage)
    assert prepared["answers"].read()["tags"].null_count() < 2
    assert verdicts.read()["score"].drop_nulls().is_between(0, 12).all()
