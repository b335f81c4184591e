"""Lines of plain texts are read as columns; test_recordrows.py holds that they are read right."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from curate.pool.layouts.plain import PlainReader
from curate.pool.layouts.plainlines import MAY_SAY_MORE, SAYS_MORE, PlainLineReader
from curate.pool.layouts.reader import RecordReader

TURN_PAIR = [{"role": "user", "content": "hi"}, {"content": "ho", "role": "assistant"}]
PAIR = {"instruction": "a\nb", "input": "c", "output": "d"}
TURNS = {"id": "é", "messages": TURN_PAIR, "score": 7}


def read(*records: dict[str, Any]) -> list[int]:
    """Return the numbers of the lines that are read."""
    lines = PlainLineReader(PlainReader(RecordReader())).read(
        b"\n".join(map(orjson.dumps, records))
    )
    return sorted(number for each in lines for number in each.numbers.tolist())


def test_lines_of_usual_layouts_are_read_whatever_stands_between_them() -> None:
    records: list[dict[str, Any]] = [
        PAIR,
        TURNS,
        {**PAIR, "input": ""},
        {**TURNS, "messages": TURN_PAIR * 2},
        PAIR,
    ]
    assert read(*records, {"a": 1}) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "record",
    [
        PAIR | {"output": "{}"},
        PAIR | {"output": " d"},
        PAIR | {"output": "\u3000d"},
        PAIR | {"instruction": "Human: a\n\nAssistant: b"},
        PAIR | {"output": ""},
        PAIR | {"category": "c" * 201},
        PAIR | {"score": [1]},
        TURNS | {"messages": TURN_PAIR[:1]},
        TURNS | {"messages": TURN_PAIR[1:]},
        TURNS | {"messages": []},
        TURNS | {"messages": [TURN_PAIR[0], {"role": "judge", "content": "a"}, TURN_PAIR[1]]},
        TURNS | {"messages": [TURN_PAIR[0], {"role": "assistant", "content": ""}]},
        TURNS | {"messages": [TURN_PAIR[0], {**TURN_PAIR[1], "weight": 0}]},
        TURNS | {"score": 1.5},
    ],
)
def test_a_line_that_says_more_is_left_to_other_readers(record: dict[str, Any]) -> None:
    assert read(PAIR, record, TURNS) == [0, 2]


def test_lines_between_whose_texts_hardly_any_two_are_alike_are_left_to_other_readers() -> None:
    assert read(*({**PAIR, "score": number} for number in range(300))) == []


def test_lines_that_few_others_are_like_are_left_to_other_readers() -> None:
    """A shape takes as long as some dozens of lines one by one."""
    rare = [{"score": number % 10, **PAIR, "level": number // 10} for number in range(90)]
    assert read(*rare, PAIR, *rare, PAIR, PAIR) == [90, 181, 182]


def test_texts_are_looked_into_by_their_first_byte() -> None:
    for code in range(0x110000):
        character = chr(code)
        # Some control characters are no white space to polars, and no line with one is cut.
        if character not in "\x1c\x1d\x1e\x1f" and re.match(SAYS_MORE, character):
            assert MAY_SAY_MORE[character.encode()[0]]
