import json
from typing import Any

import pytest

from curate.core.rows import Message
from curate.pool.layouts import ConversationTurns
from tests.conftest import turns
from tests.pool.layouts.test_reader import AB, read

TOOL = {"name": "ferries", "parameters": {"type": "object", "properties": {"to": {}}}}
CALL = {"id": "c1", "name": "ferries", "arguments": '{"to":"Skarv"}'}
ASKED: Message = {"role": "user", "content": "When does it leave?"}
CALLING: Message = {"role": "assistant", "content": "", "tool_calls": [CALL]}  # type: ignore[list-item]
RESULT: Message = {"role": "tool", "content": "21:45"}
ANSWER: Message = {"role": "assistant", "content": "At 21:45."}


def example_of(record: dict[str, Any]) -> ConversationTurns:
    [conversation] = read(record).conversations
    assert conversation.example is not None
    return conversation.example


def without_id(call: dict[str, Any]) -> dict[str, Any]:
    return call | {"id": None}


CONVERSATIONS: list[tuple[dict[str, Any], list[Any]]] = [
    (
        {"messages": [ASKED, {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function",
             "function": {"name": "ferries", "arguments": '{"to": "Skarv"}'}}]},
            {"role": "tool", "tool_call_id": "c1", "name": "ferries", "content": "21:45"}, ANSWER]},
        [ASKED, CALLING, RESULT | {"tool_call_id": "c1", "name": "ferries"}, ANSWER],
    ),
    (
        {"messages": [ASKED, {"role": "assistant", "content": "I look.", "function_call":
            {"name": "ferries", "arguments": {"to": "Skarv"}}},
            {"role": "function", "name": "ferries", "content": "21:45"}, ANSWER]},
        [ASKED, CALLING | {"content": "I look.", "tool_calls": [without_id(CALL)]},
         RESULT | {"name": "ferries"}, ANSWER],
    ),
    (
        {"conversations": [{"from": "human", "value": ASKED["content"]},
            {"from": "function_call", "value": '{"name": "ferries", "arguments": {"to": "Skarv"}}'},
            {"from": "observation", "value": "21:45"}, {"from": "gpt", "value": "At 21:45."}]},
        [ASKED, CALLING | {"tool_calls": [without_id(CALL)]}, RESULT, ANSWER],
    ),
    (
        {"messages": [ASKED, {"role": "assistant", "content": "I look."},
            {"role": "tool_call", "content": '{"name": "ferries", "arguments": {"to": "Skarv"}}'},
            {"role": "tool_call", "content":
             '<tool_call>\n{"name": "ferries", "arguments": {"to": "Skarv"}}\n</tool_call>'},
            {"role": "tool_response", "content": "21:45"}, ANSWER]},
        [ASKED, CALLING | {"content": "I look.", "tool_calls": [without_id(CALL)] * 2}, RESULT, ANSWER],
    ),
    (
        {"messages": [ASKED, {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "A table has it.", "signature": "x"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "c1", "name": "ferries", "input": {"to": "Skarv"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content":
             [{"type": "text", "text": "21:45"}]}]}, ANSWER]},
        [ASKED, CALLING | {"content": "I look.", "reasoning": "A table has it."},
         RESULT | {"tool_call_id": "c1"}, ANSWER],
    ),
    (
        {"contents": [{"role": "user", "parts": [{"text": ASKED["content"]}]},
            {"role": "model", "parts": [{"functionCall": {"name": "ferries",
                                                          "args": {"to": "Skarv"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "ferries",
                                                             "response": {"at": "21:45"}}}]},
            {"role": "model", "parts": [{"text": "At 21:45."}]}]},
        [ASKED, CALLING | {"tool_calls": [without_id(CALL)]},
         {"role": "tool", "content": '{"at":"21:45"}', "name": "ferries"}, ANSWER],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("record", "expected"), CONVERSATIONS, ids=range(len(CONVERSATIONS)))
def test_calls_and_answers_of_tools_are_read_in_the_form_of_every_api(
    record: dict[str, Any], expected: list[Any]
) -> None:
    tools = json.dumps([TOOL])
    example = example_of(record | {"tools": tools})
    assert example.turns == expected
    assert json.loads(example.tools or "") == [{"type": "function", "function": TOOL}]


def test_a_query_whose_answers_are_calls_is_a_turn_of_calls() -> None:
    answers = [{"name": "ferries", "arguments": {"to": "Skarv"}}]
    record = {"query": ASKED["content"], "answers": json.dumps(answers), "tools": [TOOL]}
    example = example_of(record)
    assert example.turns == [ASKED, CALLING | {"tool_calls": [without_id(CALL)]}]


def test_tools_may_stand_in_the_system_turn() -> None:
    system = {"role": "system", "content": "Help.", "functions": json.dumps([TOOL])}
    example = example_of({"messages": [system, *AB]})
    assert json.loads(example.tools or "") == [{"type": "function", "function": TOOL}]
    assert example.turns[0] == {"role": "system", "content": "Help."}


def test_tools_that_the_system_turn_spells_out_are_not_declared_twice() -> None:
    record = {"system": f"Call one of {json.dumps([TOOL])}", "prompt": "a", "completion": "b",
              "tools": [TOOL]}  # fmt: skip
    [conversation] = read(record).conversations
    assert conversation.example is not None
    assert conversation.example.tools is None
    assert conversation.meta == {"tools": [TOOL]}


@pytest.mark.parametrize("said", ["You may call clock.", "", None])
def test_tools_that_turns_only_name_or_call_are_declared(said: str | None) -> None:
    clock = {"name": "clock", "parameters": {"type": "object", "properties": {"zone": {}}}}
    call = {"function": {"name": "clock", "arguments": "{}"}}
    calling = {"role": "assistant", "content": "", "tool_calls": [call]}
    messages = [{"role": "user", "content": "Call clock."}, calling]
    system = [] if said is None else [{"role": "system", "content": said}]
    example = example_of({"messages": [*system, *messages], "tools": [clock]})
    assert json.loads(example.tools or "") == [{"type": "function", "function": clock}]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_is_kept_with_its_answer(field: str) -> None:
    thought = {**AB[1], "reasoning": "hm"}
    assert example_of({"messages": [AB[0], AB[1] | {field: "hm"}]}).turns == [AB[0], thought]
    assert example_of({"prompt": "a", "completion": "b", field: "hm"}).turns == [AB[0], thought]


def test_reasoning_that_the_answer_holds_is_no_reasoning_beside_it() -> None:
    record = {"prompt": "a", "completion": "<think>hm</think> b", "reasoning": "hm"}
    assert example_of(record).turns == turns("a", "<think>hm</think> b")


def test_a_turn_of_the_analysis_channel_is_the_reasoning_of_the_next_answer() -> None:
    analysis = {"role": "assistant", "channel": "analysis", "content": "hm"}
    final = AB[1] | {"channel": "final"}
    assert example_of({"messages": [AB[0], analysis, final]}).turns == [
        AB[0],
        {**AB[1], "reasoning": "hm"},
    ]


OFF: list[dict[str, Any]] = [
    {"weight": 0}, {"weight": 0.0}, {"train": False}, {"training": False}, {"loss": False},
    {"loss_mask": 0}, {"loss_weight": 0.0}, {"masked": True}, {"masked": 1},
]  # fmt: skip


@pytest.mark.parametrize("off", OFF, ids=str)
def test_an_answer_that_is_not_trained_on_has_weight_0(off: dict[str, Any]) -> None:
    record = {"messages": [AB[0], AB[1] | off, AB[0], AB[1] | {"weight": 1}]}
    assert example_of(record).turns == [AB[0], {**AB[1], "weight": 0}, *AB]
    on = {key: not value for key, value in off.items()}
    assert example_of({"messages": [AB[0], AB[1] | on]}).turns == AB
    # A weight of a user's turn says nothing: it is never trained on.
    assert example_of({"messages": [AB[0] | off, AB[1]]}).turns == AB


def test_what_a_turn_has_without_saying_anything_is_left_out() -> None:
    nulls = {"tool_calls": None, "function_calls": None, "context": None, "markdown": None}
    example = example_of(
        {"messages": [AB[0] | nulls, AB[1] | nulls | {"context": AB[1]["content"]}]}
    )
    assert (example.turns, example.beside) == (
        AB,
        {"messages": [{}, {"context": AB[1]["content"]}]},
    )
