"""Exact duplicates: one row of a text stays, the others name it; prompts with several answers."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.clean.exact import ExactStage
from curate.core.stage import StageData, StageResult
from tests.conftest import examples, frame, row, turns

Chat = list[tuple[str, str]]
FOLDS = [
    [],
    ["ends"],
    ["space"],
    ["case"],
    ["numbers"],
    ["space", "case"],
    ["numbers", "space", "case"],
]


def run(rows: pl.DataFrame, **params: Any) -> StageResult:
    return ExactStage.model_validate(params).decide(StageData(rows.lazy(), None, None))


def judge(rows: pl.DataFrame, **params: Any) -> pl.DataFrame:
    return run(rows, **params).frame


def chats(*conversations: Chat) -> pl.DataFrame:
    return frame(
        [
            row(f"r{i}", [{"role": r, "content": c} for r, c in chat])
            for i, chat in enumerate(conversations)
        ]
    )


def twins(*conversations: Chat, **params: Any) -> list[str | None]:
    return judge(chats(*conversations), **params)["duplicate_of"].to_list()


def equal(one: str, two: str, **params: Any) -> bool:
    """Whether two texts count as the same, as a prompt and as a response."""
    as_prompt = twins(
        [("user", one), ("assistant", "x")], [("user", two), ("assistant", "x")], **params
    )
    as_answer = twins(
        [("user", "x"), ("assistant", one)], [("user", "x"), ("assistant", two)], **params
    )
    assert as_prompt == as_answer
    return as_prompt[1] is not None


# --- the oracle -----------------------------------------------------------------------------------


def folded(text: str, fold: Sequence[str]) -> str:
    text = unicodedata.normalize("NFD", text)
    text = unicodedata.normalize("NFC", text.lower() if "case" in fold else text)
    if "numbers" in fold:
        text = re.sub(r"\d+([.,]\d+)*", "0", text)
    if "ends" in fold:
        lines = re.sub("\r\n?", "\n", text).rstrip().split("\n")
        first = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
        text = "\n".join(lines[first:])
    return " ".join(text.split()) if "space" in fold else text


def key_of(chat: Chat, compare: str, fold: Sequence[str]) -> tuple[Any, ...]:
    if compare == "response":
        return (folded(chat[-1][1], fold),)
    part = chat if compare == "example" else chat[:-1]
    return tuple((role, folded(content, fold)) for role, content in part)


def expected_twins(
    conversations: list[Chat], compare: str, fold: Sequence[str]
) -> list[str | None]:
    first: dict[tuple[Any, ...], str] = {}
    first_ids = [
        first.setdefault(key_of(chat, compare, fold), f"r{i}")
        for i, chat in enumerate(conversations)
    ]
    return [twin if twin != f"r{i}" else None for i, twin in enumerate(first_ids)]


# Letters with several forms, white space of all kinds, what separates turns inside, numbers, symbols.
SIGNS = (
    "aAéÉe\u0301\u030cJ\u01f0ßΣσςİıK\u212b \t\n\r\x0b\x1c\x1e\x1f\x85\u00a0\u2003\u3000\u200b"
    ".,;+-0179٣²½中🙂_"
)
TEXTS = st.text(SIGNS, min_size=1, max_size=5)
CHANGES = [
    lambda t: t,
    lambda t: unicodedata.normalize("NFD", t),
    str.upper,
    str.lower,
    lambda t: f"  {t}\n",
    lambda t: t.replace("0", "17"),
    lambda t: t.replace(" ", "\u00a0\t"),
]


@st.composite
def conversations(draw: st.DrawFn) -> list[Chat]:
    """Conversations over few texts in several forms, so that most of them meet again."""
    texts = draw(st.lists(TEXTS, min_size=1, max_size=3))
    text = st.builds(lambda t, change: change(t), st.sampled_from(texts), st.sampled_from(CHANGES))
    role = st.sampled_from(["system", "user", "assistant", "user", "assistant", "tool"])
    chat = st.builds(
        lambda body, last: [*body, ("assistant", last)],
        st.lists(st.tuples(role, text), min_size=1, max_size=3),
        text,
    )
    return draw(st.lists(chat, max_size=8))


# --- what counts as the same ----------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "\nx\n", "y"])), max_size=25)
)
def test_agrees_with_a_dictionary_of_first_rows(texts: list[tuple[str, str]]) -> None:
    rows = frame([row(f"r{(7 * i) % 31:02}", turns(q, a)) for i, (q, a) in enumerate(texts)])
    first: dict[tuple[str, str], str] = {}
    expected = []
    for row_id, (question, answer) in zip(rows["row_id"], texts, strict=True):
        twin = first.setdefault((question, answer.strip()), row_id)
        dropped = twin != row_id
        expected.append(
            (
                row_id,
                not dropped,
                "exact_duplicate" if dropped else None,
                float(dropped),
                1.0,
                twin if dropped else None,
            )
        )
    assert list(judge(rows).iter_rows()) == expected


@examples(1.6)
@given(
    conversations(),
    st.sampled_from(["example", "prompt", "response"]),
    st.sampled_from(FOLDS),
)
def test_agrees_with_a_dictionary_of_folded_texts(
    conversations: list[Chat], compare: str, fold: list[str]
) -> None:
    assert twins(*conversations, compare=compare, fold=fold) == expected_twins(
        conversations, compare, fold
    )


def test_what_is_dropped_depends_on_text_alone_not_on_ids_or_meta() -> None:
    rows = frame(
        [
            row("b", turns("q", "a"), source="one", meta='{"id": 1}'),
            row("a", turns("q", "a"), source="two", meta='{"id": 2}'),
            row("c", turns("Q", "a")),
            row("d", turns("q", "a", "q", "a")),
        ]
    )
    verdicts = judge(rows)
    assert verdicts["keep"].to_list() == [True, False, True, True]
    assert verdicts["duplicate_of"].to_list() == [None, "b", None, None]


@pytest.mark.parametrize("fold", FOLDS, ids=str)
def test_unicode_forms_of_one_text_are_the_same(fold: list[str]) -> None:
    for text in ("caf\u00e9", "\u212bngstr\u00f6m", "\uac00\ub098", "\u1e69", "\u0344"):
        for form in ("NFC", "NFD"):
            assert equal(text, unicodedata.normalize(form, text), fold=fold), text
    assert not equal("ﬁne", "fine", fold=fold)
    assert not equal("cafe", "café", fold=fold)


PYTHON = "def f(n):\n    for i in range(n):\n        print(i)\n    return n"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (PYTHON, PYTHON.replace("    return", "        return")),
        ("all:\n\techo hi", "all:\n    echo hi"),
        ("    return x", "return x"),
        ("Remove double blanks: a  b", "Remove double blanks: a b"),
        ("one line  \nand the next", "one line\nand the next"),
        ("one\ntwo", "one two"),
        ("one\n\ntwo", "one\ntwo"),
        ("one\ttwo", "one two"),
        ("a\u00a0b", "a b"),
    ],
)
def test_white_space_inside_a_text_is_its_meaning_by_default(one: str, two: str) -> None:
    """Indentation, tabs, double blanks, line breaks: rows that differ in them are no duplicates."""
    assert not equal(one, two)
    assert twins(exchange(one, "x"), exchange(two, "x"), compare="prompt") == [None, None]
    assert twins(exchange("x", one), exchange("x", two), compare="response") == [None, None]
    assert equal(one, two, fold=["space"])


def test_ends_of_turns_and_kinds_of_line_ends_are_folded_by_default() -> None:
    for other in ("a\nb\n", "\n \t\na\nb", "a\r\nb", "a\rb", "a\nb \t\u3000\x1f"):
        assert equal("a\nb", other), repr(other)
        assert not equal("a\nb", other, fold=[]), repr(other)


@pytest.mark.parametrize("fold", [["ends"], ["space"], ["space", "ends"]])
def test_whole_rows_are_compared_by_their_hashes_without_a_look_at_their_texts(
    fold: list[str],
) -> None:
    rows = chats(exchange("a  b", "c"), exchange("a b", "c"), exchange("a b\n", "c")).drop(
        "messages"
    )
    assert judge(rows, fold=fold)["duplicate_of"].to_list()[-1] == (
        "r0" if "space" in fold else "r1"
    )


def test_only_what_is_asked_for_is_folded() -> None:
    assert equal("a b", "\u3000a\t\n b\x1f", fold=["space"])
    assert not equal("a b", "ab")
    assert not equal("a b", "A b")
    assert not equal("2+2", "3+3")
    assert not equal("a", "a.")


def test_white_space_is_the_same_for_examples_prompts_and_other_folds() -> None:
    spaces = [chr(code) for code in range(0x110000) if chr(code).isspace()]
    conversations = [exchange(f"a{space}b{space}", f"{space}c") for space in spaces]
    prompts, responses = ({"fold": ["space"], "compare": part} for part in ("prompt", "response"))
    variants: list[dict[str, Any]] = [
        {"fold": ["space"]},
        prompts,
        responses,
        {"fold": ["space", "case"]},
    ]
    for params in variants:
        assert twins(*conversations, **params) == [None] + ["r0"] * (len(conversations) - 1), params
    assert twins(exchange("a b", "c"), exchange("a\u200bb", "c"), compare="prompt") == [None, None]


def test_without_folds_the_text_must_be_the_same() -> None:
    assert equal("a b", "a b", fold=[])
    for other in ("a  b", " a b", "a b\n", "A b", "a\tb"):
        assert not equal("a b", other, fold=[]), other


def test_case_is_folded_in_every_script() -> None:
    for one, two in (
        ("Straße", "STRAßE"),
        ("ÉCOLE", "e\u0301cole"),
        ("ДА", "да"),
        ("ΣΑΣ", "σας"),
        # The capital has no composed form, the small letter has.
        ("J\u030c", "\u01f0"),
        ("H\u0331", "\u1e96"),
    ):
        assert equal(one, two, fold=["case"]), one
        assert not equal(one, two), one
    assert not equal("a b", "A  B", fold=["case"])
    assert equal("a b", "A  B", fold=["case", "space"])


def test_numbers_are_folded_only_on_request_since_that_merges_sums() -> None:
    for one, two in (("2+2", "3+3"), ("1,000.50 €", "7 €"), ("v1.2.3", "v4"), ("٣", "5")):
        assert not equal(one, two), one
        assert equal(one, two, fold=["numbers"]), one
    for one, two in (
        ("2+2", "2-2"),
        ("2 2", "22"),
        ("x²", "x³"),
        ("½", "¼"),
        ("two", "2"),
        ("1.", "1"),
    ):
        assert not equal(one, two, fold=["numbers"]), one
    assert equal("1. a", "2. a", fold=["numbers"])


@pytest.mark.parametrize("fold", FOLDS, ids=str)
def test_roles_the_system_turn_and_the_number_of_turns_matter(fold: list[str]) -> None:
    plain = [("user", "q"), ("assistant", "a")]
    others = [
        [("system", "s"), *plain],
        [("system", "t"), *plain],
        [("tool", "q"), ("assistant", "a")],
        [*plain, *plain],
        [("user", "q"), ("user", "q"), ("assistant", "a")],
        [("user", "a"), ("assistant", "q")],
        [("user", "qa"), ("assistant", "a")],
        [("user", "q"), ("assistant", ""), ("assistant", "a")],
    ]
    assert twins(plain, *others, fold=fold) == [None] * 9
    prompts = [plain, *others[:3], [("user", "q"), ("assistant", "b")]]
    assert twins(*prompts, fold=fold, compare="prompt") == [None, None, None, None, "r0"]
    answers = [[("user", "other"), ("assistant", "a")], [("system", "s"), ("assistant", "a")]]
    assert twins(plain, *answers, fold=fold, compare="response") == [None, "r0", "r0"]


@pytest.mark.parametrize("fold", FOLDS, ids=str)
def test_a_text_cannot_pass_for_several_turns(fold: list[str]) -> None:
    apart = [("user", "a"), ("assistant", "b"), ("assistant", "c")]
    for inner in (
        "a\x1eassistant\x1fb",
        "a\x1eassistant\x1f1\x1fb",
        "a\nassistant\nb",
        "a\x1fassistant\x1eb",
    ):
        joined = [("user", inner), ("assistant", "c")]
        assert twins(apart, joined, fold=fold) == [None, None], repr(inner)
        assert twins(apart, joined, fold=fold, compare="prompt") == [None, None], repr(inner)


def test_the_last_turn_only_is_the_response() -> None:
    one = [("user", "q"), ("assistant", "a"), ("user", "more"), ("assistant", "b")]
    two = [("user", "q"), ("assistant", "other"), ("user", "more"), ("assistant", "b")]
    three = [*one[:3], ("assistant", "c")]
    assert twins(one, two, three, compare="prompt") == [None, None, "r0"]
    assert twins(one, two, three, compare="response") == [None, "r0", None]


def test_a_pool_of_one_text_keeps_one_row() -> None:
    verdicts = judge(frame([row(f"r{i}", turns("q", "a")) for i in range(500)]))
    assert verdicts.filter("keep")["row_id"].to_list() == ["r0"]
    assert set(verdicts["duplicate_of"][1:]) == {"r0"}


def test_an_empty_pool_has_no_verdicts() -> None:
    assert judge(frame([])).height == 0
    for params in ({"fold": ["case"]}, {"compare": "prompt"}, {"compare": "response"}):
        assert judge(frame([]), **params).height == 0
    assert run(frame([]), conflicts=True).tables["conflicts"].lazy().collect().height == 0


# --- which row stays ------------------------------------------------------------------------------


def test_the_policy_says_which_copy_stays() -> None:
    rows = frame(
        [
            row("a", turns("q", "x y"), source="web"),
            row("b", turns("q", "x    y"), source="gold"),
            row("c", turns("q", "x  y"), source="gold"),
            row("d", turns("q", "z"), source="web"),
        ]
    )
    for keep, kept in (
        ("earliest", "a"),
        ("longest", "b"),
        ({"sources": ["gold"]}, "b"),
        ({"sources": ["web", "gold"]}, "a"),
    ):
        verdicts = judge(rows, keep=keep, fold=["space"])
        assert verdicts.filter("keep")["row_id"].to_list() == [kept, "d"]
        assert verdicts.filter(~pl.col("keep"))["duplicate_of"].to_list() == [kept, kept]
        assert verdicts.filter(~pl.col("keep"))["score"].to_list() == [1.0, 1.0]


# --- prompts with several answers -----------------------------------------------------------------


def conflicts(*conversations: Chat, **params: Any) -> list[tuple[str, str | None, int]]:
    result = run(chats(*conversations), conflicts=True, **params)
    return list(result.tables["conflicts"].lazy().collect().iter_rows())


def exchange(question: str, answer: str) -> Chat:
    return [("user", question), ("assistant", answer)]


def test_conflicts_are_listed_and_kept_and_true_copies_go() -> None:
    conversations = [
        exchange("q", "one"),
        exchange("alone", "one"),
        exchange("q ", "two"),
        exchange("q", "two\n"),
        exchange("q", "one"),
        exchange("q", "three"),
        exchange("p", "x"),
        exchange("p", "x "),
    ]
    assert conflicts(*conversations) == [("r0", None, 3), ("r2", "r0", 3), ("r5", "r0", 3)]
    assert twins(*conversations, conflicts=True) == [None, None, None, "r2", "r0", None, None, "r6"]
    # The prompt is the same for all: without `conflicts` they are merged.
    assert twins(*conversations, compare="prompt") == [
        None,
        None,
        "r0",
        "r0",
        "r0",
        "r0",
        None,
        "r6",
    ]
    assert twins(*conversations, compare="prompt", conflicts=True) == twins(
        *conversations, conflicts=True
    )


def test_conflicts_need_the_same_prompt_roles_and_system_included() -> None:
    assert (
        conflicts(exchange("q", "a"), [("system", "s"), *exchange("q", "b")], exchange("Q", "c"))
        == []
    )
    assert conflicts(exchange("q", "a"), exchange("Q", "A"), fold=["case"]) == []
    assert conflicts(exchange("q", "a"), exchange("Q", "b"), fold=["case"]) == [
        ("r0", None, 2), ("r1", "r0", 2),
    ]  # fmt: skip


def test_the_first_of_a_conflict_is_the_first_that_is_kept() -> None:
    rows = frame(
        [
            row("a", turns("q", "x"), source="web"),
            row("b", turns("q", "y"), source="web"),
            row("c", turns("q", "x"), source="gold"),
        ]
    )
    result = run(rows, conflicts=True, keep={"sources": ["gold"]})
    assert result.frame.filter("keep")["row_id"].to_list() == ["b", "c"]
    assert list(result.tables["conflicts"].lazy().collect().iter_rows()) == [
        ("b", None, 2),
        ("c", "b", 2),
    ]


@examples(0.8)
@given(conversations(), st.sampled_from(FOLDS))
def test_conflicts_agree_with_sets_of_answers(conversations: list[Chat], fold: list[str]) -> None:
    dropped = expected_twins(conversations, "example", fold)
    kept = [i for i, twin in enumerate(dropped) if twin is None]
    groups: dict[Any, list[int]] = defaultdict(list)
    for i in kept:
        groups[key_of(conversations[i], "prompt", fold)].append(i)
    expected = []
    for i in kept:
        group = groups[key_of(conversations[i], "prompt", fold)]
        answers = {key_of(conversations[j], "response", fold) for j in group}
        if len(answers) > 1:
            expected.append((f"r{i}", f"r{group[0]}" if i != group[0] else None, len(answers)))
    assert conflicts(*conversations, fold=fold) == expected
    assert twins(*conversations, fold=fold, conflicts=True) == dropped


def test_without_conflicts_no_table_is_written() -> None:
    assert run(chats(exchange("q", "a"), exchange("q", "b"))).tables == {}


def test_conflicts_of_responses_make_no_sense() -> None:
    with pytest.raises(
        ValidationError, match="conflicts are rows with one prompt: use compare: ex"
    ):
        ExactStage.model_validate({"conflicts": True, "compare": "response"})
