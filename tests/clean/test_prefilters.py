"""What rules look at first, since it takes less time, passes every text that their patterns match."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from curate.clean.heuristics.claims import PARTICIPLES, claim_pattern, says_a_form
from curate.clean.heuristics.copying import holds_ends
from curate.clean.heuristics.endings import FENCE, FENCE_SIGN, OPEN_END, OPEN_SIGN
from curate.clean.heuristics.signs import MARKUP, MARKUP_SIGN, markup_share, without_code
from tests.conftest import examples

MARKUP_PIECES = [
    *(
        "<b>",
        "</P>",
        "<br/>",
        "<a x=1>",
        "&amp;",
        "&#39;",
        "{{x}}",
        "{% if %}",
        "[url=x]",
        "[/IMG]",
    ),
    *("<|im_end|>", "[/INST]", "<<SYS>>", "</s>", "<", "&", "{", "[", "`", "```", "img", "\n", "ſ"),
]
END_PIECES = [
    *(
        " a",
        " maße",
        " one's",
        " x-",
        " é’",
        "，",
        "、",
        "،",
        "（",
        "「",
        ",",
        "(",
        "[",
        "{",
        ".",
        "A",
    ),
    *("```", "`", "\n", " ", "\t", "\x0b", "\x1c", "\x85", "\u3000", "9"),
]
CLAIMS = [
    *(
        "The alarm has been {}.",
        "it is now {} by me",
        "They are being {}!",
        "The alarm {}",
        "Sure, {}.",
    ),
    *("I have {} the alarm.", "We've just {} it.", "I’m now {} it", "{} the alarm", "ok. {}", "{}"),
    *("I'll {} it.", "We will now {} it.", "I {} a {}, he {} it."),
]
# Without case these are i, k and s to a pattern.
FOLDED = str.maketrans({"i": "\u0130", "k": "\u212a", "s": "\u017f"})


def pieces(of: list[str], size: int = 4) -> st.SearchStrategy[list[str]]:
    return st.lists(
        st.lists(st.sampled_from(of), max_size=size).map("".join), min_size=1, max_size=20
    )


def holds(texts: pl.Series, pattern: str) -> pl.Series:
    return texts.str.contains(pattern)


@examples(0.5)
@given(pieces(MARKUP_PIECES))
def test_every_piece_of_markup_has_a_sign_of_it(texts: list[str]) -> None:
    column = pl.Series("text", texts, dtype=pl.String)
    plain = column.to_frame().select(without_code(pl.col("text"))).to_series()
    signed = holds(column, MARKUP_SIGN)
    assert (signed | ~holds(column, MARKUP)).all()
    assert (signed | ~holds(plain, MARKUP)).all()


@examples(0.5)
@given(pieces(MARKUP_PIECES))
def test_the_share_of_markup_is_what_taking_it_out_leaves(texts: list[str]) -> None:
    column = pl.Series("text", texts, dtype=pl.String)
    left = column.str.replace_all(MARKUP, "").str.len_chars()
    shares = column.to_frame().select(markup_share(pl.col("text"))).to_series()
    sizes = column.str.len_chars().clip(1)
    assert shares.to_list() == pytest.approx((1 - left / sizes).to_list())


WORD_PIECES = [
    "a",
    "Ab",
    "É",
    "E\u0301",
    "\u0301",
    "İ",
    "9",
    "_",
    " ",
    ", ",
    "\n",
    "Straße" * 8,
    "क्षि",
]


@examples(0.5)
@given(st.lists(st.sampled_from(WORD_PIECES), max_size=30).map("".join), st.data())
def test_a_response_that_copies_a_prompt_holds_its_ends(prompt: str, data: st.DataObject) -> None:
    around = st.sampled_from(["", " ", "\n", "a ", "\u0301 "])
    copy = data.draw(
        st.sampled_from([prompt, prompt.lower(), unicodedata.normalize("NFD", prompt)])
    )
    response = data.draw(around) + copy + " " + data.draw(around)
    assert holds_ends(pl.Series([prompt]), pl.Series([response])).item()


@examples(0.5)
@given(pieces(END_PIECES))
def test_every_open_end_and_fence_has_its_sign(texts: list[str]) -> None:
    column = pl.Series("text", texts, dtype=pl.String)
    last = column.str.strip_chars_end().str.slice(-1)
    assert (holds(last, OPEN_SIGN) | ~holds(column, OPEN_END)).all()
    fenced = column.str.contains(FENCE_SIGN, literal=True)
    assert (fenced | (column.str.count_matches(FENCE) == 0)).all()


@st.composite
def claims(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a verb and a text that claims to have done what it says, or nearly."""
    verb = draw(
        st.sampled_from([*PARTICIPLES, "stop", "bake", "carry", "mix", "skid", "\u017fave"])
    )
    stem = verb.removesuffix("e")
    forms = [verb, f"{stem}ing", f"{stem}{verb[-1]}ing", f"{verb}d", f"{verb}ed", f"{verb[:-1]}ied"]
    forms += PARTICIPLES.get(verb, "").split("|")
    text = draw(st.sampled_from(CLAIMS)).replace("{}", draw(st.sampled_from(forms)))
    return verb, draw(st.sampled_from([text, text.upper(), text.title(), text.translate(FOLDED)]))


@examples(2)
@given(claims())
def test_every_claim_has_a_form_of_its_verb(drawn: tuple[str, str]) -> None:
    verb, text = drawn
    assert says_a_form(verb, text) or not regex.match(claim_pattern(verb), text)


def test_a_text_without_a_form_of_the_verb_is_not_looked_at() -> None:
    assert says_a_form("set", "The alarm has been set.")
    assert says_a_form("mute", "I'll mute it.")
    assert not says_a_form("mute", "A mute swan.")
    assert not says_a_form("russia", "Russia won.")
