"""The escapes of many texts are those of each."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.pool.containers.escapes import unescape
from curate.pool.containers.textcuts import every_other
from tests.conftest import examples


def unescaped(written: bytes) -> tuple[bytes, list[int], list[int]]:
    codes = np.frombuffer(written + b"\n", np.uint8)
    data, dropped, odd = unescape(codes, every_other(np.flatnonzero(codes == ord("\\"))))
    return data[:-1], dropped.tolist(), odd.tolist()


def test_every_character_is_what_its_escape_says() -> None:
    characters = [chr(code) for code in range(0x20, 0x10000) if not 0xD800 <= code < 0xE000]
    written = "".join(f"\\u{ord(character):04x}" for character in characters)
    assert unescaped(written.encode())[0].decode() == "".join(characters)
    assert unescaped(written.upper().replace("\\U", "\\u").encode())[0].decode() == "".join(
        characters
    )


@examples(4)
@given(
    st.lists(
        st.sampled_from(["a", "é", r"\n", r"\/", r"\\", r"\"", r"\u00e9", r"\u0041", r"\u20AC"])
    )
)
def test_texts_say_what_their_json_says_and_all_that_went_is_named(written: list[str]) -> None:
    text = "".join(written).encode()
    data, dropped, odd = unescaped(text)
    assert data.decode() == json.loads(b'"' + text + b'"')
    assert (len(text) - len(data), odd) == (len(dropped), [])


@pytest.mark.parametrize(
    "written",
    [rb"\x", rb"\u00g0", rb"\u00", rb"\u001f", rb"\ud83d\ude00", rb"\ude00", rb"\u", b"\\"],
)
def test_an_escape_of_another_kind_is_odd(written: bytes) -> None:
    assert unescaped(b"a" + written)[2][0] == 1
