"""What the files of a recipe are read as: container, layouts, one row, and what goes to meta."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.pool.describe import FileSummary, summarise_files
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from tests.conftest import turns

LONG = "a text of more than twenty characters"


def summarise(path: Path, **entry: Any) -> list[FileSummary]:
    file = RowFile.model_validate({"path": str(path), "source": "s", **entry})
    files = row_set("pool", [file], seed=0, max_rejected=1.0)
    return list(summarise_files({"pool": files.entries}, 0))


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_file_is_summarised_with_counts_that_add_up(tmp_path: Path) -> None:
    dolly = {"instruction": "a", "context": "x", "response": "b", "category": "qa"}
    messages = {"messages": turns("a", "b"), "id": "1f0c-4e5a-99aa-aaaaaaaaaaaa"}
    bad = {"prompt": "a", "completion": "b", "images": ["x.png"]}
    path = write(tmp_path / "mix.jsonl", dolly, dolly, messages, bad, {"instruction": "a"})
    [summary] = summarise(path)
    assert summary.lines() == [
        "pool s/mix.jsonl: JSON Lines; 5 records, 2 dolly (instruction, response, context), "
        "1 messages (messages); 3 rows, 2 rejected",
        "    1 x unsupported_content, first at 4: images",
        "    1 x missing_field, first at 5: response",
        "    user: a x",
        "    assistant: b",
        "    to meta: id 33%",
    ]


def test_the_layout_of_most_records_is_the_first(tmp_path: Path) -> None:
    listed = {"messages": turns("a", "b")}
    path = write(tmp_path / "x.jsonl", {"question": "a", "answer": "b"}, listed, listed)
    [summary] = summarise(path)
    assert "2 messages (messages), 1 qa (question, answer)" in summary.lines()[0]


def test_fields_that_are_null_everywhere_are_not_listed(tmp_path: Path) -> None:
    nulls = {"messages": turns("a", "b"), "tools": None, "source": None}
    [summary] = summarise(write(tmp_path / "x.jsonl", nulls, nulls | {"source": "x", "id": 0}))
    assert summary.lines()[-1] == "    to meta: id 50%"


def test_texts_that_reach_no_turn_are_warned_of_and_names_are_not(tmp_path: Path) -> None:
    pair = {"prompt": "a", "completion": "b"}
    path = write(
        tmp_path / "x.jsonl",
        pair | {"rationale": LONG, "url": "https://example.org/a/long/address", "note": "short"},
        pair | {"rationale": LONG, "notes": [{"said": LONG}]},
    )
    [summary] = summarise(path)
    assert [warning.split("`")[1] for warning in summary.warnings] == ["rationale", "notes"]
    assert "    to meta: rationale 100%, url 50%, note 50%, notes 50%" in summary.lines()


@pytest.mark.parametrize(("labels", "doubtful"), [((0, 1), 1), (("0", "1"), 1), ((0, 1, 2), 0)])
def test_labels_of_0_and_1_that_may_mark_bad_answers_are_warned_of(
    tmp_path: Path, labels: tuple[int | str, ...], doubtful: int
) -> None:
    pairs = [{"instruction": "a", "output": "b", "label": label} for label in labels]
    [summary] = summarise(write(tmp_path / "x.jsonl", *pairs))
    assert summary.rows == len(labels) and len(summary.warnings) == doubtful
    assert all("if 0 marks a bad answer" in warning for warning in summary.warnings)


def test_answers_that_a_field_may_call_bad_are_warned_of(tmp_path: Path) -> None:
    pair = {"question": "a", "answer": "b", "is_fiction": False, "passed": True}
    path = write(
        tmp_path / "x.jsonl", *(pair | {"is_correct": good} for good in (True, False, False))
    )
    assert summarise(path)[0].warnings == [
        "`is_correct` is false in 2 rows: if it marks bad answers, leave them out by `select: "
        '{filter: "meta.is_correct = true"}`'
    ]


def test_answers_that_end_in_a_mark_of_a_template_are_warned_of(tmp_path: Path) -> None:
    pairs = [{"prompt": "a", "completion": f"b{mark}"} for mark in ["<|im_end|>\n"] * 4 + [""] * 9]
    path = write(tmp_path / "x.jsonl", *pairs, {"prompt": "a", "completion": "<s>b</s>"})
    [warning] = summarise(path)[0].warnings
    assert warning.startswith('4 answers end in "<|im_end|>\\n", a mark of chat templates')
    assert not summarise(path, strip_end="<|im_end|>\n")[0].warnings


def test_named_fields_that_no_record_has_are_warned_of(tmp_path: Path) -> None:
    named = {"prompt": "q", "response": "r", "system": "sytem", "context": "c", "origin": "t.n"}
    lines = {"q": "a", "r": "b", "system": "x"}, {"q": "a", "r": "b", "c": "d", "t": {"n": "e"}}
    [summary] = summarise(write(tmp_path / "x.jsonl", *lines), fields=named)
    assert summary.warnings == ["`sytem`, which `fields:` names, is in no record"]
    assert "1 fields (q, r), 1 fields (q, r, c, t.n)" in summary.lines()[0]


def test_the_rejected_answer_is_spoken_of_and_no_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"prompt": "a", "chosen": "b", "rejected": LONG})
    [summary] = summarise(path)
    assert not summary.warnings
    assert any("the chosen answer is the row" in line for line in summary.lines())


def test_every_file_has_its_container(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"prompt": "a", "completion": "b"}] * 2, indent=1))
    (tmp_path / "b.csv").write_text("prompt,completion\na,b\n")
    (tmp_path / "c.tsv").write_bytes("prompt\tcompletion\na\tb\n".encode("utf-16"))
    (tmp_path / "d.json").write_text(json.dumps({"prompt": ["a"], "completion": ["b"]}))
    summaries = summarise(tmp_path)
    assert [(s.name, s.container, s.rows) for s in summaries] == [
        ("s/a.json", "a JSON document", 2),
        ("s/b.csv", "CSV", 1),
        ("s/c.tsv", "TSV in UTF-16", 1),
        ("s/d.json", "JSON by columns", 1),
    ]
