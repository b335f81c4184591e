from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.rows import Message
from curate.report.differences import (
    VIEW_CHARS,
    find_differences,
    show_pair,
    show_sides,
    view,
)
from curate.report.texts import TextView

WORDS = st.lists(st.sampled_from(["one", "two", "three", "4", "five,", "six!"]), max_size=30)


def marked(text: str, spans: tuple[tuple[int, int], ...]) -> list[str]:
    return [text[a:b] for a, b in spans if a < b]


def plain(passage: TextView) -> str:
    return "".join(segment.text for segment in passage.segments)


def turns(*texts: str) -> list[Message]:
    roles = ("user", "assistant")
    return [Message(role=roles[i % 2], content=text) for i, text in enumerate(texts)]


def marks_of(one: str, other: str) -> tuple[list[str], list[str]]:
    differences = find_differences(one, other)
    assert differences is not None
    return marked(one, differences.one), marked(other, differences.other)


def test_words_that_differ_are_marked_on_their_side() -> None:
    one, other = "The cat sat on 25 km of mat.", "The dog sat on 37 km of mat, today."
    assert marks_of(one, other) == (["cat", "25"], ["dog", "37", ", today"])


@pytest.mark.parametrize(
    ("one", "other", "marks"),
    [
        ("3 + 4 = 7", "3 - 4 = 7", (["+"], ["-"])),
        ("日本語の文", "日本英の文", (["語"], ["英"])),
        ("a  b\nc", "a b c", ([], [])),
        ("caf\u00e9 d", "cafe\u0301 d", ([], [])),
        ("x Case y z", "x case y z", (["Case"], ["case"])),
        ("", "", ([], [])),
    ],
)
def test_signs_letters_and_case_count_and_white_space_does_not(
    one: str, other: str, marks: tuple[list[str], list[str]]
) -> None:
    assert marks_of(one, other) == marks


@given(WORDS, WORDS)
def test_without_what_is_marked_both_sides_are_the_same(one: list[str], other: list[str]) -> None:
    texts = " ".join(one), " ".join(other)
    differences = find_differences(*texts)
    if differences is None:
        return
    rest = []
    for text, spans in zip(texts, (differences.one, differences.other), strict=True):
        for start, stop in reversed(spans):
            text = f"{text[:start]} {text[stop:]}"
        rest.append("".join(text.split()))
    assert rest[0] == rest[1]


def test_texts_that_share_hardly_anything_differ_as_a_whole() -> None:
    assert find_differences("one two three four", "five six seven four eight nine") is None
    alike, unlike = (
        show_pair(turns("q", "Never."), turns("q", "By all means."), expect_alike=alike)
        for alike in (True, False)
    )
    assert [s.marked for turn in alike[0] for s in turn.text.segments] == [False, True]
    assert not any(s.marked for turn in unlike[1] for s in turn.text.segments)


def test_a_difference_deep_in_a_long_text_is_shown_with_what_is_around_it() -> None:
    words = [f"w{i}" for i in range(2_000)]
    other = [*words[:1_500], "new", *words[1_501:]]
    left, right = show_pair(turns(" ".join(words), "a"), turns(" ".join(other), "a"))
    for side, word in ((left, "w1500"), (right, "new")):
        text = side[0].text
        assert [s.text for s in text.segments if s.marked] == [word]
        assert plain(text).startswith("w0 w1 ")
        assert "w1499" in plain(text)
        assert not text.whole
        assert len(plain(text)) < 400


def test_where_a_comparison_stops_nothing_is_marked() -> None:
    rng = random.Random(0)
    words = [rng.choice("abcdefghij") * 3 for _ in range(1_000)]
    other = ["new", *words[:500], "old", *words[501:]]
    differences = find_differences(" ".join(words), " ".join(other))
    assert differences is not None
    assert marked(" ".join(other), differences.other) == ["new"]


@given(st.text(max_size=300), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300))))
def test_a_short_text_is_shown_as_it_is(text: str, spans: list[tuple[int, int]]) -> None:
    edges = sorted({min(n, len(text)) for span in spans for n in span})
    marks = list(zip(edges[::2], edges[1::2], strict=False))
    passage = view(text, marks, 20_000)
    assert passage.whole
    assert plain(passage) == text
    assert [s.text for s in passage.segments if s.marked] == [text[a:b] for a, b in marks]


@given(
    st.text(st.sampled_from("ab \n長"), max_size=4_000),
    st.lists(st.integers(0, 4_000), max_size=12),
)
def test_what_is_shown_of_a_text_is_bounded(text: str, places: list[int]) -> None:
    edges = sorted({min(n, len(text)) for n in places})
    passage = view(text, list(zip(edges[::2], edges[1::2], strict=False)), 700)
    assert len(plain(passage)) <= 710
    assert plain(passage).count("\n") <= 16
    assert passage.chars == len(text)
    assert passage.whole == (plain(passage) == text)


def test_systems_are_shown_where_they_differ() -> None:
    system = Message(role="system", content="Be brief.")
    left, right = show_pair([system, *turns("q", "a")], turns("q", "a"))
    assert [turn.role for turn in left] == ["system", "user", "assistant"]
    assert [turn.role for turn in right] == ["user", "assistant"]
    both = show_pair([system, *turns("q", "a")], [system, *turns("q", "b")])
    assert [turn.role for turn in both[0]] == ["user", "assistant"]


def test_turns_before_the_last_are_one_prompt() -> None:
    left, _ = show_pair(turns("one", "two", "three", "four"), turns("one", "four"))
    assert [(turn.role, plain(turn.text)) for turn in left] == [
        ("3 turns", "one\ntwo\nthree"),
        ("assistant", "four"),
    ]


def test_a_lost_row_leaves_its_id() -> None:
    rows = {"a": ("pool", {"messages": turns("q", "a"), "origin": "o"})}
    one, other = show_sides("a", "b", rows)
    assert (one.row_id, one.origin, one.turns) == ("a", "o", None)
    assert (other.row_id, other.origin, other.turns) == ("b", None, None)


@pytest.mark.parametrize("seed", [0, 1])
def test_texts_made_to_be_slow_are_not(seed: int) -> None:
    rng = random.Random(seed)
    texts = [" ".join(rng.choice("ab") for _ in range(20_000)) for _ in range(2)]
    start = time.process_time()
    show_pair(turns(texts[0], "a"), turns(texts[1], "a"), VIEW_CHARS)
    assert time.process_time() - start < 5


def test_rejected_answers_are_compared_where_a_row_has_one() -> None:
    worse = turns("", "It is 5, I think.")[1:], turns("", "It is 6, I think.")[1:]
    left, right = show_pair(turns("q", "a"), turns("q", "a"), rejected=worse)
    assert [turn.role for turn in left] == ["user", "assistant", "rejected"]
    marks = [[s.text for s in side[-1].text.segments if s.marked] for side in (left, right)]
    assert marks == [["5"], ["6"]]
    left, right = show_pair(turns("q", "a"), turns("q", "a"), rejected=(worse[0], ()))
    assert [turn.role for turn in left] == ["user", "assistant", "rejected"]
    assert [turn.role for turn in right] == ["user", "assistant"]
