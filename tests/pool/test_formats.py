"""Formats: which fields are turns, what is refused and why, what is kept beside the turns."""

from __future__ import annotations

from typing import Any

import pytest

from curate.errors import UserError
from curate.pool.formats import (
    KNOWN,
    Fault,
    Format,
    detect_format,
    find_origin,
    leftover_fields,
    read_turns,
)
from curate.reasons import Reason
from tests.conftest import turns

MESSAGES = KNOWN[0]
ALPACA = KNOWN[1]
PAIRS = Format("fields", prompt="q", context="c", response="r", system="s", origin="o")
AB = turns("a", "b")


@pytest.mark.parametrize(
    ("record", "name", "expected"),
    [
        ({"messages": AB}, "messages", AB),
        ({"instruction": "a", "output": "b"}, "alpaca", AB),
        ({"instruction": "a", "input": "", "output": "b"}, "alpaca", AB),
        ({"instruction": "a", "input": None, "output": "b"}, "alpaca", AB),
        ({"instruction": "a", "input": "x", "output": "b"}, "alpaca", turns("a\n\nx", "b")),
        ({"instruction": "a", "input": "x", "response": "b"}, "alpaca", turns("a\n\nx", "b")),
        ({"prompt": "a", "completion": "b"}, "prompt_completion", AB),
        ({"prompt": "a", "response": "b"}, "prompt_completion", AB),
        ({"question": "a", "answer": "b"}, "question_answer", AB),
        ({"question": "a", "answer": 4}, "question_answer", turns("a", "4")),
        ({"question": "a", "answer": 0}, "question_answer", turns("a", "0")),
        (
            {"prompt": "a", "completion": "b", "system": "s"},
            "prompt_completion",
            [{"role": "system", "content": "s"}, *AB],
        ),
        ({"prompt": "a", "completion": "b", "system": ""}, "prompt_completion", AB),
    ],
)
def test_every_known_format_is_detected_and_read(
    record: dict[str, Any], name: str, expected: list[dict[str, str]]
) -> None:
    form = detect_format([record], "f")
    assert form.name == name
    assert read_turns(record, form) == expected


def test_the_format_that_fits_most_records_wins_and_the_first_on_a_tie() -> None:
    alpaca, qa = {"instruction": "a", "output": "b"}, {"question": "a", "answer": "b"}
    assert detect_format([alpaca, qa, qa, 7, None, []], "f").name == "question_answer"
    assert detect_format([qa, alpaca], "f").name == "alpaca"


def test_an_unknown_format_names_the_file_and_the_fields_seen() -> None:
    with pytest.raises(
        UserError,
        match=r"x.jsonl: no known format .* its first 2 records; "
        r"fields seen: query, reply, text\. .*fields: \{prompt: query",
    ):
        detect_format([{"query": 1, "text": 2}, {"reply": 3}], "x.jsonl")  # fmt: skip


def test_text_alone_is_no_format() -> None:
    with pytest.raises(UserError, match="fields seen: text"):
        detect_format([{"text": "### Instruction: a ### Response: b"}], "f")


@pytest.mark.parametrize(
    ("record", "form", "reason", "field"),
    [
        ("text", ALPACA, Reason.NOT_OBJECT, "str"),
        (None, ALPACA, Reason.NOT_OBJECT, "NoneType"),
        ([AB], MESSAGES, Reason.NOT_OBJECT, "list"),
        ({"output": "b"}, ALPACA, Reason.MISSING_FIELD, "instruction"),
        ({"instruction": "a"}, ALPACA, Reason.MISSING_FIELD, "output"),
        ({"instruction": "a", "output": None}, ALPACA, Reason.MISSING_FIELD, "output"),
        ({"instruction": ["a"], "output": "b"}, ALPACA, Reason.WRONG_TYPE, "instruction"),
        ({"instruction": "a", "output": {}}, ALPACA, Reason.WRONG_TYPE, "output"),
        ({"instruction": "a", "output": True}, ALPACA, Reason.WRONG_TYPE, "output"),
        ({"instruction": "a", "input": ["x"], "output": "b"}, ALPACA, Reason.WRONG_TYPE, "input"),
        ({"messages": "a"}, MESSAGES, Reason.WRONG_TYPE, "messages"),
        ({"messages": {"role": "user"}}, MESSAGES, Reason.WRONG_TYPE, "messages"),
        ({"messages": None}, MESSAGES, Reason.MISSING_FIELD, "messages"),
        ({"messages": []}, MESSAGES, Reason.NO_USER_TURN, "messages"),
        ({"messages": ["a"]}, MESSAGES, Reason.WRONG_TYPE, "messages[0]"),
        ({"messages": [{"content": "a"}]}, MESSAGES, Reason.MISSING_FIELD, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, MESSAGES, Reason.MISSING_FIELD, "messages[0].content"),
        (
            {"messages": [*AB, {"role": "user", "content": None}]},
            MESSAGES,
            Reason.MISSING_FIELD,
            "messages[2].content",
        ),
        (
            {"messages": [{"role": 1, "content": "a"}]},
            MESSAGES,
            Reason.WRONG_TYPE,
            "messages[0].role",
        ),
        (
            {"messages": [{"role": "user", "content": 5}]},
            MESSAGES,
            Reason.WRONG_TYPE,
            "messages[0].content",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}]},
            MESSAGES,
            Reason.UNSUPPORTED_CONTENT,
            "messages[0].content",
        ),
        (
            {"messages": [{"role": "user", "content": ["bare"]}]},
            MESSAGES,
            Reason.UNSUPPORTED_CONTENT,
            "messages[0].content",
        ),
        (
            {"messages": [{"role": "assistant", "content": "a", "tool_calls": [{"id": 1}]}]},
            MESSAGES,
            Reason.UNSUPPORTED_CONTENT,
            "messages[0].tool_calls",
        ),
    ],
)
def test_each_bad_record_has_its_reason_and_field(
    record: Any, form: Format, reason: Reason, field: str
) -> None:
    with pytest.raises(Fault) as caught:
        read_turns(record, form)
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_parts_that_are_all_text_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": " b"}]
    record = {
        "messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "c"}]
    }
    assert read_turns(record, MESSAGES) == turns("a b", "c")


def test_fields_named_in_the_config_are_used() -> None:
    record = {"q": "a", "c": "x", "r": "b", "s": "be kind", "o": "arithmetic", "id": 7}
    assert read_turns(record, PAIRS) == [
        {"role": "system", "content": "be kind"},
        *turns("a\n\nx", "b"),
    ]
    assert find_origin(record, PAIRS) == ("arithmetic", "o")
    assert leftover_fields(record, PAIRS, "o") == {"id": 7}


def test_the_origin_is_the_first_upstream_name_that_is_text() -> None:
    assert find_origin({"category": "c", "task": "t"}, ALPACA) == ("t", "task")
    assert find_origin({"task": 4, "dataset": "d"}, ALPACA) == ("d", "dataset")
    assert find_origin({"task": ""}, ALPACA) == (None, None)
    assert find_origin({"task": "t", "o": 4}, PAIRS) == (None, None)


def test_a_field_that_holds_a_turn_is_no_origin() -> None:
    form = Format("fields", prompt="source", response="target")
    assert find_origin({"source": "Good morning.", "target": "Bonjour."}, form) == (None, None)


def test_what_has_no_column_is_left_over_untouched() -> None:
    record = {
        "instruction": "a",
        "output": "b",
        "input": 5,
        "task": "t",
        "source": "s",
        "nested": {"deep": [1, None, "é"]},
        "flag": False,
        "nothing": None,
    }
    left = leftover_fields(record, ALPACA, "task")
    assert left == {k: record[k] for k in ("input", "source", "nested", "flag", "nothing")}
