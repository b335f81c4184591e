"""Texts as sets of n-grams: up to hashing those of a plain Python loop, whatever the script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.shingles import Shingles, Unit, roll, shingle
from tests.conftest import examples

Gram = tuple[str, ...]


# --- the oracle -----------------------------------------------------------------------------------


def plain(text: str) -> str:
    lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).lower())
    return re.sub(r"\s+", " ", lowered).strip()


# Thai to Tibetan, Burmese, Khmer, Japanese marks, kana, Chinese characters.
UNSPACED = [
    (0xE00, 0xFFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF),
    (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
]  # fmt: skip


def is_unspaced(char: str) -> bool:
    return any(low <= ord(char) <= high for low, high in UNSPACED)


def kind_of(char: str) -> str:
    """Return w in words, c for a character that is a word, m for a mark behind one, or nothing."""
    category = unicodedata.category(char)[0]
    if category not in "LMN":
        return " "
    return "w" if not is_unspaced(char) else "m" if category == "M" else "c"


def units_of(text: str, unit: Unit) -> list[str]:
    text = plain(text)
    if unit == "char":
        return list(text)
    if unit == "word":
        marked = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text)
        return marked.split()
    kinds = "".join(map(kind_of, text))
    is_mark = "".join("M" if unicodedata.category(c)[0] == "M" else "-" for c in text)
    units, at = [], 0
    while at < len(text):
        end = at + 1
        if kinds[at] == "c":
            while end < len(text) and is_mark[end] == "M":
                end += 1
        if kinds[at] == "w":
            while end < len(text) and kinds[end] == "w":
                end += 1
        units += [text[at:end]] if kinds[at] in "cw" else []
        at = end
    return units


def grams(text: str, unit: Unit, ngram: int) -> list[Gram]:
    """All n-grams in their order; of a short text the one that is all of it."""
    units = units_of(text, unit)
    if unit == "script" and 0 < len(units) <= 2 * sum(kind_of(one[0]) == "c" for one in units):
        ngram = min(ngram, 3)
    if len(units) < ngram:
        return [("whole", plain(text))]
    return [("gram", *units[at : at + ngram]) for at in range(len(units) - ngram + 1)]


def jaccard(one: set[Gram], two: set[Gram]) -> float:
    return len(one & two) / len(one | two)


def cut(shingles: Shingles) -> list[list[int]]:
    parts = np.split(shingles.hashes, shingles.starts[1:-1]) if len(shingles.starts) > 1 else []
    return [part.tolist() for part in parts]


def hashed(texts: Sequence[str], unit: Unit = "word", ngram: int = 5) -> list[list[int]]:
    return cut(shingle(pl.Series(texts, dtype=pl.String), unit, ngram))


def same(one: str, two: str, unit: Unit = "word", ngram: int = 5) -> bool:
    """Whether two texts have the same set of n-grams; they share none if not whole."""
    first, second = (set(each) for each in hashed([one, two], unit, ngram))
    return first == second


WORDS = [
    "alpha",
    "Beta",
    "gamma",
    "42",
    "é",
    "e\u0301",
    "naïve",
    "日本",
    "x²",
    "ДА",
    "да",
    "a_b",
    "🙂",
    "-",
]
SPACES = [" ", "  ", "\n", "\t", "\u00a0", "\u3000", ", ", ". ", " - "]
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES)), max_size=12).map(
    lambda parts: "".join(word + space for word, space in parts)
)
SIGNS = st.text("aAbBéE\u0301ßΣς12½٣.,+-_ \t\n\u00a0\u2003中日かー々ว่🙂", max_size=25)


# --- sets of n-grams ------------------------------------------------------------------------------


@examples(2)
@given(
    st.lists(st.one_of(TEXTS, SIGNS), max_size=6),
    st.sampled_from(["script", "word", "char"]),
    st.integers(1, 6),
)
def test_equal_hashes_are_equal_grams_and_stand_in_the_same_places(
    texts: list[str], unit: Unit, ngram: int
) -> None:
    gram_hashes = hashed(texts, unit, ngram)
    expected = [grams(text, unit, ngram) for text in texts]
    assert [len(part) for part in gram_hashes] == [len(part) for part in expected]
    names: dict[int, Gram] = {}
    for hashes, named in zip(gram_hashes, expected, strict=True):
        for value, gram in zip(hashes, named, strict=True):
            assert names.setdefault(value, gram) == gram
    assert len(names) == len(set(names.values()))
    for (one, two), (first, second) in zip(
        combinations(map(set, gram_hashes), 2), combinations(map(set, expected), 2), strict=True
    ):
        assert len(one & two) / len(one | two) == jaccard(first, second)


@pytest.mark.parametrize(("unit", "ngram"), [("word", 5), ("word", 1), ("char", 8), ("char", 24)])
def test_no_two_of_many_grams_share_a_hash(unit: Unit, ngram: int) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"{'abc'[k % 3]}{k}" for k in rng.integers(0, 99, 40)) for _ in range(500)]
    values = [value for part in hashed(texts, unit, ngram) for value in part]
    names = [gram for text in texts for gram in grams(text, unit, ngram)]
    pairs = set(zip(values, names, strict=True))
    assert len(pairs) == len(set(values)) == len(set(names))
    assert len(pairs) > 90


def test_repeats_are_kept_in_their_order() -> None:
    (gram_hashes,) = hashed(["a b a b a b"], "word", 2)
    assert gram_hashes == [gram_hashes[0], gram_hashes[1]] * 2 + [gram_hashes[0]]


def test_the_order_of_words_in_a_gram_counts() -> None:
    (one, two) = hashed(["a b c d e", "e d c b a"])
    assert one != two
    (one, two) = hashed(["a b", "b a"], "word", 2)
    assert one != two


def test_no_gram_reaches_into_the_next_text() -> None:
    texts = ["a b c d e f", "g h i", "", "海水是咸的。", "o", "p q r s t u v", "ab 海"]
    units: list[tuple[Unit, int]] = [
        ("script", 5), ("word", 5), ("word", 2), ("char", 3), ("char", 12),
    ]  # fmt: skip
    for unit, ngram in units:
        together = hashed(texts, unit, ngram)
        assert together == [hashed([text], unit, ngram)[0] for text in texts]
        assert together == hashed(texts[::-1], unit, ngram)[::-1]


def test_texts_keep_their_order_where_ascii_and_others_mix() -> None:
    texts = [
        f"{'é' if i % 3 else 'e'} one two three four five {i} {'日' * (i % 2)}" for i in range(50)
    ]
    assert hashed(texts) == [hashed([text])[0] for text in texts]


def test_by_script_texts_with_spaces_are_cut_as_by_words() -> None:
    texts = [
        "Où est-ce que l'eau, salée ?",
        "Где находится река и море, ведь",
        "أين يقع البحر الكبير يا صديقي",
        "a b",
    ]
    assert hashed(texts, "script") == hashed(texts, "word")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (
            "请解释为什么海水是咸的，并且告诉我河流的作用。",
            "请解释为什么海水是咸的，并且告诉我河流作用？",
        ),
        (
            "犬が尾を振る理由を子どもにもわかるように説明してください。",
            "犬が尾をふる理由を子どもにもわかるように説明してください",
        ),
        ("ช่วยอธิบายว่าทำไมท้องฟ้าจึงเป็นสีฟ้า", "ช่วยอธิบายว่าทำไมท้องฟ้าถึงเป็นสีฟ้า"),
    ],
    ids=["Chinese", "Japanese", "Thai"],
)
def test_by_script_near_copies_without_spaces_share_most_grams(one: str, two: str) -> None:
    def similarity(unit: Unit) -> float:
        first, second = (set(part) for part in hashed([one, two], unit))
        return len(first & second) / len(first | second)

    assert similarity("script") > max(0.7, similarity("char"), similarity("word"))


def test_a_series_in_several_chunks_gives_the_same() -> None:
    parts = [
        pl.Series(["a b c d e é", "x"]),
        pl.Series([], dtype=pl.String),
        pl.Series(["ü a b c d e"]),
    ]
    chunked = pl.concat(parts, rechunk=False)
    assert cut(shingle(chunked, "word", 5)) == hashed(chunked.to_list())
    assert cut(shingle(chunked, "char", 5)) == hashed(chunked.to_list(), "char")


@pytest.mark.parametrize("unit", ["script", "word", "char"])
def test_no_texts_have_no_grams(unit: Unit) -> None:
    shingles = shingle(pl.Series([], dtype=pl.String), unit, 5)
    assert (shingles.hashes.tolist(), shingles.starts.tolist()) == ([], [0])


# --- what plays no part ---------------------------------------------------------------------------


LONG = "The naïve café at Ångström street 12 serves crème brûlée, doesn't it?"


@pytest.mark.parametrize(
    "other",
    [
        unicodedata.normalize("NFD", LONG),
        LONG.upper(),
        LONG.lower(),
        unicodedata.normalize("NFD", LONG.upper()),
        LONG.replace(" ", "\u00a0"),
        LONG.replace(" ", "\u2003\n\t"),
        f"\n {LONG}\u3000",
        LONG.replace(",", " –").replace("?", "!!!"),
        LONG.replace("doesn't", "doesn’t"),
        LONG.replace("Å", "\u212b"),
    ],
    ids=["NFD", "upper", "lower", "both", "nbsp", "spaces", "ends", "signs", "quote", "angstrom"],
)
def test_form_case_white_space_and_signs_play_no_part_in_long_texts(other: str) -> None:
    assert other != LONG
    assert same(LONG, other)


def test_case_and_form_play_no_part_where_the_capital_has_no_composed_form() -> None:
    long = "one two three \u01f0a \u1e96b five"
    for other in (
        long.upper(),
        unicodedata.normalize("NFD", long),
        unicodedata.normalize("NFC", long.upper()),
    ):
        assert same(long, other)
        assert same(long, other, "char", 6)


def test_letters_marks_and_digits_of_any_script_are_words() -> None:
    for one, two in (
        ("x² a b c d", "x³ a b c d"),
        ("क्षि a b c d", "क्ष a b c d"),
        ("١ a b c d", "٢ a b c d"),
    ):
        assert not same(one, two), one
    assert same("a_b c d e", "a b c d e")
    assert same("日本語、a b c d", "日本語 a b c d")
    assert same("🙂 a b c d e", "a b c d e")


def test_signs_count_for_character_grams() -> None:
    assert not same("what is this, then", "what is this then", "char")
    assert same("What  IS\u00a0this", " what is\nthis ", "char")


# --- short texts ----------------------------------------------------------------------------------


SHORT = [
    "",
    "a",
    "A b",
    "12 + 3",
    "12 * 3",
    "+ - *",
    "...",
    "?",
    "a b c d",
    "日本",
    "🙂",
    "e\u0301",
]


@pytest.mark.parametrize(("unit", "ngram"), [("word", 5), ("char", 8)])
def test_a_short_text_is_one_gram_of_its_own(unit: Unit, ngram: int) -> None:
    gram_hashes = hashed(SHORT, unit, ngram)
    assert {len(part) for part in gram_hashes} == {1}
    assert len({part[0] for part in gram_hashes}) == len(SHORT)


def test_signs_tell_short_texts_apart() -> None:
    assert not same("12 + 3", "12 * 3")
    assert not same("Hi!", "Hi?")
    assert not same("!", "?")
    assert not same("", "!")


def test_form_case_and_white_space_play_no_part_in_short_texts() -> None:
    for one, two in (
        ("12 + 3", " 12 +\n3 "),
        ("Café", "CAFE\u0301"),
        ("", " \n\u3000"),
        ("\u01f0", "J\u030c"),
    ):
        assert same(one, two), one
        assert same(one, two, "char", 8), one


def test_a_short_text_shares_nothing_with_a_longer_one_that_holds_it() -> None:
    short, long, exact = hashed(["a b c d", "a b c d e", "e a b c d"])
    assert not set(short) & set(long + exact)


def test_a_text_of_exactly_n_words_is_one_gram_whatever_its_signs() -> None:
    assert same("a b c d e", "A, b; c - d... E!")
    assert hashed(["a b c d e f"])[0][0] == hashed(["a b c d e"])[0][0]


# --- rolling --------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 6), max_size=8), st.integers(1, 5))
def test_rolled_grams_stand_at_every_place_of_every_text(lengths: list[int], ngram: int) -> None:
    units = np.arange(sum(lengths), dtype=np.uint64) * np.uint64(0xDEADBEEF12345)
    gram_hashes, owner, position = roll(units, np.array(lengths, dtype=np.int64), ngram)
    places = [(i, at) for i, n in enumerate(lengths) for at in range(n - ngram + 1)]
    assert list(zip(owner.tolist(), position.tolist(), strict=True)) == places
    starts = np.cumsum([0, *lengths])
    for value, (i, at) in zip(gram_hashes.tolist(), places, strict=True):
        expected = 0
        for k in range(ngram):
            expected = (expected * 0x9E3779B97F4A7C15 + int(units[starts[i] + at + k])) % 2**64
        assert value == expected


# --- stored results depend on these -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "ngram", "first", "folded"),
    [
        ("word", 5, 0x3EC05F94B646C6EB, 0xFB1FE79E7F7AB90B),
        ("char", 8, 0x949CC0946CEA2793, 0x20877BF4382F3F87),
    ],
)
def test_hashes_are_the_same_in_every_version(
    unit: Unit, ngram: int, first: int, folded: int
) -> None:
    """polars may change its string hash; then the versions of the fuzzy steps must go up."""
    texts = [
        "The quick brown fox jumps over the lazy dog.",
        "Straße № 5: naïve café\u0301 Σίσυφος",
        "12 + 3",
        "",
    ]
    shingles = shingle(pl.Series(texts), unit, ngram)
    assert int(shingles.hashes[0]) == first
    assert int(np.bitwise_xor.reduce(shingles.hashes)) == folded
