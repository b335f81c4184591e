"""Pieces: what counts as the end of one, and what is stripped of it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.clean.pieces import piece_forms, plain_text, split_pieces
from curate.clean.words import fold, word_spans
from tests.conftest import examples


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
        (" \n . \n", []),
    ],
)
def test_sentences_lines_quotations_and_choices_are_pieces(text: str, pieces: list[str]) -> None:
    assert split_pieces(pl.Series([text]))["text"].to_list() == pieces


@examples(10)
@given(st.text(st.sampled_from("ab.?\n\"':-( )1é你"), max_size=40))
def test_the_pieces_of_a_prompt_are_those_of_a_row_with_its_text(text: str) -> None:
    folded = fold(pl.Series([text]))
    words = np.zeros(len(list(word_spans(folded[0]))), dtype=np.int8)
    forms = [form.text for [form] in piece_forms(folded[0], words)]
    plain = plain_text(pl.Series(forms, dtype=pl.String)).to_list()
    assert [p for p in plain if p] == split_pieces(pl.Series([text]))["text"].to_list()


def test_a_piece_has_forms_without_the_template_at_its_ends() -> None:
    template = np.array([1, 0, 0, 1, 2], dtype=np.int8)
    [forms] = piece_forms("not ( true ) and false is", template)
    assert [form.text for form in forms] == [
        "not ( true ) and false is",
        "not ( true ) and false ",
        " ( true ) and ",
    ]
    assert [(form.words, form.start) for form in forms] == [(5, 0), (4, 0), (2, 1)]
