r"""Lines of JSON are cut at their texts, those that are no more than that."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.pool.containers.textcuts import TextCuts, cut_texts, every_other
from tests.conftest import examples

SIMPLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from('"\\\n\t\r'))
RECORDS = st.lists(st.dictionaries(SIMPLE, SIMPLE, max_size=4), max_size=5)


def pieces(cuts: TextCuts, number: int) -> tuple[list[str], list[str]]:
    """Return the pieces of a line as they are written, and its texts."""
    start, count = cuts.starts[number], cuts.counts[number]
    written = cuts.written.slice(start, 2 * count + 2).to_pylist()
    return written, cuts.texts.slice(start, 2 * count).to_pylist()[1::2]


def cut(data: bytes) -> TextCuts:
    cuts = cut_texts(data)
    assert cuts is not None
    return cuts


@examples(4)
@given(RECORDS, st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]))
def test_the_texts_of_lines_are_those_of_their_values(
    records: list[dict[str, str]], separators: Any
) -> None:
    lines = [
        json.dumps(record, ensure_ascii=False, separators=separators) + "\n" for record in records
    ]
    cuts = cut("".join(lines).encode())
    for number, (record, line) in enumerate(zip(records, lines, strict=True)):
        written, texts = pieces(cuts, number)
        assert "".join(written) == line
        # Where a space stands before the colon, keys are texts as well.
        values = [*record.values()]
        keyed = [text for item in record.items() for text in item]
        assert texts == (keyed if separators[1] == " :" else values)


@pytest.mark.parametrize(
    "odd",
    [b'{"a": "b}', b'{"a": "\\u001f"}', b'{"a": "\\ud83d\\ude00"}', b'{"a": "\\x"}', b'{"a": "\x00"}',
     b'{"a": "b\\', b'{"a":\t"b"}', b"", b'{"a": "b\r"}'],
)  # fmt: skip
def test_a_line_with_more_than_plain_texts_is_not_cut_and_those_beside_it_are(odd: bytes) -> None:
    cuts = cut(b'{"a": "\\"b"}\n' + odd + b'\n{"a": "c\\\\"}\r\n')
    assert cuts.counts.tolist() == [1, 0, 1]
    assert [pieces(cuts, number)[1] for number in range(3)] == [['"b'], [], ["c\\"]]


@pytest.mark.parametrize("data", [b"\xff", b'{"a": "\xed\xa0\x80"}', b'{"a": "\xc3"}'])
def test_lines_that_are_no_utf_8_are_not_cut(data: bytes) -> None:
    assert cut_texts(b'{"a": "b"}\n' + data) is None


def test_every_other_place_of_a_run() -> None:
    places = np.array([0, 1, 2, 5, 7, 8, 9, 10])
    assert every_other(places).tolist() == [0, 2, 5, 7, 9]
    assert every_other(places[:0]).tolist() == []
