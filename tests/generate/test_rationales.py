"""Reasons for labels: what of them is the statement of the label, and what gives it away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.answers.values import Form
from curate.generate.rationales import Label, cut_statement, find_giveaway

FLOATS = "Which floats?\nA) a nail\nB) a cork"
WAYS = "Metal sinks. Bark is full of air."


def label(form: Form, answer: str, prompt: str = FLOATS) -> Label:
    return Label(form, answer, prompt)


@pytest.mark.parametrize(
    ("form", "answer", "reasons", "rest"),
    [
        ("choice", "B", f"{WAYS} So the answer is B.", WAYS),
        ("choice", "(B)", f"{WAYS}\nThe answer is (B).\nSo: B", WAYS),
        ("choice", "B) a cork", f"{WAYS} Therefore it is a cork.", WAYS),
        ("choice", "B", "Metal sinks, so the answer is B.", "Metal sinks."),
        ("choice", "B", "Metal sinks and thus B is correct.", "Metal sinks."),
        ("choice", "B", f"{WAYS} Nails are heavy.", f"{WAYS} Nails are heavy."),
        # A cork is no more than a word of it.
        ("choice", "B", f"{WAYS} So corkscrews sink.", f"{WAYS} So corkscrews sink."),
        ("number", "31", "36 - 5 = 31. So 31 are left.", "36 - 5 = 31."),
        ("number", "31", "3 * 12 = 36. So 36 - 5 = 31.", "3 * 12 = 36. So 36 - 5 = 31."),
        ("number", "31", "36 - 5 = 31, so the answer is 31", "36 - 5 = 31."),
        ("number", "31", "36 - 5 = 31\n#### 31", "36 - 5 = 31"),
        ("math", "x^2", "The square of x. So \\boxed{x^2}", "The square of x."),
        ("short", "positive", "It praises all. This is positive.", "It praises all."),
        ("short", "positive", "It says wow, which makes it positive.", "It says wow."),
        ("short", "C++", "It has templates. So it is C++.", "It has templates."),
        ("exact", "no river", "Only lakes are here. There is no river.", "Only lakes are here."),
        ("short", "positive", "positive", ""),
        ("short", "巴黎", "埃菲尔铁塔在法国的首都。那里是巴黎。", "埃菲尔铁塔在法国的首都。"),
        ("short", "巴黎", "他说：“我在法国！”那么他住在NBA巴黎队的城市。", "他说：“我在法国！”"),
        ("short", "東京", "彼は首都に住む。東京だ。", "彼は首都に住む。"),
    ],
)  # fmt: skip
def test_the_statement_of_the_label_is_cut_off(
    form: Form, answer: str, reasons: str, rest: str
) -> None:
    assert cut_statement(reasons, label(form, answer)) == rest


@pytest.mark.parametrize(
    ("form", "answer", "reasons", "detail"),
    [
        ("choice", "B", WAYS, None),
        ("choice", "B", "The given answer fits, as metal sinks in water.", "'given answer'"),
        ("choice", "B", "We were told that the answer is light and floats.", "'told that the answer'"),
        ("choice", "B", "The label was provided, so bark it is then.", "'label was provided'"),
        ("choice", "B", "B is correct since bark is full of air.", "which answer is right"),
        ("choice", "B", "The answer is B. Bark is full of air inside.", "which answer is right"),
        ("choice", "B", "A is not correct since nails are of metal.", None),
        ("choice", "B", "Option A is of metal, and option B is of bark.", None),
        ("number", "31", "The answer is 31 as 36 less 5 is that.", None),
        ("number", "31", "The answer is 31. For 36 less 5 is that.", "which answer is right"),
        ("short", "positive", "It is positive. The film is praised in every word.", "first sentence"),
        ("short", "positive", "It praises. No word of it is less than positive here.", None),
        ("short", "巴黎", "那里是巴黎。它是法国的首都。", "first sentence"),
        ("short", "巴黎", "那里是法国的首都。", None),
        ("choice", "B", "Bark is light.", "nothing else"),
        ("choice", "B", "", "nothing else"),
    ],
)  # fmt: skip
def test_what_gives_a_label_away(form: Form, answer: str, reasons: str, detail: str | None) -> None:
    giveaway = find_giveaway(reasons, label(form, answer))
    assert (detail or "") in (giveaway or "")
    assert (giveaway is None) == (detail is None)


def test_a_letter_without_a_list_of_options_is_no_article() -> None:
    reasons = "Metal sinks. This is a cork, which is light."
    bare = label("choice", "A", "Which floats: a cork (A) or a nail (B)")
    assert cut_statement(f"{reasons} So it is A.", bare) == reasons
    assert find_giveaway(reasons, bare) is None


@given(st.lists(st.sampled_from([
    "So the answer is B.", "Bark is light.", "B", "thus it is a cork,", "Metal sinks\n", "a cork"
]), max_size=8))  # fmt: skip
def test_a_cut_text_is_a_beginning_and_is_cut_no_further(parts: list[str]) -> None:
    text = " ".join(parts)
    cut = cut_statement(text, label("choice", "B"))
    assert text.strip().startswith(cut.removesuffix("."))
    assert cut_statement(cut, label("choice", "B")) == cut
