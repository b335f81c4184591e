"""Records become what the general reader makes of each, whichever of them are read together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from curate.pool.containers.lines import LineBlock
from curate.pool.layouts import RecordReader
from curate.pool.recordrows import FileReader, RecordBatch
from tests.conftest import examples
from tests.pool.layouts.test_plain import RECORDS

READER = FileReader("s", "f.jsonl", None, False, RecordReader())
# A reader that takes an end off has all records read one by one; this end comes in none of them.
ONE_BY_ONE = replace(READER, strip_end="\0")
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
    batch: RecordBatch = reader.read(LineBlock(1, b"\n".join(lines)).records())
    batch.rows.validate(full=True)
    return vars(batch) | {"repeated": sorted(batch.repeated), "layouts": [*batch.layouts.items()]}


@examples(5)
@given(LINES)
def test_lines_are_read_together_as_they_are_one_by_one(lines: list[bytes]) -> None:
    assert read(READER, lines) == read(ONE_BY_ONE, lines)


@examples(2)
@given(LINES, st.sampled_from(["answered", "unanswered"]))
def test_rows_that_are_read_elsewhere_are_left_of_those_read_together_too(
    lines: list[bytes], leaves: Any
) -> None:
    left = read(replace(READER, leaves=leaves), lines)
    assert left == read(replace(ONE_BY_ONE, leaves=leaves), lines)
