"""Retrieval rows: passages in the row, near ones that do not hold the answer, and rows that decline."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.answers.refusals import find_refusal
from curate.config.recipe import Config
from curate.core.numerals import percent
from curate.core.section import DataTable
from curate.generate.candidates import Candidate, pair
from curate.generate.context import DECLINING, ContextShares, ContextWriter, corpus_table
from curate.generate.grounding import AnswerTraces
from curate.generate.methods.search_instruct import SearchInstructGenerator
from curate.generate.retrieve import Retriever
from curate.generate.sift import REFUSAL
from curate.generate.step import method_source
from curate.llm.cache import Cache
from curate.llm.limits import Limits
from curate.pipeline.curation import run_curation
from curate.report.data import gather
from curate.testing import BatchingEngine
from tests.generate.generations import by_words, candidate_records, generation
from tests.generate.methods.test_search_instruct import (
    DOCUMENTS,
    QUERIES,
    QUESTIONS,
    kind_of,
    rows,
    script,
    search,
)
from tests.report.sections import words_of_block

CORPUS = {f"corpus/{name}.txt": text for name, text in DOCUMENTS.items()} | {
    "corpus/port.txt": "The harbour of Bremen handles less freight than that of Hamburg.",
    "corpus/again.txt": "Of freight, 120 million tonnes pass through Hamburg; its harbour handles them.",
}


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    for name, text in CORPUS.items():
        (tmp_path / name.removeprefix("corpus/")).write_text(text)
    return str(tmp_path / "*.txt")


def draft(place: int = 0, topic: str = "harbour", response: str = "", cited: str = "") -> Candidate:
    notes = {
        "round": 0,
        "place": place,
        "query": QUERIES[topic],
        "cited": [cited or f"corpus/{topic}.txt"],
    }
    turns = pair(QUESTIONS[topic], response or DOCUMENTS[topic])
    return Candidate(turns, "search_instruct", ("target/1",), 1, notes)


def write(drafts: list[Candidate], distractors: int, unanswerable: float) -> list[Candidate]:
    run, _ = generation("search_instruct", script(), params={"corpus": "unread"})
    retriever = Retriever(list(CORPUS.values()), by_words)
    shares = ContextShares(distractors, unanswerable, support=0.5)
    return ContextWriter(run, shares, CORPUS, retriever).add(drafts, 3)


def shown_ids(candidate: Candidate) -> list[str]:
    return [passage["id"] for passage in candidate.notes["passages"]]


def test_the_row_has_its_passages_numbered_before_the_question(corpus: str) -> None:
    engine = script()
    run = search(engine, corpus, context=True, distractors=2, unanswerable=0)
    assert Counter(map(kind_of, engine.calls)) == {"questions": 1, "query": 2, "answer": 2}
    assert len(run.kept) == 2
    for candidate, topic in zip(run.kept, ("harbour", "pollen"), strict=True):
        passages = candidate.notes["passages"]
        numbered = [f"[{k}] {passage['text']}" for k, passage in enumerate(passages, start=1)]
        assert candidate.prompt == "\n\n".join([*numbered, QUESTIONS[topic]])
        assert candidate.response == DOCUMENTS[topic]
        assert candidate.notes["answerable"]
        assert candidate.notes["question"] == QUESTIONS[topic]
        assert [p["text"] for p in passages if p["cited"]] == [DOCUMENTS[topic]]
        assert len(set(shown_ids(candidate))) == 3
        assert all(CORPUS[p["id"]] == p["text"] for p in passages)


def test_without_context_the_rows_are_those_of_before(corpus: str) -> None:
    run = search(script(), corpus)
    assert not run.tables
    assert not any({"passages", "answerable"} & set(c.notes) for c in run.kept)
    assert [c.prompt for c in run.kept] == [QUESTIONS["harbour"], QUESTIONS["pollen"]]


def test_a_row_that_declines_has_as_many_passages_and_none_with_the_answer() -> None:
    (answered,) = write([draft()], 2, 0.0)
    (declining,) = write([draft()], 2, 1.0)
    assert declining.response in DECLINING
    assert len(shown_ids(declining)) == len(shown_ids(answered)) == 3
    assert "120" not in declining.prompt
    assert not declining.notes["answerable"]
    assert not any(passage["cited"] for passage in declining.notes["passages"])
    assert declining.notes["cited"] == answered.notes["cited"]


def test_a_passage_that_holds_the_answer_too_is_no_distractor() -> None:
    (answered,) = write([draft()], 5, 0.0)
    assert set(shown_ids(answered)) == set(CORPUS) - {"corpus/again.txt"}


@pytest.mark.parametrize("response", ["", "Yes, it is."])
def test_a_copy_of_the_cited_passage_is_no_distractor(
    monkeypatch: pytest.MonkeyPatch, response: str
) -> None:
    copy = DOCUMENTS["harbour"].upper().replace(" ", "\n", 1)
    monkeypatch.setitem(CORPUS, "corpus/copy.txt", copy)
    (answered,) = write([draft(response=response)], 9, 0.0)
    assert "corpus/copy.txt" not in shown_ids(answered)
    assert "corpus/port.txt" in shown_ids(answered)


def test_a_yes_or_no_is_never_declined() -> None:
    (answered,) = write([draft(response="Yes, it is.")], 2, 1.0)
    assert answered.notes["answerable"]
    assert answered.response == "Yes, it is."


def test_the_answer_stands_at_each_place_equally_often() -> None:
    written = write([draft(place) for place in range(800)], 3, 0.0)
    places = Counter(shown_ids(c).index("corpus/harbour.txt") for c in written)
    expected = 200
    assert sum((places[k] - expected) ** 2 / expected for k in range(4)) < 16.3  # p = 0.001
    assert len({tuple(shown_ids(c)) for c in written}) == 24


def test_the_share_that_declines_is_that_of_the_recipe_and_drawn_by_name() -> None:
    written = write([draft(place) for place in range(800)], 2, 0.3)
    declining = {c.notes["place"] for c in written if not c.notes["answerable"]}
    assert abs(len(declining) - 240) < 4 * np.sqrt(800 * 0.3 * 0.7)
    assert {c.response for c in written} == {DOCUMENTS["harbour"], *DECLINING}
    alone = write([draft(7)], 2, 0.3)
    assert candidate_records(alone) == candidate_records(written[7:8])


def test_no_wording_is_taken_for_a_refusal() -> None:
    declined = pl.DataFrame({"prompt": ["Who?"] * len(DECLINING), "response": DECLINING})
    assert find_refusal(declined).null_count() == len(DECLINING)
    assert not any(REFUSAL.search(wording) for wording in DECLINING)


@given(st.text("abcde 123 "), st.text("abcde 123 "), st.text("abcde 123 "), st.floats(0, 1))
def test_an_answer_may_be_in_what_holds_it_whole(
    question: str, answer: str, around: str, least: float
) -> None:
    traces = AnswerTraces(question, answer, least)
    assert traces.may_be_in(f"{around} {answer} {around}") == traces.telling
    assert not AnswerTraces(answer, answer, least).telling


def test_markup_in_a_passage_costs_its_rows(corpus: str) -> None:
    (Path(corpus).parent / "port.txt").write_text(
        "<|im_end|> The harbour of Bremen, Hamburg freight."
    )
    run = search(script(), corpus, context=True, distractors=5, unanswerable=0)
    assert [str(c.reject_reason) for c in run.candidates] == ["prompt_leak"] * 2
    assert run.candidates[0].detail == "prompt: <|im_end|>"
    assert run.tables["corpus"]["cited"].sum() == 0


def test_the_table_counts_what_rows_cite_and_hold() -> None:
    written = write([draft(0), draft(1), draft(2, "pollen")], 1, 0.0)
    table = corpus_table(list(CORPUS), written)
    assert table["passage_id"].to_list() == list(CORPUS)
    assert dict(table.filter(pl.col("cited") > 0).select("passage_id", "cited").iter_rows()) == {
        "corpus/harbour.txt": 2,
        "corpus/pollen.txt": 1,
    }
    assert table["in_rows"].sum() == sum(len(shown_ids(c)) for c in written)


def test_batches_replay_and_limits(corpus: str, tmp_path: Path) -> None:
    params = {"rounds": 4, "context": True, "distractors": 2, "unanswerable": 0.5}
    whole = search(script(questions=rows), corpus, **params)
    assert len(whole.kept) > 2
    parts = search(BatchingEngine(script(questions=rows), 2), corpus, **params)
    assert candidate_records(whole.candidates) == candidate_records(parts.candidates)
    with closing(Cache(tmp_path / "cache")) as cache:
        # Paid for without passages in the rows, the answers are there for rows with them.
        search(script(questions=rows), corpus, rounds=4, cache=cache)
        engine = script(questions=rows)
        again = search(engine, corpus, cache=cache, **params)
    assert engine.calls == []
    assert candidate_records(again.candidates) == candidate_records(whole.candidates)
    assert len(search(script(), corpus, context=True, limits=Limits(calls=4)).candidates) == 1


def test_the_stored_identity_is_that_of_before_until_context_is_asked_for(corpus: str) -> None:
    def identity(**params: Any) -> dict[str, Any]:
        generator = SearchInstructGenerator.model_validate({"corpus": corpus, **params})
        return method_source(generator.model_dump(mode="json"), None).identity

    assert not {"context", "distractors", "unanswerable"} & set(identity()["params"])
    assert identity(context=True)["params"]["context"] is True
    assert identity(context=True, distractors=2) != identity(context=True)
    for name in ("distractors", "unanswerable"):
        with pytest.raises(ValueError, match=f"{name} says what is in a row's passages"):
            identity(**{name: 1})


@pytest.mark.system
def test_a_run_reports_what_of_the_corpus_is_covered(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: script())
    row = '{"prompt": "Which river flows through Cologne?", "completion": "The Rhine."}\n'
    for name in ("pool", "target"):
        (tmp_path / f"{name}.jsonl").write_text(row)
    method = {"method": "search_instruct", "corpus": corpus, "rounds": 1, "questions": 2,
              "least": -1, "context": True, "distractors": 2, "unanswerable": 0}  # fmt: skip
    recipe = {
        "name": "made",
        "pool": [{"path": str(tmp_path / "pool.jsonl"), "source": "pool"}],
        "target": str(tmp_path / "target.jsonl"),
        "generate": {"methods": [method]},
        "select": {"method": "random", "budget": {"rows": 2}},
        "store": str(tmp_path / "store"),
    }
    result = run_curation(Config.model_validate(recipe), tmp_path / "run")
    sections = gather(result.folder).generation_sections
    section = next(s for s in sections if s.anchor == "generated-search_instruct")
    words = " ".join(words_of_block(block) for block in section.blocks)
    share = " ".join(percent(1 / 3).split())
    assert f"cover {share} of the corpus's 6 passages and {share} of its 6 documents" in words
    assert "0 of 2 kept rows have no passage with the answer" in words
    table = next(b for b in section.blocks if isinstance(b, DataTable) and "#Covered" in b.columns)
    assert [line[2] for line in table.lines] == ["2", "2"]
