"""JSON as it is written in practice: NaN is null, keys that come twice are seen."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.pool.containers.jsonvalue import is_not_finite, parse_record, repeated_key

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"a": 1', "a:b", "NaN", "\\", '\\"NaN\\":', "-Infinity", ' "', '\\":']
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


def without_nan(value: Any) -> Any:
    """Return a value with null for what is no finite number."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and value - value != 0 else value


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_python_writes_is_read_with_null_for_nan(
    value: Any, escaped: bool, indent: int | None
) -> None:
    raw = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    parsed = parse_record(raw)
    assert parsed == without_nan(value)
    assert repeated_key(raw, parsed) is None


@pytest.mark.parametrize(
    "raw", [b"nan", b"+Infinity", b"NaNa", b'{"a": NaN', b"{NaN: 1}", b"-NaN1"]
)
def test_nothing_else_becomes_null(raw: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        parse_record(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"k": 1, "k": 2}',
        b'{"k":1,"k"\t:1}',
        b'{"k" :"\\":", "k" :"\\":"}',
        b'[{"a": "x:y"}, {"b": {"k": [1], "k": [1]}}]',
        b'{"k": 111111111111111111111111111111, "k": NaN}',
        b'{"a": "\\u003a", "k": 1, "k": 2}',
        b'{"k": 1, "\\u006b": 2}',
    ],
)
def test_a_key_that_comes_twice_is_seen_at_any_depth(raw: bytes) -> None:
    assert repeated_key(raw, parse_record(raw)) == "k"


def test_what_is_null_for_being_nan_is_told_from_other_nulls() -> None:
    raw = b'{"a": NaN, "b": null, "c": "NaN", "d": {"e": -Infinity}}'
    assert [f for f in ("a", "b", "c", "d.e") if is_not_finite(raw, {}, f)] == ["a", "d.e"]
    # In a table other nulls are left out.
    assert [f for f in ("a", "b") if is_not_finite(b"", {"a": None}, f)] == ["a"]
