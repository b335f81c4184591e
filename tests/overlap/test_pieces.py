"""Pieces: what counts as the end of one, and what is stripped of it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.overlap.pieces import piece_forms, plain_text, split_pieces
from curate.text.words import fold, split_words
from tests.conftest import examples

# Of the words of a text, at most six.
MARKS = st.lists(st.integers(0, 2), min_size=6, max_size=6)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Q: What is it?\nA: Ice.", ["q", "what is it", "a", "ice"]),
        ('He said "what is it", and left', ["he said", "what is it", "and left"]),
        ("A) Mars\n(b) Venus\n- Saturn\n3) Sun", ["mars", "venus", "saturn", "sun"]),
        ("At 10:30 it is 1.5 km away", ["at 10 30 it is 1.5 km away"]),
        ("这是什么？冰。好！", ["这是什么", "冰", "好"]),
        ("<|user|> [ [ ( <|end|>", ["[ [ ("]),
        ("-12 * 3 = ?", ["-12 * 3"]),
        ("ما هي؟ لا؛ نعم। हाँ։ ոչ። አዎ", ["ما هي", "لا", "نعم", "हाँ", "ոչ", "አዎ"]),
        ("> one\n>> - two 🙂 three — four", ["one", "two", "three", "four"]),
        ("| one | two |\n[INST] three [/INST] ### four", ["one", "two", "three", "four"]),
        ("the capital_of `it`، is ____", ["the capital of it is"]),
        (" \n . \n", []),
    ],
)
def test_sentences_lines_quotations_and_choices_are_pieces(text: str, pieces: list[str]) -> None:
    assert split_pieces(pl.Series([text]))["text"].to_list() == pieces


@examples(4)
@given(
    st.lists(st.text(st.sampled_from("ab.?\n\"':-( )<>_#|؟\u03011é你"), max_size=40), max_size=3)
)
def test_the_pieces_of_a_prompt_are_those_of_a_row_with_its_text(texts: list[str]) -> None:
    folded = fold(pl.Series(texts, dtype=pl.String))
    forms = piece_forms(
        folded, np.zeros(len(split_words(folded).explode(empty_as_null=False)), dtype=np.int8)
    )
    assert forms.height == 0 or forms["level"].unique().to_list() == [2]
    plain = forms.with_columns(plain_text(forms["text"]).alias("text")).filter(pl.col("text") != "")
    assert plain.select("number", "text").rows() == split_pieces(folded).rows()


@examples(4)
@given(st.lists(st.tuples(st.sampled_from(["a b. c", "<b> 1) d", "( é ) 你"]), MARKS), max_size=4))
def test_forms_are_the_texts_between_their_own_words(marked: list[tuple[str, list[int]]]) -> None:
    folded = fold(pl.Series([text for text, _ in marked], dtype=pl.String))
    words = split_words(folded)
    template = [mark for (_, marks), some in zip(marked, words, strict=True)
                for mark in marks[: len(some)]]  # fmt: skip
    forms = piece_forms(folded, np.array(template, dtype=np.int8))
    every = words.explode(empty_as_null=False).to_list()
    places = forms.select("level", "start", "words").rows()
    for (level, start, count), text_words in zip(places, split_words(forms["text"]), strict=True):
        assert text_words.to_list() == every[start : start + count]
        if level < 2:
            assert template[start] <= level
            assert template[start + count - 1] <= level


def test_a_piece_has_forms_without_the_template_at_its_ends() -> None:
    template = np.array([2, 2, 1, 0, 0, 1, 2], dtype=np.int8)
    forms = piece_forms(pl.Series(["<b>is", "not ( true ) and false is"]), template)
    assert forms.select("number", "text", "words", "start").rows() == [
        (0, "", 0, 0),
        (0, "is", 1, 1),
        (1, "not ( true ) and false is", 5, 2),
        (1, "not ( true ) and false ", 4, 2),
        (1, " ( true ) and ", 2, 3),
    ]
