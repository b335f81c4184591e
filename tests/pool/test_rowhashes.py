"""The hashes of many rows are those of each row."""

from __future__ import annotations

import re
import sys
import unicodedata
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from curate.core.rows import content_hash, text_hash
from curate.pool.rowhashes import USUAL, row_hashes
from tests.conftest import examples

PYTHON_USUAL = re.sub(r"\\u\{(\w+)\}", lambda match: chr(int(match[1], 16)), USUAL)

# What white space, Unicode composition and the marks between turns can do.
PIECES = (
    ["a", "b c", " ", "  ", "\n", "\n\n", "\r\n", "\t", "\x1e", "\x1f", "\x85", "\xa0", "\xad", "\x7f",
     "\u2028", "\u3000", "\u2000", "e\u0301", "é", "\u1100\u1161", "가", "각", "か\u3099", "が", "東京",
     "привет", "й", "и\u0306", "\u2126", "“x”", "…", "\ufb01", "\U0001f600", "\ufeff", "\x00"]
)  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | st.text(max_size=6)
TURN: Any = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": TEXT},
    optional={"reasoning": TEXT, "weight": st.just(0)},
)
TURNS = st.lists(
    TURN | st.fixed_dictionaries({"role": st.just("user"), "content": TEXT}), max_size=3
)


@examples(4)
@given(st.lists(st.tuples(TURNS, st.none() | st.just("[]")), max_size=6))
def test_many_rows_have_the_hashes_that_each_has(rows: list[tuple[Any, str | None]]) -> None:
    contents, texts = row_hashes([turns for turns, _ in rows], [tools for _, tools in rows])
    assert contents == [content_hash(turns, tools) for turns, tools in rows]
    assert texts == [text_hash(turns, tools) for turns, tools in rows]


def test_every_two_pieces_have_the_hashes_of_their_row() -> None:
    pairs = [*product(PIECES, PIECES)]
    rows: list[Any] = [
        *([{"role": "user", "content": a + b}] for a, b in pairs),
        *([{"role": "user", "content": text} for text in pair] for pair in pairs),
    ]
    contents, texts = row_hashes(rows, [None] * len(rows))
    assert contents == [content_hash(turns, None) for turns in rows]
    assert texts == [text_hash(turns, None) for turns in rows]


def test_no_rows_have_no_hashes() -> None:
    assert row_hashes([], []) == ([], [])


def test_usual_characters_stay_as_they_are_beside_each_other() -> None:
    characters = "".join(map(chr, range(sys.maxunicode + 1)))
    usual = set(re.findall(f"[{PYTHON_USUAL}]", characters))
    assert len(usual) > 30_000
    assert {c for c in usual if c.isspace()} == {" ", "\n"}
    assert all(unicodedata.normalize("NFC", c) == c for c in usual)
    for character in characters:
        apart = unicodedata.normalize("NFD", character)
        if len(apart) > 1 and unicodedata.normalize("NFC", character) == character:
            assert not usual & {*apart[1:]}, character
        assert not (character in usual and unicodedata.combining(character))
