"""What the report says of made rows: books, fates, hops, trees, examples, whoever wrote them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.chart import Strips
from curate.core.errors import UserError
from curate.core.section import (
    Code,
    DataTable,
    Details,
    Item,
    Key,
    PassagePart,
    Quote,
    RowPart,
    Section,
    Strong,
    paragraph,
)  # fmt: skip
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.generation import Generator, SeedExample
from curate.generate.generation_section import fates_by_method
from curate.generate.generator_section import DROPPED, KEPT, GeneratorRecord
from curate.generate.growth_section import DOTS, NODES, SEEDS, Growth, growth_of
from curate.generate.outcome import MethodOutcome, outcomes_of, read_bill
from curate.generate.tree import tree_of
from curate.report.build import write_report
from curate.report.data import gather
from curate.runs.folder import open_run
from tests.generate.scripted import ScriptedEngine, text_of
from tests.report.realrun import finish
from tests.report.sections import blocks_of, line_of, words_of_block
from tests.report.test_report_page import HOSTILE, Page, words_of

pytestmark = pytest.mark.system

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


def outcomes(run: Path) -> list[MethodOutcome]:
    bill = read_bill(run)
    assert bill is not None
    return outcomes_of(bill, ["aide", "craft"])


def grown_by_aide(run: Path) -> Growth:
    growth = growth_of(open_run(run), "aide")
    assert growth is not None
    return growth


def section_of(run: Path, method: str) -> Section:
    sections = gather(run).generation_sections
    return next(s for s in sections if s.anchor == f"generated-{method}")


def test_a_run_that_makes_nothing_has_no_such_section(make_run: MakeRun) -> None:
    report = gather(make_run())
    assert report.generation_sections == ()
    assert report.funnel.generated == 0
    page = words_of(make_run())
    assert "Generated rows" not in page
    assert "Made by a model" not in page


def test_the_books_are_those_of_candidates_and_ledger(generated_run: Path) -> None:
    candidates = pl.read_parquet(generated_run / "generated/candidates.parquet")
    ledger = pl.read_parquet(generated_run / "ledger.parquet")
    fates = {line["method"]: line for line in fates_by_method(open_run(generated_run)).to_dicts()}
    for outcome in outcomes(generated_run):
        own = candidates.filter(method=outcome.method)
        assert outcome.generated == own.height
        assert outcome.kept == own["flaw"].null_count() == fates[outcome.method]["rows"]
        assert dict(outcome.dropped) == dict(own["flaw"].drop_nulls().value_counts().rows())
        rows = ledger.filter(source="generated", origin=outcome.method)
        assert fates[outcome.method]["selected"] == rows.filter(fate="selected").height
    assert fates[None]["rows"] == 4
    assert sum(line["selected"] for line in fates.values()) == 8
    craft = outcomes(generated_run)[1]
    assert (craft.generated, craft.kept, craft.dropped) == (4, 3, (("refused", 1),))
    assert craft.calls_a_row == pytest.approx(4 / 3)


def test_methods_are_told_beside_what_was_read(generated_run: Path) -> None:
    overview = gather(generated_run).generation_sections[0]
    costs, became = blocks_of(overview, DataTable)
    assert line_of(costs, Code("craft"))[:3] == ("4", "3", "75.0\u202f%")
    assert [line[0] for line in became.lines] == [
        Code("aide"), Code("craft"), Strong("All made"), "Read",
    ]  # fmt: skip
    generated, read = (line_of(became, head) for head in (Strong("All made"), "Read"))
    assert int(generated[3]) + int(read[3]) == 8


def test_the_funnel_starts_with_what_was_read(generated_run: Path) -> None:
    funnel = gather(generated_run).funnel
    methods = outcomes(generated_run)
    assert (funnel.records, funnel.generated) == (4, sum(outcome.kept for outcome in methods))
    assert funnel.rows == 4 + funnel.generated
    words = words_of(generated_run)
    assert f"4 records read, {funnel.generated} rows made" in words
    assert f"{sum(outcome.generated for outcome in methods)} candidates were made" in words
    assert "Written by scripted" in words


def test_each_hop_has_its_drift_and_the_tree_its_children(generated_run: Path) -> None:
    growth = grown_by_aide(generated_run)
    assert [(hop.number, hop.candidates) for hop in growth.hops] == [(1, 4), (2, 8)]
    assert all(len(hop.similarities) == hop.kept for hop in growth.hops)
    assert [len(seed.children) for seed in growth.trees] == [2, 2]
    assert all(words_of_block(seed.facts).startswith("6 made, ") for seed in growth.trees)
    child = growth.trees[0].children[0]
    assert child.head[0] == Quote("concrete", strong=True)
    assert len(child.children) == 2
    assert "selected" in words_of_block(child.facts)
    section = section_of(generated_run, "aide")
    (chart,) = blocks_of(section, Strips)
    assert [strip.name for strip in chart.strips] == ["Hop 1", "Hop 2"]
    assert [strip.mean for strip in chart.strips] == [hop.mean for hop in growth.hops]
    assert not blocks_of(section_of(generated_run, "craft"), Strips)
    tree = write_report(generated_run).read_text().split('class="tree"')[1]
    assert TARGET[0][0] in tree


def test_rows_are_shown_with_what_they_were_made_from(generated_run: Path) -> None:
    aide, craft = (section_of(generated_run, method) for method in ("aide", "craft"))
    kept = next(d for d in blocks_of(aide, Details) if "made from" in d.summary)
    assert len(blocks_of(kept, Item)) == KEPT
    assert all(
        [part.title for part in blocks_of(item, RowPart)] == ["Made row", "From"]
        for item in blocks_of(kept, Item)
    )
    passages = [blocks_of(item, RowPart)[1:2] for item in blocks_of(craft, Item)[:3]]
    assert all(part.row_id.startswith("corpus/") and part.lost for (part,) in passages)
    (reasons,) = blocks_of(craft, DataTable)
    assert reasons.lines[0][0] == ("is a refusal ", Key("refused"))
    assert reasons.lines[0][1] == "1"
    rejected = blocks_of(craft, PassagePart)
    assert 0 < len(rejected) <= DROPPED
    assert "I'm sorry, I cannot." in words_of_block(tuple(rejected))
    words = words_of(generated_run)
    assert "A passage of the corpus; its text stays there." in words
    assert "It is a refusal" in words


def test_without_the_store_rows_that_were_made_still_have_their_texts(
    own_run: Path, tmp_path: Path
) -> None:
    manifest = json.loads((own_run / "manifest.json").read_text())
    (own_run / "manifest.json").write_text(json.dumps(manifest | {"store": str(tmp_path / "gone")}))
    report = gather(own_run)
    rows = [part.row_id for part in blocks_of(section_of(own_run, "aide"), RowPart)]
    generated = [row_id for row_id in rows if row_id.startswith("aide/")]
    assert generated
    assert all(report.page_rows[row_id][1]["messages"][0]["content"] for row_id in generated)
    assert "Its text is no longer in the store." in words_of(own_run)


def test_a_method_that_is_no_longer_here_has_the_same_section(own_run: Path) -> None:
    manifest = json.loads((own_run / "manifest.json").read_text())
    before = blocks_of(section_of(own_run, "craft"), Item)
    manifest["config"]["generate"]["methods"][1]["bygone"] = 1
    (own_run / "manifest.json").write_text(json.dumps(manifest))
    assert blocks_of(section_of(own_run, "craft"), Item) == before


def test_a_generator_says_more_of_itself(generated_run: Path) -> None:
    class Chatty(Generator):
        method: str = "craft"

        def section(self, record: GeneratorRecord) -> Section | None:
            section = super().section(record)
            assert section is not None
            blocks = (*section.blocks, paragraph(f"{record.outcome.kept} in its own words"))
            return replace(section, blocks=blocks)

    record = GeneratorRecord(open_run(generated_run), outcomes(generated_run)[1], "Chatty")
    section = Chatty().section(record)
    assert section is not None
    assert section.title == "Made by Chatty"
    assert section.blocks[-1] == paragraph("3 in its own words")


def test_what_ended_a_method_early_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path, monkeypatch, limits={"calls": 20})
    aide, craft = outcomes(run)
    assert aide.stopped == "the limit of 20 calls is reached (20); raise limits.calls"
    assert craft.stopped == "a limit was reached before its turn"
    assert (craft.generated, craft.share, craft.calls_a_row, craft.tokens_a_row) == (
        0,
        None,
        None,
        None,
    )
    assert [section.anchor for section in gather(run).generation_sections] == [
        "generated",
        "generated-aide",
    ]
    words = words_of(run)
    assert "aide ended early: the limit of 20 calls is reached (20)" in words
    assert "craft was not started: a limit was reached before its turn" in words


def test_stored_answers_count_per_row_and_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, monkeypatch)
    craft = outcomes(make(tmp_path, monkeypatch, limits={"calls": 1_000}))[1]
    assert (craft.calls, craft.cached, craft.tokens) == (0, 4, 0)
    assert craft.calls_a_row == pytest.approx(4 / 3)
    assert craft.tokens_a_row is None
    assert "Answers from the store were paid for by an earlier run" in words_of(tmp_path / "run")


def test_hostile_texts_stay_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path, monkeypatch, taint=f" {HOSTILE}")
    page = Page(write_report(run).read_text())
    assert page.tags.count("script") == len(page.scripts) == 2
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
    growth = grown_by_aide(run)
    assert (len(growth.trees), growth.seeds) == (SEEDS, 9)
    assert all(len(tree.children) == NODES for tree in growth.trees)
    assert all((tree.size, tree.facts) == (100, ("100 made, 50 kept",)) for tree in growth.trees)
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
    growth = grown_by_aide(own_run)
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
