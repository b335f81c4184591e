"""Records: every layout is told by its fields and read whole, or refused by the name of a field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.core.rows import normalise, turn_text
from curate.pool.layouts import ParsedRecord, RecordFault, file_reader
from curate.pool.layouts.unread import HELD_BY_NO_TURN, SPOKEN_FIELDS
from curate.pool.settings import FieldNames
from tests.conftest import turns

AB = turns("a", "b")
CD = [*AB, *turns("c", "d")]
SYSTEM_AB = [{"role": "system", "content": "s"}, *AB]
SHAREGPT = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
TREE = {
    "role": "prompter",
    "text": "a",
    "replies": [
        {"role": "assistant", "text": "worse", "rank": 1, "replies": []},
        {
            "role": "assistant",
            "text": "b",
            "rank": 0,
            "replies": [{"role": "prompter", "text": "thanks", "replies": []}],
        },
    ],
}


def read(record: Any, fields: FieldNames | None = None) -> ParsedRecord:
    return file_reader([record], fields, "f").read(record)


def turns_of(record: Any, fields: FieldNames | None = None) -> list[Any]:
    """Return the turns of every conversation of a record; of those that are none the fault."""
    conversations = read(record, fields).conversations
    return [
        conversation.example.turns if conversation.example else conversation.fault
        for conversation in conversations
    ]


def fault_of(record: Any, fields: FieldNames | None = None) -> tuple[Reason, str]:
    with pytest.raises(RecordFault) as caught:
        file_reader([{"messages": AB}, record], fields, "f").read(record)
    return caught.value.reason, caught.value.field


NO = [{"role": "assistant", "content": "no"}]
READ: list[tuple[dict[str, Any], str, list[Any]]] = [
    ({"messages": AB}, "messages", AB),
    ({"messages": json.dumps(AB)}, "messages", AB),
    ({"messages": AB, "system": "s"}, "messages", SYSTEM_AB),
    ({"messages": AB, "system_prompt": "s"}, "messages", SYSTEM_AB),
    ({"messages": AB, "system": [{"type": "text", "text": "s"}]}, "messages", SYSTEM_AB),
    ({"messages": SYSTEM_AB, "system": "s"}, "messages", SYSTEM_AB),
    ({"conversation": AB}, "messages", AB),
    ({"messages": [{"role": "User", "content": "a"}, {"role": "Chatbot", "message": "b"}]},
     "messages", AB),
    ({"messages": [{"role": "developer", "content": "s"}, *AB]}, "messages", SYSTEM_AB),
    ({"conversations": SHAREGPT}, "sharegpt", AB),
    ({"conversations": SHAREGPT, "system": "s"}, "sharegpt", SYSTEM_AB),
    ({"conversations": [{"from": "bard", "value": "x"}, *SHAREGPT]}, "sharegpt",
     [{"role": "assistant", "content": "x"}, *AB]),
    ({"conversations": ["a", "b", "c", "d"]}, "strings", CD),
    ({"data": ["a", "b"]}, "strings", AB),
    ({"conversation": [{"assistant": "b", "human": "a"}, {"human": "c", "assistant": "d"}]},
     "pairs", CD),
    ({"instruction": "a", "output": "b"}, "alpaca", AB),
    ({"instruction": "a", "input": None, "output": "b"}, "alpaca", AB),
    ({"instruction": "a", "input": "x", "output": "b"}, "alpaca", turns("a\n\nx", "b")),
    ({"instruction": "a", "input": "x", "response": "b"}, "alpaca", turns("a\n\nx", "b")),
    ({"instruction": "", "input": "a", "output": "b"}, "alpaca", AB),
    ({"instruction": "c", "input": "", "output": "d", "history": [["a", "b"]], "system": "s"},
     "alpaca", [{"role": "system", "content": "s"}, *CD]),
    ({"prompt": "c", "response": "d", "history": AB}, "prompt_completion", CD),
    ({"instruction": "c", "output": "d", "chat_history": [["a", "b"]]}, "alpaca", CD),
    ({"query": "c", "response": "d", "conversation_history": AB}, "input_output", CD),
    ({"question": "c", "answer": "d", "chat_history": CD[:3]}, "qa", CD),
    ({"systemPrompt": "s", "messages": AB}, "messages", SYSTEM_AB),
    ({"instructions": "s", "input": "a", "output": "b"}, "input_output", SYSTEM_AB),
    ({"instructions": "s", "input": AB[:1], "output": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]}
    ]}, "input_output", SYSTEM_AB),
    ({"instructions": "Rate from 1 to 5.", "instruction": "a", "input": "", "output": "b"},
     "alpaca", AB),
    ({"instructions": "Rate from 1 to 5.", "prompt": "a", "completion": "b"},
     "prompt_completion", AB),
    ({"instruction": "a", "input": "x", "chosen": "b", "rejected": "no"}, "preference",
     turns("a\n\nx", "b")),
    ({"instruction": "a", "context": "x", "response": "b"}, "dolly", turns("a\n\nx", "b")),
    ({"instruction": "a", "context": "x", "output": "b"}, "alpaca", turns("a\n\nx", "b")),
    ({"prompt": "a", "completion": "b"}, "prompt_completion", AB),
    ({"prompt": "a", "completion": "b", "system": ""}, "prompt_completion", AB),
    ({"prompt": AB[:1], "completion": AB[1:]}, "prompt_completion", AB),
    ({"prompt": "\n\nHuman: a\n\nAssistant:", "completion": "b"}, "prompt_completion", AB),
    ({"question": "a", "answer": 0}, "qa", turns("a", "0")),
    ({"question": "a", "context": "x", "answers": {"text": ["b"], "answer_start": [3]}}, "qa",
     turns("a\n\nx", "b")),
    ({"question": "a", "passage": "x", "answer": ["b", "B"]}, "qa", turns("a\n\nx", "b")),
    ({"question": "a", "document": "x", "answers": ["b"]}, "qa", turns("a\n\nx", "b")),
    ({"system_prompt": "s", "question": "a", "response": "b"}, "qa", SYSTEM_AB),
    ({"question": "a", "solution": "so b", "answer": "b"}, "qa", turns("a", "so b")),
    ({"inputs": "a", "targets": "b"}, "flan", AB),
    ({"input": "a", "output": "b"}, "input_output", AB),
    ({"input": "a", "target": "b"}, "input_output", AB),
    ({"query": "a", "response": "b"}, "input_output", AB),
    ({"problem": "a", "solution": "b"}, "input_output", AB),
    ({"prompt": "a", "answer": "b"}, "input_output", AB),
    ({"message_tree_id": "t", "prompt": TREE}, "oasst", AB),
    ({"user": "a", "assistant": "b", "system": "s"}, "input_output", SYSTEM_AB),
    ({"prompt": "Human: a", "completion": "b"}, "prompt_completion", turns("Human: a", "b")),
    ({"prompt": "a", "chosen": "b", "rejected": "no"}, "preference", AB),
    ({"prompt": "a", "chosen": "b"}, "preference", AB),
    ({"prompt": AB[:1], "chosen": AB[1:], "rejected": NO}, "preference", AB),
    ({"prompt": "a", "chosen": AB, "rejected": [AB[0], *NO]}, "preference", AB),
    ({"conversations": SHAREGPT[:1], "chosen": SHAREGPT[1], "rejected": SHAREGPT[1]},
     "preference", AB),
    ({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: no"},
     "preference", AB),
    ({"input": {"messages": AB[:1], "tools": []}, "preferred_output": AB[1:],
      "non_preferred_output": NO}, "preference", AB),
    ({"contents": [{"role": "user", "parts": [{"text": "a"}]},
                   {"role": "model", "parts": [{"text": "b"}]}],
      "systemInstruction": {"parts": [{"text": "s"}]}}, "messages", SYSTEM_AB),
    ({"system": [{"text": "s"}], "messages": [{"role": "user", "content": [{"text": "a"}]},
                                              {"role": "assistant", "content": [{"text": "b"}]}]},
     "messages", SYSTEM_AB),
    ({"custom_id": "1", "body": {"model": "m", "messages": AB}}, "batch", AB),
    ({"custom_id": "1", "params": {"system": "s", "messages": AB}}, "batch", SYSTEM_AB),
    ({"text": "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"},
     "transcript", AB),
    ({"text": "\n\nHuman: a\n\nAssistant: b"}, "transcript", AB),
    ({"prompt": "a", "completion": "b", "label": True}, "prompt_completion", AB),
    ({"prompt": "a", "completion": "b", "label": 1}, "prompt_completion", AB),
    # The first of some classes.
    ({"instruction": "a", "output": "b", "label": 0}, "alpaca", AB),
    ({"messages": AB, "label": "0", "thumbs_up": None}, "messages", AB),
    ({"messages": AB, "prompt": "a", "tools": [], "images": None}, "messages", AB),
    ({"instruction": "a", "output": "b", "text": "### Task: a ### Answer: b"}, "alpaca", AB),
]  # fmt: skip


@pytest.mark.parametrize(("record", "layout", "expected"), READ, ids=range(len(READ)))
def test_every_layout_is_told_by_its_fields_and_read(
    record: dict[str, Any], layout: str, expected: list[Any]
) -> None:
    assert read(record).layout == layout
    assert turns_of(record) == [expected]


# Fields whose values are lists in one file are their JSON text in a table.
PACKED = [
    {"prompt": AB[:1], "completion": AB[1:]},
    {"chosen": AB, "rejected": AB},
    {"prompt": "c", "response": "d", "history": [["a", "b"]]},
    {"question": "a", "answers": {"text": ["b"]}},
    {"question": "a", "choices": ["b", "e"], "answer": "A"},
]


@pytest.mark.parametrize("record", PACKED, ids=range(len(PACKED)))
def test_lists_may_be_written_as_json_text(record: dict[str, Any]) -> None:
    packed = {k: v if isinstance(v, str) else json.dumps(v) for k, v in record.items()}
    assert turns_of(packed) == turns_of(record)


def turn(**more: Any) -> dict[str, Any]:
    return {"messages": [AB[0], AB[1] | more]}


REFUSED: list[tuple[dict[str, Any], str]] = [
    (turn(weight=0.5), "messages[1].weight = 0.5: 0 or 1"),
    (turn(tool_calls=[{"id": 1}]), "messages[1].tool_calls[0].name"),
    (turn(tool_calls="look it up"), "messages[1].tool_calls: no JSON of a call"),
    (turn(reasoning_content=["hm"]), "messages[1].reasoning_content"),
    (turn(reasoning="a", thinking="b"),
     "messages[1].thinking: reasoning stands elsewhere too"),
    (turn(channel="commentary"), "messages[1].channel = 'commentary'"),
    (turn(channel="analysis"), "messages: reasoning without an answer behind it"),
    ({"conversations": [{"from": "function_call", "value": "{}"}]},
     "conversations[0].value[0].name"),
    ({"messages": AB, "tools": "search"}, "tools: no JSON of a call"),
    ({"messages": AB, "tools": [7]}, "tools"),
    ({"messages": [*AB, *AB], "reasoning": "hm"}, "reasoning: of which answer?"),
    ({"prompt": "a", "chosen": AB, "rejected": turns("c", "d")},
     "rejected: it answers another prompt"),
    (turn(images=["x.png"]), "messages[1].images"),
    (turn(image_url="https://example.org/x.png"), "messages[1].image_url"),
    (turn(attachments=[{"id": 1}]), "messages[1].attachments"),
    (turn(train_detail=[{"begin_offset": 0, "end_offset": 1, "train": False}]),
     "messages[1].train_detail"),
    (turn(masked="yes"), "messages[1].masked = 'yes': 0 or 1"),
    (turn(text="another text"), "messages[1].text"),
    (turn(context="a passage"), "messages[1].context"),
    (turn(instruction="Answer in rhyme."), "messages[1].instruction"),
    (turn(function_calls="search(q='tern')"), "messages[1].function_calls"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}]},
     "messages[0].content"),
    ({"messages": AB, "images": ["x.png"]}, "images"),
    ({"messages": AB, "audio": "x.wav"}, "audio"),
    ({"messages": AB, "image_path": "x.png"}, "image_path"),
    ({"prompt": "x", "completion": "y", "img": "x.png"}, "img"),
    ({"question": "x", "answer": "y", "video_urls": ["https://example.org/x.mp4"]}, "video_urls"),
    ({"messages": AB, "context": "another text"}, "context"),
    ({"messages": AB, "prompt": "another text"}, "prompt"),
    ({"messages": AB, "system": 7}, "system"),
    ({"messages": SYSTEM_AB, "system": "another text"}, "system"),
    ({"messages": AB, "rejected_response": 7}, "rejected_response"),
    ({"messages": AB, "rejected_messages": turns("c", "d")},
     "rejected_messages: it answers another prompt"),
    ({"prompt": "x", "completion": "y", "rejected": "z"}, "rejected"),
    ({"prompt": "x", "completion": "y", "answer": 4}, "answer"),
    ({"instruction": "x", "input": "i", "output": "y", "context": "z"}, "context"),
    ({"instruction": "x", "output": "y", "history": "z"}, "history"),
    ({"instruction": "x", "output": "y", "Input": "z"}, "Input"),
    ({"instruction": "x", "output": "y", "text": "another text"}, "text"),
    ({"instruction": "x", "input": ["i"], "output": "y"}, "input"),
    ({"instruction": "x", "output": "y", "choices": ["p", "q"]}, "choices"),
    ({"question": "x", "context": "p", "document": "q", "answer": "y"}, "document"),
    ({"question": "x", "answers": {"text": []}}, "answers.text[0]"),
    ({"question": "x", "passage": "p", "answer": True}, "answer"),
    ({"question": "x", "answers": "{'text': ['y']}"}, "answers"),
    ({"prompt": "x", "chosen": None, "rejected": "z"}, "chosen"),
    ({"chosen": "y", "rejected": "z"}, "prompt"),
    ({"text": "<|im_start|>user\na<|im_end|> lost <|im_start|>assistant\nb<|im_end|>"},
     "text: text between turns ('lost')"),
]  # fmt: skip


MARKED: list[tuple[dict[str, Any], str, list[Any]]] = [
    ({"prompt": "x", "completion": "y"}, "label", [False, "FALSE", 0, 0.0, "0", "0.0"]),
    ({"prompt": "x", "response": "y"}, "label", [False, " False "]),
    ({"prompt": "x", "response": "y"}, "Label", [False]),
    ({"messages": AB}, "thumbs_up", [False, 0, "0"]),
    ({"conversations": AB}, "kto_tag", ["false", "FALSE", 0, "0"]),
]
REFUSED += [
    (record | {name: value}, f"{name} = {str(value).strip().lower()}: the answer is marked as a bad "
     "one; if it is none, name the turns with `fields:`")
    for record, name, values in MARKED
    for value in values
]  # fmt: skip


@pytest.mark.parametrize(("record", "field"), REFUSED, ids=range(len(REFUSED)))
def test_a_field_of_the_conversation_that_no_turn_holds_refuses_the_record_by_its_name(
    record: dict[str, Any], field: str
) -> None:
    assert fault_of(record)[1] == field


@pytest.mark.parametrize(
    ("record", "reason", "field"),
    [
        ("text", Reason.NOT_OBJECT, "str"),
        (None, Reason.NOT_OBJECT, "NoneType"),
        ([AB], Reason.NOT_OBJECT, "list"),
        ({"output": "b"}, Reason.MISSING_FIELD, "messages"),
        ({"instruction": "a", "output": None}, Reason.MISSING_FIELD, "output"),
        ({"instruction": ["a"], "output": "b"}, Reason.WRONG_TYPE, "instruction"),
        ({"question": ["a", "c"], "answer": "b"}, Reason.WRONG_TYPE, "question"),
        ({"instruction": 7, "output": "b"}, Reason.WRONG_TYPE, "instruction"),
        ({"instruction": "a", "output": True}, Reason.WRONG_TYPE, "output"),
        ({"messages": "a"}, Reason.WRONG_TYPE, "messages"),
        ({"messages": {"role": "user"}}, Reason.WRONG_TYPE, "messages"),
        ({"messages": None}, Reason.MISSING_FIELD, "messages"),
        ({"messages": []}, Reason.NO_USER_TURN, "messages"),
        ({"messages": ["a"]}, Reason.WRONG_TYPE, "messages[0]"),
        ({"messages": [{"content": "a"}]}, Reason.MISSING_FIELD, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, Reason.MISSING_FIELD, "messages[0].content"),
        ({"messages": [{"role": 1, "content": "a"}]}, Reason.WRONG_TYPE, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, Reason.WRONG_TYPE, "messages[0].content"),
    ],
)
def test_each_bad_record_has_its_reason_and_field(record: Any, reason: Reason, field: str) -> None:
    assert fault_of(record) == (reason, field)


def test_a_record_in_no_layout_lacks_the_field_that_most_of_its_file_have() -> None:
    reader = file_reader([{"instruction": "a", "output": "b"}, {"instruction": "c"}], None, "f")
    with pytest.raises(RecordFault) as caught:
        reader.read({"instruction": "c"})
    assert (caught.value.reason, caught.value.field) == (Reason.MISSING_FIELD, "output")


@pytest.mark.parametrize(
    ("record", "hint"),
    [
        ({"query": 1, "text": 2}, r"fields seen: query, text\. .*fields: \{prompt: query"),
        (
            {"text": "### Instruction: a ### Response: b"},
            r"fields seen: text\. .*documents .*corpus",
        ),
        ({"prompt": "a"}, r"prompts without an answer \(`prompt`\)"),
        ({"turns": ["a", "b"]}, r"prompts without an answer \(`turns`\)"),
        ({"message_id": 1, "parent_id": 2, "role": "prompter", "text": "a"}, "whole trees"),
        ({"foo": 1}, r"fields seen: foo\. Name yours"),
    ],
)
def test_a_file_in_no_layout_is_refused_with_a_hint(record: dict[str, Any], hint: str) -> None:
    with pytest.raises(UserError, match=rf"x.jsonl: no known layout .* first 1 records; .*{hint}"):
        file_reader([record], None, "x.jsonl")


def test_records_that_hold_others_give_a_row_for_each() -> None:
    task = {"name": "add", "instruction": "a", "id": 7}
    parsed_record = read(
        task | {"instances": [{"input": "", "output": "b"}, {"input": "x", "output": 5}]}
    )
    assert [
        conversation.example and conversation.example.turns
        for conversation in parsed_record.conversations
    ] == [
        AB,
        turns("a\n\nx", "5"),
    ]
    assert [
        (conversation.origin, conversation.meta) for conversation in parsed_record.conversations
    ] == [("add", {"id": 7})] * 2
    super_ni = {"Definition": ["a"], "Instances": [{"id": "1", "input": "x", "output": ["b", "B"]}]}
    assert turns_of(super_ni) == [turns("a\n\nx", "b")]
    assert read(super_ni).conversations[0].meta == {"id": "1", "other_outputs": ["B"]}
    assert turns_of({"examples": [{"input": "a", "target": "b"}] * 2}) == [AB, AB]


def test_nested_squad_has_a_row_for_each_question_and_refuses_those_without_an_answer() -> None:
    questions = [
        {"id": "1", "question": "a", "answers": [{"text": "b", "answer_start": 0}]},
        {"id": "2", "question": "c", "answers": [], "is_impossible": True},
    ]
    record = {"title": "t", "paragraphs": [{"context": "x", "qas": questions}]}
    first, second = turns_of(record)
    assert first == turns("a\n\nx", "b")
    assert (second.reason, second.field) == (Reason.MISSING_FIELD, "answers[0]")


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "a", "chosen": "b", "rejected": "no"},
        {"prompt": "a", "chosen": AB, "rejected": [AB[0], *NO]},
        {"prompt": "a", "chosen": AB[1:], "rejected": NO},
        {"input": {"messages": AB[:1]}, "preferred_output": AB[1:], "non_preferred_output": NO},
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: no"},
        {"system": "s", "prompt": "a", "chosen": "b", "rejected": "no"},
        {"messages": AB, "rejected_response": "no"},
        {"messages": AB, "rejected_response": NO[0]},
        {"messages": AB, "rejected_messages": [AB[0], *NO]},
        {"query": "a", "response": "b", "rejected_response": "no", "system": "s"},
        {"instruction": "a", "input": "", "output": "b", "rejected_response": NO},
    ],
)
def test_the_rejected_answer_of_a_pair_is_kept_beside_the_chosen_one(
    record: dict[str, Any],
) -> None:
    [conversation] = read(record | {"score": 1}).conversations
    assert conversation.example is not None
    assert conversation.example.turns[-1] == AB[1]
    assert conversation.example.rejected == NO
    assert conversation.meta["score"] == 1
    assert "no" not in str(conversation.meta)


def test_a_pair_of_equal_answers_and_one_without_a_rejected_answer_are_read() -> None:
    for rejected, expected in (("b", [AB[1]]), (None, None), ("", None)):
        record = {"prompt": "a", "chosen": "b", "rejected": rejected}
        [conversation] = read(record).conversations
        assert conversation.example is not None
        assert conversation.example.rejected == expected


def test_the_origin_is_the_first_upstream_name_that_is_text_and_no_turn() -> None:
    pair = {"instruction": "a", "output": "b"}
    for record, origin, meta in (
        ({"category": "c", "task": "t"}, "t", {"category": "c"}),
        ({"task": 4, "dataset": "d"}, "d", {"task": 4}),
        ({"task": ""}, None, {"task": ""}),
    ):
        [conversation] = read(pair | record).conversations
        assert (conversation.origin, conversation.meta) == (origin, meta)
    fields: FieldNames = {"prompt": "source", "response": "target"}
    assert (
        read({"source": "Good morning.", "target": "Bonjour."}, fields).conversations[0].origin
        is None
    )


def test_what_has_no_column_is_left_over_untouched() -> None:
    record = {
        "instruction": "a",
        "output": "b",
        "input": None,
        "task": "t",
        "source": "s",
        "nested": {"deep": [1, None, "é"]},
        "flag": False,
    }
    [conversation] = read(record).conversations
    assert conversation.meta == {k: record[k] for k in ("input", "source", "nested", "flag")}
    listed = {"messages": [AB[0] | {"id": 1}, AB[1]], "id": 2}
    assert read(listed).conversations[0].meta == {"id": 2, "messages": [{"id": 1}, {}]}


# --- no text of a conversation is lost ------------------------------------------------------------

WORDS = st.lists(
    st.sampled_from(["kelp", "oak", "tern", "mist", "7", "quartz"]), min_size=1, max_size=3
)
TEXT = st.builds(lambda words, n: f"{' '.join(words)} {n}", WORDS, st.integers(1000, 9999))
LISTS = st.lists(
    st.builds(
        lambda key, text: {"role": key, "content": text},
        st.sampled_from(["system", "user", "assistant", "tool"]),
        TEXT,
    ),
    min_size=1,
    max_size=3,
)
SPOKEN = (
    *("instruction", "input", "output", "response", "context", "history", "system", "prompt"),
    *("completion", "question", "answer", "query", "problem", "solution", "inputs", "targets"),
    *("text", "passage", "document", "system_prompt", "thinking", "reasoning", "target"),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(SPOKEN, TEXT),
    "messages": LISTS,
    "conversations": LISTS.map(json.dumps),
    "choices": st.lists(TEXT, min_size=2, max_size=3),
    "history": st.lists(st.lists(TEXT, min_size=2, max_size=2), max_size=2),
}
RECORDS = st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
)
PAIRED = st.sampled_from(
    [
        ("instruction", "output"),
        ("prompt", "completion"),
        ("question", "answer"),
        ("input", "target"),
    ]
)


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return texts(json.loads(value)) if value.startswith("[") else [value]
    if isinstance(value, dict):
        return texts(value["content"])
    return [text for inner in value for text in texts(inner)]


@given(RECORDS, PAIRED, TEXT, TEXT)
def test_every_text_of_a_conversation_stands_in_a_turn_or_the_record_is_refused(
    record: dict[str, Any], pair: tuple[str, str], prompt: str, response: str
) -> None:
    record = record | {pair[0]: prompt, pair[1]: response}
    try:
        parsed_record = read(record)
    except RecordFault as fault:
        assert fault.field
        return
    for conversation in parsed_record.conversations:
        assert conversation.example is not None
        spoken = "\n".join(normalise(turn_text(turn)) for turn in conversation.example.turns)
        assert [
            text for text in texts(list(record.values())) if normalise(text) not in spoken
        ] == []


KEYS = sorted(
    {*SPOKEN_FIELDS, *HELD_BY_NO_TURN, "role", "content", "from", "value", "parts", "body", "label"}
    | {"A", "B", "stem", "turns", "Instances", "Definition", "replies", "parent_id", "data", "user"}
)
ODD = ["", "a", "[", "{", '[{"role": 1}]', "<|im_start|>user\n", "\n\nHuman: x", '["x", "y"]']
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(ODD),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=5), st.booleans())
def test_no_record_is_more_than_a_reader_can_say_no_to(
    record: dict[str, Any], prompts: bool
) -> None:
    try:
        parsed_record = file_reader([record], None, "f", prompts=prompts).read(record)
    except (RecordFault, UserError):
        return
    for conversation in parsed_record.conversations:
        assert conversation.fault or (conversation.example and conversation.example.turns)
        for message in conversation.example.turns if conversation.example else []:
            assert isinstance(message["content"], str)


def test_names_in_capitals_keep_them_in_meta() -> None:
    record = {"Instruction": "a", "Input": "x", "Output": "b", "Category": "c", "Tag": 1}
    parsed = read(record)
    assert (parsed.layout, parsed.fields) == ("alpaca", ("Instruction", "Output"))
    [conversation] = parsed.conversations
    assert (conversation.origin, conversation.meta) == ("c", {"Tag": 1})
    assert turns_of(record) == [turns("a\n\nx", "b")]
    assert fault_of({"Instruction": "a", "Output": "b", "Images": ["x"]})[1] == "images"
