"""Marks by hand: which rows go, which stay whatever later stages say, which get a new response."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.clean.exact import ExactStage
from curate.clean.rules import RulesStage
from curate.core.calls import Table
from curate.core.derived_rows import derived_id
from curate.core.errors import UserError
from curate.core.ledger import judge_rows
from curate.core.preferences import rejected_hash
from curate.core.rows import content_hash
from curate.core.runrecord import StageRecord
from curate.core.stage import APPENDED
from curate.core.store import Store
from curate.judge.manual import ManualStage
from curate.judge.marks import Mark, MarkKind
from tests.conftest import StoreRun, row, stored_rows, turns

PAIRS = {
    "a": ("1?", "one"),
    "b": ("2?", "wrong two"),
    "c": ("3?", "three"),
    "d": ("1?", "one"),
}


def text_of(name: str, response: str | None = None) -> str:
    prompt, own = PAIRS[name]
    return content_hash(turns(prompt, response or own))


def mark(name: str, kind: MarkKind, response: str | None = None, of: str | None = None) -> Mark:
    return Mark(name, text_of(name, of), kind, response, note=f"{kind} {name}")


@pytest.fixture
def run(tmp_path: Path) -> StoreRun:
    return StoreRun(Store(tmp_path / "store"))


def pool(run: StoreRun, **columns: Mapping[str, Any]) -> Table:
    rows = [row(name, turns(*pair), **columns.get(name, {})) for name, pair in PAIRS.items()]
    return stored_rows(run.store, "pool", rows)


def stage_of(folder: Path, *marks: Mark) -> ManualStage:
    path = folder / "marks.jsonl"
    path.write_bytes(b"".join(one.to_line() for one in marks))
    return ManualStage(marks=str(path))


def judged(
    run: StoreRun, stage: ManualStage, rows: Table | None = None
) -> tuple[pl.DataFrame, Mapping[str, Table]]:
    verdicts, prepared = judge_rows(run, "manual", stage, rows or pool(run), {}, {})
    return verdicts.read(), prepared


def test_marked_rows_go_stay_and_get_a_new_response(run: StoreRun, tmp_path: Path) -> None:
    stage = stage_of(tmp_path, mark("c", "drop"), mark("b", "correct", "two"), mark("a", "keep"))
    evidence, prepared = judged(run, stage)
    new_id = derived_id("b", "manual")
    assert evidence.select("row_id", "keep", "reason", "pinned", "duplicate_of").rows() == [
        ("a", True, None, True, None),
        ("b", False, "corrected_by_hand", False, new_id),
        ("c", False, "marked_by_hand", False, None),
        ("d", True, None, False, None),
    ]
    (new,) = prepared[APPENDED].read().to_dicts()
    assert (new["row_id"], new["parents"], new["method"]) == (new_id, ["b"], "manual")
    assert [turn["content"] for turn in new["messages"]] == ["2?", "two"]
    assert new["content_hash"] == text_of("b", "two")


def test_all_rows_of_a_dropped_text_go(run: StoreRun, tmp_path: Path) -> None:
    evidence, _ = judged(run, stage_of(tmp_path, mark("a", "drop")))
    assert evidence.filter(~pl.col("keep"))["row_id"].to_list() == ["a", "d"]


@pytest.mark.parametrize(("row_id", "pinned"), [("d", "d"), ("another/file:3", "a")])
def test_of_one_text_the_marked_row_is_kept_or_the_first(
    run: StoreRun, tmp_path: Path, row_id: str, pinned: str
) -> None:
    evidence, _ = judged(run, stage_of(tmp_path, Mark(row_id, text_of("a"), "keep")))
    assert evidence.filter("pinned")["row_id"].to_list() == [pinned]


def test_rows_keep_their_marks_where_files_move(run: StoreRun, tmp_path: Path) -> None:
    moved = stored_rows(run.store, "moved", [row("other/z:9", turns("3?", "three"))])
    evidence, _ = judged(run, stage_of(tmp_path, mark("c", "drop")), moved)
    assert evidence["reason"].to_list() == ["marked_by_hand"]


def test_a_mark_of_a_corrected_text_counts(run: StoreRun, tmp_path: Path) -> None:
    once = mark("b", "correct", "second")
    twice = mark("b", "correct", "two", of="second")
    evidence, prepared = judged(run, stage_of(tmp_path, once, twice))
    assert prepared[APPENDED].read()["messages"][0][-1]["content"] == "two"
    evidence, prepared = judged(run, stage_of(tmp_path, once, mark("b", "drop", of="second")))
    assert evidence.row(1, named=True)["reason"] == "marked_by_hand"
    assert APPENDED not in prepared
    evidence, _ = judged(run, stage_of(tmp_path, once, mark("b", "keep", of="second")))
    assert evidence.row(1, named=True)["pinned"]
    assert evidence.row(1, named=True)["duplicate_of"] == derived_id("b", "manual")


def test_corrections_that_lead_in_a_circle_end(run: StoreRun, tmp_path: Path) -> None:
    back = mark("b", "correct", "wrong two", of="two")
    _, prepared = judged(run, stage_of(tmp_path, mark("b", "correct", "two"), back))
    assert prepared[APPENDED].height == 1


def test_a_correction_leaves_reasoning_out_and_the_rest_as_it_is(
    run: StoreRun, tmp_path: Path
) -> None:
    messages = [
        {"role": "user", "content": "2?", "name": "Ann"},
        {"role": "assistant", "content": "wrong two", "reasoning": "1 + 1 = 3"},
    ]
    rows = stored_rows(run.store, "pool", [row("b", messages, tools="[]")])  # type: ignore[arg-type]
    text = rows.read()["content_hash"][0]
    _, prepared = judged(run, stage_of(tmp_path, Mark("b", text, "correct", "two")), rows)
    (new,) = prepared[APPENDED].read().to_dicts()
    assert new["tools"] == "[]"
    assert (new["messages"][0]["name"], new["messages"][1]["reasoning"]) == ("Ann", None)


def test_a_corrected_pair_keeps_its_rejected_answer_unless_that_is_the_correction(
    run: StoreRun, tmp_path: Path
) -> None:
    worse = {"rejected": turns("", "one!")[1:]}
    marks = mark("a", "correct", "it is one"), mark("b", "correct", "one!")
    _, prepared = judged(run, stage_of(tmp_path, *marks), pool(run, a=worse, b=worse))
    new = prepared[APPENDED].read()
    answers = new["rejected"].list.first().struct.field("content")
    responses = new["messages"].list.last().struct.field("content")
    assert [*zip(responses, answers, strict=True)] == [
        ("it is one", "one!"), ("one!", None), ("it is one", None)
    ]  # fmt: skip


WORSE = {"p": "one", "q": "two", "r": "one", "s": None, "t": "three"}


def of_one_text(row_id: str, kind: MarkKind) -> Mark:
    """Return the mark of a row of WORSE, all of which are of one text."""
    answer = WORSE.get(row_id)
    rejected = rejected_hash(turns("", answer)[1:]) if answer else None
    return Mark(row_id, content_hash(turns("a", "b")), kind, rejected=rejected)


@pytest.mark.parametrize(
    ("marks", "gone"),
    [
        ("p-", "pr"), ("q-", "q"), ("s-", "pqrst"), ("x-", "pqrst"), ("p-q-", "pqr"), ("q-p-", "pqr"),
        ("s-p+", "qst"), ("p+s-", "qst"), ("p-p0q-", "q"),
    ],
)  # fmt: skip
def test_each_pair_of_a_text_has_a_mark_of_its_own(
    run: StoreRun, tmp_path: Path, marks: str, gone: str
) -> None:
    rows = [
        row(row_id, turns("a", "b"), rejected=answer and turns("", answer)[1:])
        for row_id, answer in WORSE.items()
    ]
    kinds: dict[str, MarkKind] = {"-": "drop", "+": "keep", "0": "none"}
    stage = stage_of(
        tmp_path, *(of_one_text(a, kinds[b]) for a, b in zip(marks[::2], marks[1::2], strict=True))
    )
    evidence, _ = judged(run, stage, stored_rows(run.store, "pool", rows))
    assert "".join(evidence.filter(~pl.col("keep"))["row_id"]) == gone


def test_a_call_of_a_tool_cannot_be_corrected(run: StoreRun, tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": "{}"}]}
    messages: Any = [{"role": "user", "content": "2?"}, call]
    rows = stored_rows(run.store, "pool", [row("b", messages)])
    text = rows.read()["content_hash"][0]
    with pytest.raises(UserError, match=r"marks\.jsonl:1: b ends with a call of a tool"):
        judged(run, stage_of(tmp_path, Mark("b", text, "correct", "two")), rows)


def test_marks_that_do_nothing_are_counted_and_said(
    run: StoreRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = stage_of(tmp_path, Mark("gone", "0" * 32, "drop"), mark("a", "drop"))
    rows = pool(run)
    before, _ = judge_rows(run, "manual", stage, rows, {}, {})
    with caplog.at_level(logging.WARNING, "curate"):
        judge_rows(run, "manual-2", stage, rows, {"manual": before}, {})
    assert "1 mark of 2 match no row" in caplog.text
    assert "1 mark of 2 come too late" in caplog.text


def test_no_later_stage_drops_a_kept_row(run: StoreRun, tmp_path: Path) -> None:
    rows = pool(run)
    manual, _ = judge_rows(run, "manual", stage_of(tmp_path, mark("d", "keep")), rows, {}, {})
    exact, _ = judge_rows(run, "exact", ExactStage(), rows, {"manual": manual}, {})
    kept = exact.read().filter(pl.col("row_id") == "d").row(0, named=True)
    assert (kept["keep"], kept["overridden"], kept["duplicate_of"]) == (
        True,
        "exact_duplicate",
        "a",
    )


def test_without_kept_rows_later_evidence_is_the_same_bytes(run: StoreRun, tmp_path: Path) -> None:
    rows = pool(run)
    manual, _ = judge_rows(
        run, "manual", stage_of(tmp_path, Mark("zz", "0" * 32, "keep")), rows, {}, {}
    )
    for name, stage in {"exact": ExactStage(), "rules": RulesStage()}.items():
        plain, _ = judge_rows(run, name, stage, rows, {}, {})
        behind, _ = judge_rows(run, name, stage, rows, {"manual": manual}, {})
        assert behind.path.read_bytes() == plain.path.read_bytes()


class MarkedRun:
    """A finished run with the tables of the stage."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.tables = tables

    def has(self, name: str) -> bool:
        return name.removeprefix("evidence/manual-") in self.tables

    def table(self, name: str) -> pl.LazyFrame:
        return self.tables[name.removeprefix("evidence/manual-")].scan()

    def rows(self, role: str) -> pl.LazyFrame | None:
        return None


def test_the_report_counts_marks_and_shows_notes_and_corrections(
    run: StoreRun, tmp_path: Path
) -> None:
    stage = stage_of(tmp_path, mark("c", "drop"), mark("b", "correct", "two"), mark("a", "keep"))
    _, prepared = judged(run, stage)
    section = stage.section(StageRecord(MarkedRun(prepared), "manual", "Marks by hand"))
    assert section is not None
    text = str(section.blocks)
    assert "3 rows are marked by hand. No later stage dropped 1 row of them" in text
    assert derived_id("b", "manual") in text
    assert "drop c" in text
