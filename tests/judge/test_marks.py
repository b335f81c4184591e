"""Files of marks: which line counts, what is at fault and where, and a line that breaks off."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.errors import UserError
from curate.judge.marks import Mark, read_marks


def written(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / "marks.jsonl"
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return path


def line(text: str, kind: str, extra: str = "") -> str:
    return f'{{"row_id": "web/a.jsonl:1", "content_hash": "{text}", "mark": "{kind}"{extra}}}'


def test_the_last_line_of_a_text_counts_and_none_takes_a_mark_back(tmp_path: Path) -> None:
    path = written(
        tmp_path, line("a", "drop"), line("b", "keep"), "", line("a", "keep"), line("b", "none")
    )
    marks = read_marks(path).marks
    assert [(*key, mark.kind, mark.line) for key, mark in marks.items()] == [("a", None, "keep", 4)]


def test_a_mark_reads_as_it_was_written(tmp_path: Path) -> None:
    mark = Mark(
        "web/a.jsonl:1", "a", "correct", "four\n\u202e", "was five", "2026-01-01T00:00:00Z", "b"
    )
    path = tmp_path / "marks.jsonl"
    path.write_bytes(mark.to_line())
    (read,) = read_marks(path).lines
    assert read == Mark(**{**vars(mark), "line": 1})


def test_a_last_line_that_breaks_off_is_no_mark(tmp_path: Path) -> None:
    path = written(tmp_path, line("a", "drop"), '{"row_id": "web/a.js', end="")
    file = read_marks(path)
    assert file.torn == 2
    assert list(file.marks) == [("a", None)]


def test_a_last_line_without_a_line_end_is_a_mark(tmp_path: Path) -> None:
    file = read_marks(written(tmp_path, line("a", "drop"), end=""))
    assert file.torn is None
    assert list(file.marks) == [("a", None)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ('{"row_id": 3, "content_hash": "a", "mark": "drop"}', "`row_id` must be a text"),
        ('{"row_id": "a", "mark": "drop"}', "`content_hash` must be a text"),
        (line("a", "maybe"), "`mark` must be keep, drop, correct or none"),
        (line("a", "drop", ', "note": 3'), "`note` must be a text"),
        (line("a", "correct", ', "response": " "'), "needs its new `response`"),
        (line("a", "correct"), "needs its new `response`"),
    ],
)
def test_a_line_that_is_no_mark_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, line("a", "drop"), text)
    with pytest.raises(UserError, match=f"marks.jsonl:2: .*{problem}"):
        read_marks(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl: the file of marks cannot be read"):
        read_marks(tmp_path / "absent.jsonl")
