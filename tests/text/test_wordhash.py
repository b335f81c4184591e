"""Hashes of words: those of equal words are equal, those of others are not."""

from __future__ import annotations

from itertools import product

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from curate.text.wordhash import LONGEST, hash_words, word_hashes
from curate.text.words import split_words
from tests.conftest import examples

LETTERS = "abAÉé \n.-’“苹ก\u0e31ह\u093f\u0301\u1dc0\u200bяş１ﬁ"
TEXTS = st.lists(st.text(st.sampled_from(LETTERS) | st.characters(codec="utf-8")), max_size=4)


@examples(8)
@given(TEXTS)
def test_words_of_texts_and_of_lists_have_the_same_hashes(texts: list[str]) -> None:
    assert_same_hashes(texts)


def test_words_of_any_three_letters_have_the_same_hashes() -> None:
    assert_same_hashes(["".join(letters) for letters in product(LETTERS, repeat=3)])


def assert_same_hashes(texts: list[str]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    words = split_words(series)
    hashes, lengths = hash_words(series)
    assert lengths.tolist() == words.list.len().to_list()
    assert hashes.tolist() == word_hashes(words)[0].tolist()
    every = words.explode(empty_as_null=False).to_list()
    assert len(set(hashes.tolist())) == len(set(every))
    assert len(set(zip(hashes.tolist(), every, strict=True))) == len(set(every))


def test_words_of_any_length_differ_by_their_last_letter() -> None:
    sizes = [1, 7, 8, 9, 16, 17, LONGEST - 1, LONGEST, LONGEST + 1, 10_000]
    texts = pl.Series([f"{'x' * (size - 1)}{end}" for size in sizes for end in "ab"])
    hashes, lengths = hash_words(texts)
    assert lengths.tolist() == [1] * len(texts)
    assert len(set(hashes.tolist())) == len(texts)
    assert hash_words(texts.reverse())[0].tolist() == hashes[::-1].tolist()
