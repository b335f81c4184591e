"""Records become what the general reader makes of each, whichever of them are read together."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from curate.pool.containers.lines import LineBlock
from curate.pool.layouts import RecordReader
from curate.pool.recordrows import MOST_TOGETHER, FileReader, RecordBatch
from tests.conftest import examples
from tests.pool.layouts.test_plain import RECORDS, TEXTS, TURN

READER = FileReader("s", "f.jsonl", None, False, RecordReader())
# A reader that takes an end off has all records read one by one; this end comes in none of them.
ONE_BY_ONE = replace(READER, strip_end="\0" * 9)
ODD_LINES = st.sampled_from(
    [b"", b" \r", b"{", b"7", b'"a"', b"[]", b"\xff", b"\xef\xbb\xbf{}",
     b'{"prompt": NaN, "completion": "b"}',
     b'{"prompt": "a", "prompt": "b", "completion": "c"}', b'{"prompt": "\\ud800", "completion": "b"}',
     b'{"prompt": "a\\u003a", "completion": "b\\u0000", "completion": "c"}',
     b' {"prompt":"a","completion":"b"}\r',
     b'{"prompt": "a", "completion": "b"}{}',
     b'{"prompt": "a", "completion": "b", "n": 123456789012345678901}']
)  # fmt: skip
LINES = st.lists(RECORDS.map(orjson.dumps) | ODD_LINES, max_size=8)


def read(reader: FileReader, lines: list[bytes]) -> dict[str, Any]:
    batch: RecordBatch = reader.read(LineBlock(1, b"\n".join(lines)))
    batch.rows.validate(full=True)
    return vars(batch) | {"repeated": sorted(batch.repeated), "layouts": {**batch.layouts}}


@examples(5)
@given(LINES)
def test_lines_are_read_together_as_they_are_one_by_one(lines: list[bytes]) -> None:
    assert read(READER, lines) == read(ONE_BY_ONE, lines)


def written(record: dict[str, Any], way: int) -> bytes:
    """Return a record as JSON, in one of the ways that programs write it."""
    return (
        orjson.dumps(record),
        json.dumps(record).encode(),
        json.dumps(record, ensure_ascii=False).encode() + b"\r",
    )[way]


TEXT = st.text(max_size=3).map(lambda text: text.encode(errors="ignore").decode()) | TEXTS
SCALAR = st.sampled_from([7, 1.5, None, True])
ALIKE = st.one_of(
    st.fixed_dictionaries({"instruction": TEXT, "input": TEXT, "output": TEXT}),
    st.fixed_dictionaries(
        {"id": TEXT, "question": TEXT, "answer": TEXT, "score": SCALAR, "task": TEXT}
    ),
    st.fixed_dictionaries(
        {"messages": st.lists(TURN, min_size=1, max_size=5), "score": SCALAR, "source": TEXT}
    ),
    st.fixed_dictionaries({"conversations": st.lists(TURN, max_size=3)}),
)
# Many lines of few shapes, of which some have a byte that is another, or one too many.
CHANGES = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 200), st.binary(max_size=2)), max_size=3
)


@examples(2)
@given(st.lists(st.tuples(ALIKE, st.integers(0, 2)), min_size=2, max_size=12), CHANGES)
def test_lines_of_one_shape_are_read_as_one_by_one_whatever_their_bytes(
    records: list[tuple[dict[str, Any], int]], changes: list[tuple[int, int, bytes]]
) -> None:
    lines = [written(record, way) for record, way in records]
    for number, at, others in changes:
        line = lines[number % len(lines)]
        at %= len(line)
        lines[number % len(lines)] = line[:at] + others + line[at + len(others) // 2 :]
    assert read(READER, lines) == read(ONE_BY_ONE, lines)


def test_conversations_of_any_number_of_turns_keep_the_order_of_their_lines() -> None:
    turns = [{"role": role, "content": role[:1]} for role in ("user", "assistant")]
    lines = [orjson.dumps({"messages": turns * (1 + number % 3)}) for number in range(9)]
    rows = read(READER, lines)["rows"]
    assert rows["row_id"].to_pylist() == [f"s/f.jsonl:{number}" for number in range(1, 10)]
    assert [len(each) for each in rows["messages"].to_pylist()] == [2, 4, 6] * 3


@examples(2)
@given(LINES, st.sampled_from(["answered", "unanswered"]))
def test_rows_that_are_read_elsewhere_are_left_of_those_read_together_too(
    lines: list[bytes], leaves: Any
) -> None:
    left = read(replace(READER, leaves=leaves), lines)
    assert left == read(replace(ONE_BY_ONE, leaves=leaves), lines)


def test_a_very_long_line_of_escapes_takes_no_more_memory_than_one_by_one() -> None:
    line = json.dumps({"prompt": "a", "response": "中" * (MOST_TOGETHER // 6)}).encode()
    tracemalloc.start()
    try:
        batch = READER.read(LineBlock(1, line))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert batch.rows.num_rows == 1
    assert peak < 20 * len(line)
