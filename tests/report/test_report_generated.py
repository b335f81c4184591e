"""What the report says of made rows: books, fates, hops, trees, examples, whoever wrote them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.generation import SeedExample
from curate.generate.tree import tree_of
from curate.report.build import write_report
from curate.report.data import gather
from curate.report.figures import draw_all
from curate.report.generated import DROPPED, KEPT, GenerationView
from curate.report.growth import DOTS, NODES, SEEDS, gather_growth
from curate.runs.folder import open_run
from tests.generate.scripted import ScriptedEngine, text_of
from tests.report.realrun import finish
from tests.report.test_report_page import HOSTILE, Page, words_of

MakeRun = Callable[..., Path]
TARGET = [
    ("Which river flows through Cologne?", "The Rhine."),
    ("Where does the Elbe rise?", "In the Giant Mountains."),
]
DOCUMENTS = [f"Passage {word} tells of {word} alone." for word in ("bees", "rye", "silk", "tin")]


class Writer:
    """Answers every request of aide and craft in its form, each time with other words."""

    def __init__(self, taint: str = "") -> None:
        self.taint, self.count = taint, 0

    def __call__(self, call: Any) -> str:
        self.count += 1
        schema = call.request.schema
        if schema is None:
            return f"Answer number {self.count}.{self.taint}"
        fields = {name: self._value(name, kind) for name, kind in schema["properties"].items()}
        if "bees" in text_of(call):
            fields["response"] = "I'm sorry, I cannot."
        return json.dumps(fields)

    def _value(self, name: str, kind: dict[str, Any]) -> Any:
        if kind["type"] == "integer":
            return 8
        if kind["type"] == "array":
            return [{key: self._value(key, k) for key, k in kind["items"]["properties"].items()}]
        words = " ".join(
            f"{letter}{(self.count * 7919 + len(name) * 101) % 9973}{letter}" for letter in "uvwxyz"
        )
        text = words if name in ("prompt", "response") else f"{name}{self.count}"
        return f"{text}{self.taint}"[: kind.get("maxLength", 300) - 1]


def make(folder: Path, monkeypatch: pytest.MonkeyPatch, taint: str = "", **generate: Any) -> Path:
    """Return a finished run that made rows by aide and craft on a scripted engine."""
    engine = ScriptedEngine([(lambda call: True, Writer(taint))])
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: engine)
    pool = [(f"How many legs have {n} spiders?{taint}", f"It is {8 * n}.") for n in range(1, 5)]
    for name, pairs in (("pool", pool), ("target", TARGET)):
        lines = [json.dumps({"prompt": f"{p}{taint}", "completion": c}) for p, c in pairs]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    texts = [json.dumps({"text": text + taint}) for text in DOCUMENTS]
    (folder / "corpus.jsonl").write_text("\n".join(texts))
    craft = {"method": "craft", "corpus": str(folder / "corpus.jsonl"), "documents": 4}
    # Texts that share a taint are near to each other.
    loose = {"filters": {"rouge": 1.0, "cosine": 1.0, "distinct": 0.0}} if taint else {}
    aide = {"method": "aide", "hops": 2, "attributes": 1, "personas": 1, "operators": ["concrete"]}
    recipe = {
        "name": "made",
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "pool"}],
        "target": str(folder / "target.jsonl"),
        "generate": {"methods": [aide | loose, craft | loose]} | generate,
        "stages": [{"kind": "exact"}],
        "select": {"method": "random", "budget": {"rows": 8}},
        "store": str(folder / "store"),
    }
    return finish(Config.model_validate(recipe), folder / "run")


@pytest.fixture(scope="module")
def generated_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return make(tmp_path_factory.mktemp("made"), monkeypatch)


@pytest.fixture
def own_run(generated_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, whose files a test may change."""
    return Path(shutil.copytree(generated_run, tmp_path / "run"))


def generation_of(run: Path) -> GenerationView:
    generated = gather(run).generated
    assert generated is not None
    return generated


def test_a_run_that_makes_nothing_has_no_such_section(make_run: MakeRun) -> None:
    report = gather(make_run())
    assert report.generated is None
    assert report.funnel.generated == 0
    page = words_of(make_run())
    assert "Generated rows" not in page
    assert "Made by a model" not in page


def test_the_books_are_those_of_candidates_and_ledger(generated_run: Path) -> None:
    generated = generation_of(generated_run)
    candidates = pl.read_parquet(generated_run / "generated/candidates.parquet")
    ledger = pl.read_parquet(generated_run / "ledger.parquet")
    for method in generated.methods:
        method_candidates = candidates.filter(method=method.outcome.method)
        assert method.outcome.generated == method_candidates.height
        assert method.outcome.kept == method_candidates["flaw"].null_count() == method.fates.rows
        assert dict(method.outcome.dropped) == dict(
            method_candidates["flaw"].drop_nulls().value_counts().rows()
        )
        own = ledger.filter(source="generated", origin=method.outcome.method)
        assert method.fates.selected == own.filter(fate="selected").height
    assert generated.read.rows == 4
    assert generated.generated_fates.selected + generated.read.selected == 8
    craft = generated.methods[1].outcome
    assert (craft.generated, craft.kept, craft.dropped) == (4, 3, (("refused", 1),))
    assert craft.calls_a_row == pytest.approx(4 / 3)


def test_the_funnel_starts_with_what_was_read(generated_run: Path) -> None:
    funnel, generated = gather(generated_run).funnel, generation_of(generated_run)
    assert (funnel.records, funnel.generated) == (4, generated.generated_fates.rows)
    assert funnel.rows == 4 + generated.generated_fates.rows
    words = words_of(generated_run)
    assert f"4 records read, {funnel.generated} rows made" in words
    assert f"{generated.candidates} candidates were made" in words
    assert "Written by scripted" in words


def test_each_hop_has_its_drift_and_the_tree_its_children(generated_run: Path) -> None:
    growth = generation_of(generated_run).methods[0].growth
    assert growth is not None
    assert [(hop.number, hop.candidates) for hop in growth.hops] == [(1, 4), (2, 8)]
    assert all(len(hop.similarities) == hop.kept for hop in growth.hops)
    assert [len(seed.children) for seed in growth.trees] == [2, 2]
    assert all(seed.below == 6 for seed in growth.trees)
    child = growth.trees[0].children[0]
    assert child.guides[0] == "concrete"
    assert len(child.children) == 2
    assert child.fate in ("selected", "not_selected")
    assert child.text
    assert set(draw_all(gather(generated_run))["drift"]) == {"aide"}


def test_rows_are_shown_with_what_they_were_made_from(generated_run: Path) -> None:
    aide, craft = generation_of(generated_run).methods
    assert len(aide.kept) == KEPT
    assert all(line.row.text and line.parents[0].text for line in aide.kept)
    assert all(line.parents[0].row_id.startswith("corpus/") for line in craft.kept)
    assert all(line.parents[0].text is None for line in craft.kept)
    assert [(group.reason, group.count) for group in craft.rejects] == [("refused", 1)]
    assert len(craft.rejects[0].examples) <= DROPPED
    words = words_of(generated_run)
    assert "A passage of the corpus; its text stays there." in words
    assert "is a refusal" in words


def test_without_the_store_rows_that_were_made_still_have_their_texts(
    own_run: Path, tmp_path: Path
) -> None:
    manifest = json.loads((own_run / "manifest.json").read_text())
    (own_run / "manifest.json").write_text(json.dumps(manifest | {"store": str(tmp_path / "gone")}))
    aide = generation_of(own_run).methods[0]
    assert all(line.row.text for line in aide.kept)
    assert "Its text is no longer in the store." in words_of(own_run)


def test_what_ended_a_method_early_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path, monkeypatch, limits={"calls": 20})
    aide, craft = (method.outcome for method in generation_of(run).methods)
    assert aide.stopped == "the limit of 20 calls is reached (20); raise limits.calls"
    assert craft.stopped == "a limit was reached before its turn"
    assert (craft.generated, craft.share, craft.calls_a_row, craft.tokens_a_row) == (
        0,
        None,
        None,
        None,
    )
    words = words_of(run)
    assert "aide ended early: the limit of 20 calls is reached (20)" in words
    assert "craft was not started: a limit was reached before its turn" in words


def test_stored_answers_count_per_row_and_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, monkeypatch)
    recipe = {"limits": {"calls": 1_000}}
    craft = generation_of(make(tmp_path, monkeypatch, **recipe)).methods[1].outcome
    assert (craft.calls, craft.cached, craft.tokens) == (0, 4, 0)
    assert craft.calls_a_row == pytest.approx(4 / 3)
    assert craft.tokens_a_row is None
    assert "Answers from the store were paid for by an earlier run" in words_of(tmp_path / "run")


def test_hostile_texts_stay_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path, monkeypatch, taint=f" {HOSTILE}")
    page = Page(write_report(run).read_text())
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "<script>alert(1)</script>" in "".join(page.texts)
    assert "{{ 7*7 }}" in "".join(page.texts)


def grown(run: Path, seeds: int, width: int) -> Path:
    """Put a large tree in the place of a run's own."""
    roots = [SeedExample(f"target/{i}", pair(f"Seed {i}?", "Yes.")) for i in range(seeds)]
    descendants: list[Candidate] = []
    for root in roots:
        for k in range(width):
            notes = {"seed": root.row_id, "operator": "concrete", "similarity": k / width}
            child = Candidate(pair(f"{root.row_id} {k}", "a"), "aide", (root.row_id,), 1, notes)
            descendants.append(child if k % 2 else child.drop(RejectReason.REFUSED))
    tree_of(roots, descendants).write_parquet(run / "generated" / "aide-tree.parquet")
    return run


def test_large_trees_are_cut_with_a_note(own_run: Path) -> None:
    run = grown(own_run, seeds=9, width=100)
    growth = generation_of(run).methods[0].growth
    assert growth is not None
    assert (len(growth.trees), growth.seeds) == (SEEDS, 9)
    assert all(len(tree.children) == NODES for tree in growth.trees)
    assert all((tree.size, tree.below, tree.kept) == (100, 100, 50) for tree in growth.trees)
    (hop,) = growth.hops
    assert (hop.candidates, hop.kept, len(hop.similarities)) == (900, 450, DOTS)
    assert (hop.similarities[0], hop.similarities[-1]) == (0.01, 0.99)
    words = words_of(run)
    assert f"from {SEEDS} of 9 seeds" in words
    assert "and 40 more" in words
    assert "and 3 more" in words


def test_a_candidate_made_twice_has_its_children_once(own_run: Path) -> None:
    root = SeedExample("target/0", pair("Seed?", "Yes."))
    notes = {"seed": "target/0", "operator": "concrete"}
    child = Candidate(pair("A child", "a"), "aide", ("target/0",), 1, notes)
    below = Candidate(pair("A grandchild", "b"), "aide", (child.row_id,), 2, notes)
    tree = tree_of([root], [child, child.drop(RejectReason.NOT_NEW), below])
    tree.write_parquet(own_run / "generated" / "aide-tree.parquet")
    growth = gather_growth(open_run(own_run), "aide")
    assert growth is not None
    assert [len(node.children) for node in growth.trees[0].children] == [1, 0]


def test_nothing_kept_by_one_method_is_shown_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters = {"keywords": ["zzz"], "response_words": [900, 1000]}
    craft = {"method": "craft", "corpus": str(tmp_path / "corpus.jsonl"), "filters": filters}
    with pytest.raises(UserError, match="no candidate was kept"):
        make(tmp_path, monkeypatch, methods=[craft])
    aide = {"method": "aide", "hops": 1, "personas": 1, "attributes": 1}
    words = words_of(make(tmp_path, monkeypatch, methods=[aide, craft]))
    assert "Some of the 4 that were dropped" in words
