from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core import numerals
from curate.core.reasons import explain_reason
from curate.core.rows import Message
from curate.report import wording
from curate.report.examples import _share_out
from curate.report.texts import (
    EXCERPT_CHARS,
    EXCERPT_LINES,
    WHOLE_CHARS,
    TextView,
    excerpt,
    show_row,
)
from curate.text.words import find_words, word_spans


def plain(passage: TextView) -> str:
    return "".join(segment.text for segment in passage.segments)


def turns(*texts: str) -> list[Message]:
    return [
        Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(texts)
    ]


def test_words_are_found_whatever_stands_between_them() -> None:
    text = "Well -- CAFÉ:\n  the «Été», 2nd!"
    span = find_words(text, "café the été 2nd")
    assert span is not None
    assert text[slice(*span)] == "CAFÉ:\n  the «Été», 2nd"


def test_words_are_found_in_decomposed_unicode() -> None:
    text = "a cafe\u0301 b"
    span = find_words(text, "caf\u00e9 b")
    assert span is not None
    assert text[slice(*span)] == "cafe\u0301 b"


@pytest.mark.parametrize("shared", ["ducks", "the has", "ja net"])
def test_words_that_are_not_there_are_not_found(shared: str) -> None:
    assert find_words("Janet has the duck.", shared) is None


@given(st.text(), st.integers(0, 20), st.integers(1, 5))
def test_a_run_of_the_texts_own_words_is_found(text: str, start: int, count: int) -> None:
    words = [word.text for word in word_spans(text)][start : start + count]
    if words:
        place = find_words(text, " ".join(words))
        assert place is not None
        assert [word.text for word in word_spans(text[slice(*place)])] == words


@given(st.text(max_size=700))
def test_an_excerpt_is_the_texts_start_within_the_limits(text: str) -> None:
    passage = excerpt(text)
    body = plain(passage) if passage.whole else plain(passage).removesuffix("…")
    assert text.startswith(body)
    assert passage.whole == (body == text)
    assert len(body) <= EXCERPT_CHARS
    assert body.count("\n") < EXCERPT_LINES


def test_an_excerpt_moves_to_what_is_marked() -> None:
    text = "x" * 1000 + " here " + "y" * 1000
    passage = excerpt(text, (1001, 1005))
    assert plain(passage).startswith("…x")
    assert [segment.text for segment in passage.segments if segment.marked] == ["here"]


def test_a_short_row_needs_no_second_look() -> None:
    row = show_row(turns("2 + 2?", "4"))
    assert (plain(row.prompt), plain(row.response), row.turns) == ("2 + 2?", "4", ())


def test_a_conversation_shows_its_last_exchange_and_then_all_of_it() -> None:
    row = show_row(turns("one", "two", "three", "four"))
    assert (plain(row.prompt), plain(row.response)) == ("three", "four")
    assert [plain(turn.text) for turn in row.turns] == ["one", "two", "three", "four"]


def test_a_run_over_two_user_turns_is_marked_in_both() -> None:
    row = show_row(turns("Say one, two", "Yes?", "THREE four five", "No."), "two three four")
    marks = [[s.text for s in turn.text.segments if s.marked] for turn in row.turns]
    assert marks == [["two"], [], ["THREE four"], []]
    assert [s.text for s in row.prompt.segments if s.marked] == ["two"]
    assert not any(
        s.marked for s in show_row(turns("a", "two three four"), "three two").response.segments
    )


def test_words_that_the_rejected_answer_alone_holds_are_marked_there() -> None:
    worse = turns("", "Say one, two three")[1:]
    row = show_row(turns("q", "a"), "two three", worse)
    assert row.rejected is not None
    assert [s.text for s in row.rejected.segments if s.marked] == ["two three"]
    assert row.in_rejected
    assert row.turns == ()
    both = show_row(turns("two three", "a"), "two three", worse)
    assert not both.in_rejected
    assert not show_row(turns("q", "a"), None, worse).in_rejected
    assert show_row(turns("q", "a"), "two three").rejected is None


def test_a_long_rejected_answer_is_read_in_full_among_the_turns() -> None:
    row = show_row(turns("q", "a"), None, turns("", "b" * 500)[1:])
    assert row.rejected is not None and not row.rejected.whole
    assert [(turn.role, turn.text.chars) for turn in row.turns] == [
        ("user", 1), ("assistant", 1), ("rejected", 500)
    ]  # fmt: skip


def test_a_very_long_row_is_cut_and_says_so() -> None:
    row = show_row(turns("a" * 100_000, "b"))
    assert sum(len(plain(turn.text)) for turn in row.turns) <= WHOLE_CHARS + 1
    assert not row.turns[0].text.whole
    assert row.turns[0].text.chars == 100_000


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 30))
def test_places_are_shared_out_as_far_as_there_are_rows(sizes: list[int], places: int) -> None:
    quotas = _share_out(sizes, places)
    assert sum(quotas) == min(places, sum(sizes))
    assert all(0 <= quota <= size for quota, size in zip(quotas, sizes, strict=True))


@pytest.mark.parametrize(
    ("value", "phrase"),
    [(0.02362, "+0.0236"), (-0.5, "−0.500"), (0.0, "0"), (123.4, "+123"), (1e-7, "+1.00e−07")],
)
def test_differences_have_a_sign_and_three_digits(value: float, phrase: str) -> None:
    assert numerals.signed(value) == phrase


def test_numbers_are_told_as_people_write_them() -> None:
    assert numerals.number(1234567) == "1,234,567"
    assert numerals.percent(0.125) == "12.5\u202f%"
    assert numerals.duration(3725) == "1\u202fh 2\u202fmin"
    assert numerals.duration(1432.1) == "23\u202fmin 52\u202fs"
    assert numerals.memory(4963.2) == "4.85\u202fGiB"
    assert numerals.span((5, 11)) == "5–11"


def test_stages_have_words_also_when_they_are_repeated_or_unknown() -> None:
    assert wording.stage_label("exact-2") == "Exact duplicates (2)"
    assert wording.stage_label("score-rds") == "Score the rows (RDS+)"
    assert wording.stage_label("near_copies") == "Near copies"


@pytest.mark.parametrize(
    ("reason", "score", "threshold", "phrase"),
    [
        ("fuzzy_duplicate", 0.8627991, 0.7, "similarity 0.8627, limit 0.7"),
        ("semantic_duplicate", 1.0, 0.9, "similarity 1, limit 0.9"),
        ("leak_ngram", 0.625, 0.5, "62.5\u202f% of the eval prompt, limit 50.0\u202f%"),
        ("leak_run", 0.3, None, "30.0\u202f% of the eval prompt"),
        ("exact_duplicate", 1.0, 1.0, ""),
        ("leak_exact", 1.0, 0.5, ""),
        ("new_reason", 0.25, 0.5, "score 0.250, limit 0.500"),
        ("new_reason", None, None, ""),
    ],
)
def test_a_margin_is_told_in_the_words_of_its_reason(
    reason: str, score: float | None, threshold: float | None, phrase: str
) -> None:
    assert wording.margin(reason, score, threshold) == phrase


@pytest.mark.parametrize(
    ("value", "phrase", "fixed"),
    [
        (0.7, "0.7", "0.7000"),
        (0.69999, "0.6999", "0.6999"),
        (0.29, "0.29", "0.2900"),
        (1.0, "1", "1.0000"),
        (0.0, "0", "0.0000"),
        (None, "–", "–"),
    ],
)
def test_a_similarity_below_a_limit_looks_so(value: float | None, phrase: str, fixed: str) -> None:
    assert numerals.similarity(value) == phrase
    assert numerals.similarity(value, fixed=True) == fixed


@pytest.mark.parametrize(
    "step",
    ["fuzzy", "fuzzy-signatures", "fuzzy-pairs", "semantic", "semantic-pairs", "embed", "protected",
     "leaks-overlaps", "leaks-target-overlaps", "leaks-similar", "correct-tune", "response-tokens",
     "tokens-of-all", "joined-template"],
)  # fmt: skip
def test_steps_have_words_of_their_own(step: str) -> None:
    assert wording.stage_label(step) != step.replace("-", " ").capitalize()


def test_a_reason_of_a_later_version_is_still_told() -> None:
    assert explain_reason("not_yet_known") == "not yet known"
