"""Keys in what servers say: hidden whole and in pieces, in every writing, before anything is cut."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.llm.engines.redact import EXCERPT, MARK, PIECE, Redactor

KEY = "sk-very/secret+0123456789=&<\"'"
keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=PIECE, max_size=60)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def pieces(text: str) -> set[str]:
    return {text[i : i + PIECE].lower() for i in range(len(text) - PIECE + 1)}


@given(key=keys, before=texts, after=texts, start=st.integers(0, 50), stop=st.integers(0, 60))
def test_no_piece_of_a_key_is_left(
    key: str, before: str, after: str, start: int, stop: int
) -> None:
    hidden = Redactor(key).hide(f"{before}{key[start:stop]}{after}{key}{before}")
    assert not pieces(key) & pieces(hidden)


@given(key=keys, text=texts)
def test_what_holds_no_piece_is_left_as_it_is(key: str, text: str) -> None:
    redactor = Redactor(key)
    if not pieces(key) & pieces(text):
        assert redactor.hide(text) == text


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        KEY.upper(),
        f"Bearer {KEY}",
        quote(KEY, safe=""),
        quote(KEY, safe="").lower(),
        html.escape(KEY),
        json.dumps({"a": KEY}),
        json.dumps(KEY).replace("/", "\\/"),
        base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(f"user:{KEY}".encode()).decode(),
        base64.b64encode(f":{KEY}".encode()).decode(),
        base64.urlsafe_b64encode(f"Bearer {KEY}".encode()).decode(),
        KEY.encode().hex(),
        KEY[: len(KEY) // 2],
        KEY[-PIECE:],
    ],
)
def test_a_key_is_hidden_in_every_writing(written: str) -> None:
    hidden = Redactor(KEY).hide(f"it was {written}!")
    assert MARK in hidden
    # At the seams of base64 a few letters belong to what stands beside the key.
    assert len(hidden) < len("it was !") + 3 * len(MARK) + 12, hidden


def test_a_server_that_repeats_its_key_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    redactor = Redactor(KEY, "http://h/v1")
    assert redactor.hide("a") == "a" and caplog.messages == []
    assert redactor.hide(KEY) == redactor.hide(KEY) == MARK
    assert caplog.messages == [
        "http://h/v1 repeats its key, which is hidden as [key] wherever it says it"
    ]


def test_a_text_around_keys_is_kept() -> None:
    assert Redactor(KEY).hide(f"a {KEY} b {KEY}{KEY} c") == "a [key] b [key] c"


@pytest.mark.parametrize("key", [None, "EMPTY", "ollama"])
def test_a_placeholder_is_no_secret(key: str | None) -> None:
    assert Redactor(key).hide("EMPTY ollama") == "EMPTY ollama"


@given(at=st.integers(0, EXCERPT))
def test_nothing_is_cut_before_it_is_hidden(at: int) -> None:
    said = Redactor(KEY).excerpt("." * at + KEY + "." * EXCERPT)
    assert len(said) <= EXCERPT and not pieces(KEY) & pieces(said) and "sk-v" not in said


def test_an_excerpt_is_one_line_without_commands_to_a_terminal() -> None:
    said = Redactor().excerpt("a\n\tb\x1b[2J\u202ec\x00")
    assert (
        said == "a b\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}"
    )
