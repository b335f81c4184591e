"""The row: which conversations are equal, and which are none."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.reasons import EXPLAINED, Reason
from curate.core.rows import (
    Message,
    ToolCall,
    content_hash,
    find_fault,
    normalise,
    prompt_text,
    response_text,
    text_hash,
)
from tests.conftest import turns

WORDS = st.lists(st.text("abcXYZ019éàüÅöñ漢。,.!-", min_size=1, max_size=6), min_size=1, max_size=6)
SPACE = st.text(" \t\n\r\u00a0\u2003", min_size=1, max_size=3)


def say(*pairs: tuple[str, str]) -> list[Message]:
    return [{"role": role, "content": content} for role, content in pairs]


@given(WORDS, st.lists(SPACE, min_size=7, max_size=7), st.sampled_from(["NFC", "NFD"]))
def test_hash_ignores_unicode_form_and_white_space(
    words: list[str], spaces: list[str], form: str
) -> None:
    spaced = spaces[-1] + "".join(w + s for w, s in zip(words, spaces, strict=False))
    varied = unicodedata.normalize(form, spaced)  # type: ignore[arg-type]
    plain = " ".join(words)
    assert content_hash(say(("user", varied), ("assistant", "ok"))) == content_hash(
        say(("user", plain), ("assistant", "ok"))
    )


@pytest.mark.parametrize(
    "other",
    [
        say(("assistant", "What is 12 x 3?"), ("user", "It is 36")),
        say(("user", "It is 36"), ("assistant", "What is 12 x 3?")),
        say(("user", "what is 12 x 3?"), ("assistant", "It is 36")),
        say(("user", "What is 12 x 4?"), ("assistant", "It is 36")),
        say(("user", "What is 12 x 3"), ("assistant", "It is 36")),
        say(("user", "What is 12 x 3? It"), ("assistant", "is 36")),
        say(("user", "What is 12 x3?"), ("assistant", "It is 36")),
        say(("system", ""), ("user", "What is 12 x 3?"), ("assistant", "It is 36")),
        say(("user", "What is 12"), ("user", "x 3?"), ("assistant", "It is 36")),
        say(("user", "What is 12 x ３?"), ("assistant", "It is 36")),
    ],
    ids=["roles", "turns", "case", "number", "mark", "border", "space", "system", "split", "width"],
)
def test_hash_tells_apart_what_is_not_the_same_text(other: list[Message]) -> None:
    row = say(("user", "What is 12 x 3?"), ("assistant", "It is 36"))
    assert content_hash(other) != content_hash(row)


def test_a_turn_border_cannot_be_forged_by_text() -> None:
    """Separators inside a turn must not read like two turns."""
    two = say(("user", "a"), ("assistant", "b"))
    for glue in ("\x1e", "\x1f", "\x1eassistant\x1f", "\nassistant: "):
        forged = say(("user", f"a{glue}b"))
        assert content_hash(forged) != content_hash(two)
        assert text_hash(forged) != text_hash(two)


def test_the_text_hash_tells_apart_white_space_inside_a_turn() -> None:
    row = say(("user", "  a\n\tb"), ("assistant", "c"))
    for other in ("a\n\tb", "  a\n b", "  a b", "  a\n\n\tb"):
        assert content_hash(say(("user", other), ("assistant", "c"))) == content_hash(row)
        assert text_hash(say(("user", other), ("assistant", "c"))) != text_hash(row)


def test_the_text_hash_ignores_line_ends_the_ends_of_turns_and_unicode_form() -> None:
    row = say(("user", "  \u00e9\n\tb"), ("assistant", "c"))
    for other in ("\n \x1f\n  e\u0301\r\n\tb\u3000\n", "  \u00e9\r\tb\t"):
        assert text_hash(say(("user", other), ("assistant", "c\n"))) == text_hash(row)


def test_hash_is_128_bits_and_stable() -> None:
    """Fixed once: stores and ledgers of earlier versions hold this value."""
    assert content_hash(say(("user", "hi"), ("assistant", "yo"))) == (
        "0d55159f490e2b6c28fe83653b110614"
    )


@given(st.text())
def test_normalise_is_idempotent_and_keeps_case(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert sum(map(str.isupper, once)) == sum(map(str.isupper, unicodedata.normalize("NFC", text)))


FAULTS = [
    (say(), Reason.NO_USER_TURN, "messages"),
    (say(("assistant", "b")), Reason.NO_USER_TURN, "messages"),
    (say(("system", "s"), ("assistant", "b")), Reason.NO_USER_TURN, "messages"),
    (say(("user", "a")), Reason.LAST_TURN_NOT_ASSISTANT, "messages[0].role"),
    (say(("assistant", "b"), ("user", "a")), Reason.LAST_TURN_NOT_ASSISTANT, "messages[1].role"),
    (say(("user", "a"), ("tool", "t")), Reason.LAST_TURN_NOT_ASSISTANT, "messages[1].role"),
    (say(("user", ""), ("assistant", "b")), Reason.EMPTY_PROMPT, "messages[0].content"),
    (say(("user", " \n\u2003"), ("assistant", "b")), Reason.EMPTY_PROMPT, "messages[0].content"),
    (say(("user", "a"), ("assistant", "\t")), Reason.EMPTY_RESPONSE, "messages[1].content"),
    (
        say(("user", "a"), ("assistant", ""), ("user", "a"), ("assistant", "b")),
        Reason.EMPTY_RESPONSE,
        "messages[1].content",
    ),
    (say(("human", "a")), Reason.UNKNOWN_ROLE, "messages[0].role = 'human'"),
    (say(("User", "a"), ("assistant", "b")), Reason.UNKNOWN_ROLE, "messages[0].role = 'User'"),
]


@pytest.mark.parametrize(("messages", "reason", "where"), FAULTS)
def test_each_fault_has_its_reason_and_its_place(
    messages: list[Message], reason: Reason, where: str
) -> None:
    assert find_fault(messages) == (reason, where)


@pytest.mark.parametrize(
    "messages",
    [
        turns("a", "b"),
        turns("a", "b", "c", "d"),
        say(("system", ""), ("user", "a"), ("assistant", "b")),
        say(("user", "a"), ("tool", ""), ("assistant", "b")),
        say(("assistant", "hello"), ("user", "a"), ("assistant", "b")),
        say(("user", "a"), ("user", "a"), ("assistant", "b")),
    ],
)
def test_conversations_with_a_prompt_and_a_last_response_are_rows(messages: list[Message]) -> None:
    assert find_fault(messages) is None


def test_a_long_role_is_cut_in_the_message() -> None:
    fault = find_fault(say(("x" * 10_000, "a")))
    assert fault is not None
    assert len(fault[1]) < 120


def test_prompt_is_all_user_turns_and_response_is_the_last_turn() -> None:
    row = say(("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
    assert prompt_text(row) == "a\nc"
    assert response_text(row) == "d"


def test_every_reason_is_explained_once() -> None:
    assert set(EXPLAINED) == set(Reason)
    assert len(set(EXPLAINED.values())) == len(EXPLAINED)


def test_hashes_of_many_near_equal_rows_differ() -> None:
    rng = random.Random(0)
    texts = {" ".join(str(rng.randrange(10)) for _ in range(6)) for _ in range(3_000)}
    assert len({content_hash(turns(text, "ok")) for text in texts}) == len(texts)


CALL: ToolCall = {"id": "1", "name": "f", "arguments": "{}"}
ANSWER: Message = {"role": "assistant", "content": "b"}


def test_reasoning_calls_and_tools_tell_rows_apart_and_ids_and_weights_do_not() -> None:
    variants: list[tuple[Message, str | None]] = [
        (ANSWER, None),
        ({**ANSWER, "reasoning": "hm"}, None),
        ({**ANSWER, "tool_calls": [CALL]}, None),
        ({**ANSWER, "tool_calls": [CALL, CALL]}, None),
        ({**ANSWER, "tool_calls": [{**CALL, "arguments": '{"a":1}'}]}, None),
        ({**ANSWER, "content": "b\nf {}"}, None),
        (ANSWER, '[{"name":"f"}]'),
    ]
    for digest in (content_hash, text_hash):
        hashes = {digest([*turns("a"), message], tools) for message, tools in variants}
        assert len(hashes) == len(variants)
        same: Message = {**ANSWER, "tool_calls": [{**CALL, "id": "2"}], "weight": 1, "name": "x"}
        assert digest([same]) == digest([{**ANSWER, "tool_calls": [CALL]}])
        absent: Message = {**ANSWER, "reasoning": None, "tool_calls": None}
        assert digest([absent]) == digest([ANSWER])


def test_a_call_is_a_response_and_an_untrained_answer_is_none() -> None:
    call: Message = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert find_fault([*turns("a"), call]) is None
    assert response_text([*turns("a"), call]) == "f {}"
    assert response_text([*turns("a"), {**ANSWER, "reasoning": "hm"}]) == "b"
    untrained: Message = {**ANSWER, "weight": 0}
    assert find_fault([*turns("a"), untrained]) == (
        Reason.UNTRAINED_RESPONSE, "messages[1].weight = 0"
    )  # fmt: skip
    assert find_fault([*turns("a"), untrained, *turns("c", "d")]) is None


@given(st.text(st.sampled_from("ab é\u0301\n\r\t\u00a0\u200b\u2028\x1c\x85\x00"), max_size=12))
def test_normalised_text_has_single_spaces_for_white_space(text: str) -> None:
    assert normalise(text) == " ".join(unicodedata.normalize("NFC", text).split())
