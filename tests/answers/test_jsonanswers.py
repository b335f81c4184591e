"""JSON in answers: whole, fenced, or behind words; never mended."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.answers.jsonanswers import read_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('```\n{"a": 1}\n```\nI hope that helps.', {"a": 1}),
        ('Here it is:\n\n```json\n{"a": 1}\n```', {"a": 1}),
        ('First ```json\n{"a": 1}\n``` no, rather\n```json\n{"a": 2}\n```', {"a": 2}),
        ('I take [1] and {x}, so:\n{"a": {"b": [2]}}', {"a": {"b": [2]}}),
        ("So: [1, 2]", [1, 2]),
        ("4", 4),
        ('~~~json\n{"a": 1}\n~~~', {"a": 1}),
        ('```json\r\n{"a": 1}\r\n```', {"a": 1}),
        ('```json {"a": 1}```', {"a": 1}),
        ('```json\n{"a": "x```y"}\n```', {"a": "x```y"}),
        ('**{"a": 1}**', {"a": 1}),
        ('<answer>{"a": 1}</answer>', {"a": 1}),
        ('{"a": 1}\n\nThat is all.', {"a": 1}),
    ],
)
def test_json_is_read_where_it_stands(text: str, value: Any) -> None:
    assert read_json(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "no", '{"a": 1', '```json\n{"a": 1\n```', 'So: {"a": 1} or so', "So: 4", "{'a': 1}"],
)
def test_nothing_is_mended(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read_json(text)


VALUES = st.dictionaries(st.text(max_size=5), st.lists(st.integers(0, 9)) | st.text(max_size=9))


@given(VALUES, st.text(alphabet="ab .,:\n", max_size=30))
def test_words_before_it_and_a_fence_around_it_change_nothing(value: Any, words: str) -> None:
    json_text = orjson.dumps(value).decode()
    for text in (json_text, f"{words}{json_text}", f"{words}\n```json\n{json_text}\n```\n{words}"):
        assert read_json(text) == value


def test_a_long_hostile_text_takes_no_time() -> None:
    started = time.monotonic()
    for text in ("[" * 200_000 + "]", "{" * 200_000 + "}", "```\n" * 50_000):
        with pytest.raises(orjson.JSONDecodeError):
            read_json(text)
    assert time.monotonic() - started < 60
