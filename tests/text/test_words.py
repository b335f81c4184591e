"""Words of any script: the vectorised and the plain way agree, and scripts without spaces fall apart."""

from __future__ import annotations

import re
import unicodedata

import polars as pl
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from curate.text.shingles import WORD_OR_CHARACTER
from curate.text.words import (
    CHANGING,
    cased_words,
    count_words,
    fold,
    join_words,
    split_words,
    whole_words,
    word_counts,
    word_spans,
)
from tests.conftest import examples

SCRIPTS = st.text(
    st.sampled_from("aZ9é\u0301ßİﬀ'-_ \n.你好々。かがカー\u3099กำ่ที\u0e34หนཀླ\u0f71हिन्दीक्ष한글ΆŁ½①Ⅷ٣")
)


# What Python and polars know in the same way.
ANY = st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cn", "Cs"]), max_size=30)


@examples(8)
@given(st.lists(st.one_of(SCRIPTS, ANY), max_size=5))
def test_words_with_places_are_the_words_of_the_column(texts: list[str]) -> None:
    folded = fold(pl.Series(texts, dtype=pl.String))
    words = split_words(folded)
    for text, column in zip(folded, words, strict=True):
        spans = list(word_spans(text))
        assert [word.text for word in spans] == list(column)
        assert all(text[word.start : word.stop] for word in spans)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("GPT4模型 is_good", ["gpt4", "模", "型", "is", "good"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("Température ÉTÉ naïve", ["temperature", "ete", "naive"]),
        ("ＡＢＣ１２", ["abc12"]),
        ("ذَهَبَ الطَّالِبُ مـــن", ["ذهب", "الطالب", "من"]),
        ("שָׁלוֹם עוֹלָם", ["שלום", "עולם"]),
    ],
)
def test_each_script_has_its_own_words(text: str, words: list[str]) -> None:
    joined = join_words(split_words(pl.Series([text])))[0]
    assert (
        joined.split()
        == "".join(
            f"{word}"
            if "\u0e00" < word[0] < "\u0eff" or "\u4e00" < word[0] < "\u9fff"
            else f" {word} "
            for word in words
        ).split()
    )
    assert len(split_words(pl.Series([text]))[0]) == len(words)


def test_folding_leaves_out_only_texts_that_it_would_not_change() -> None:
    skipped = [c for c in map(chr, range(0x80, 0x3000)) if not re.match(CHANGING, c)]
    assert set("\u2019€»æαд") <= set(skipped)
    for char in skipped:
        # Neither itself nor what stands around it.
        assert unicodedata.normalize("NFKD", f"a{char}b") == f"a{char}b"
        assert char.lower() == char
        assert unicodedata.category(char)[0] != "M"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("It's 3.5 km, e-mail me!", 5),
        ("軽いから", 4),
        ("GPT4模型 is", 4),
        (" \n\u3000", 0),
        ("ราคาเท่าไร", 9),
        ("你好,世界。", 6),
    ],
)
def test_words_are_counted_as_they_are_written(text: str, count: int) -> None:
    assert count_words(text) == count


@given(st.one_of(SCRIPTS, ANY))
def test_a_text_alone_has_as_many_words_as_in_a_column(text: str) -> None:
    assert count_words(text) == pl.select(word_counts(pl.lit(text))).item()


@given(st.one_of(SCRIPTS, ANY))
def test_words_as_written_are_those_of_a_column(text: str) -> None:
    assert cased_words(text) == pl.Series([text]).str.extract_all(WORD_OR_CHARACTER)[0].to_list()


@pytest.mark.parametrize(
    ("word", "text", "whole"),
    [
        ("cork", "a cork, then", True),
        ("cork", "corkscrews", False),
        ("C++", "So C++ it is", True),
        ("巴黎", "那里是巴黎。", True),
        ("巴黎", "NBA巴黎2024", True),
        ("B", "所以选B。", True),
        ("B", "所以选BC。", False),
    ],
)
def test_a_whole_word_is_no_part_of_another(word: str, text: str, whole: bool) -> None:
    pattern = regex.compile(whole_words(regex.escape(word)), regex.V1)
    assert (pattern.search(text) is not None) is whole
