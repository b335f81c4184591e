"""JSON text: integers stay exact, and what no parser can hold is told as such."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.jsontext import DEEPEST, JsonLimit, dump_json, parse_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner)
    ),
)


@given(VALUES, st.sampled_from([None, 0, 3]))
def test_every_value_is_read_as_the_standard_library_reads_it(
    value: Any, indent: int | None
) -> None:
    data = json.dumps(value, indent=indent).encode()
    assert repr(parse_json(data)) == repr(json.loads(data))


@given(
    st.binary(max_size=30)
    | st.lists(st.sampled_from(list(b'[]{}",:\\0123456789-.eEn '))).map(bytes)
)
def test_any_bytes_are_a_value_or_a_fault_that_is_told(data: bytes) -> None:
    with contextlib.suppress(orjson.JSONDecodeError, JsonLimit):
        parse_json(data)


def test_deep_json_with_a_long_integer_is_told() -> None:
    with pytest.raises(JsonLimit, match="nested too deeply"):
        parse_json(b"[" * 1_020 + b"1" * 30 + b"]" * 1_020)


@pytest.mark.parametrize("data", [b"1" * 5_000, b'{"a": [ -' + b"1" * 5_000 + b"]}", b"[1e999]"])
def test_a_number_that_no_float_holds_is_no_json(data: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        parse_json(data)


@given(VALUES)
def test_every_value_is_written_so_that_it_comes_back(value: Any) -> None:
    assert repr(parse_json(dump_json(value).encode())) == repr(value)


@pytest.mark.parametrize("inner", [1, 2**70])
@pytest.mark.parametrize("depth", [DEEPEST, DEEPEST + 1, 100_000])
def test_what_is_nested_too_deeply_is_not_written(depth: int, inner: int) -> None:
    value: Any = inner
    for i in range(depth):
        value = [value] if i % 2 else {"a": value}
    if depth <= DEEPEST:
        assert json.loads(dump_json(value)) == value
    else:
        with pytest.raises(JsonLimit, match="nested too deeply"):
            dump_json(value)
