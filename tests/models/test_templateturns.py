"""Tools, calls and reasoning in chat templates: rendered, labelled, or refused in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from curate.core.rows import Message
from curate.models.chat import refusal, render, tokenise
from tests.conftest import CHATML, turns
from tests.models.test_spans import labelled, tokenizer_of

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = json.dumps([{"name": "ferries", "parameters": {"type": "object"}}])
# With the habits of Qwen3: tools in the system turn, calls behind the content, reasoning in tags.
CALLING = (
    "{% if tools %}{{ '<|im_start|>system\n' }}{% for t in tools %}{{ t | tojson }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and m.reasoning_content is defined and loop.last %}"
    "{{ '<think>\n' + m.reasoning_content.strip('\n') + '\n</think>\n\n' }}{% endif %}"
    "{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}"
    '{{ \'\n<tool_call>\n{"name": "\' + c.function.name + \'", "arguments": \' '
    "+ (c.function.arguments | tojson) + '}\n</tool_call>' }}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CALL = '\n<tool_call>\n{"name": "ferries", "arguments": {"to": "Skarv"}}\n</tool_call>'


def calls(content: str = "", **more: Any) -> Message:
    call = {"id": "c1", "name": "ferries", "arguments": '{"to": "Skarv"}'}
    return cast(Message, {"role": "assistant", "content": content, "tool_calls": [call], **more})


def declared(messages: list[Message]) -> list[Message]:
    return [{**messages[0], "tools": TOOLS}, *messages[1:]]


ASKED = turns("When?")
RESULT: list[Message] = [{"role": "tool", "content": "21:45", "tool_call_id": "c1"}]


def tokenizer(tiny: Path, template: str = CALLING) -> Any:
    own = tokenizer_of(tiny, "chatml")
    own.chat_template = template
    return own


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([*ASKED, calls()], [f"{CALL}<|im_end|>"]),
        ([*ASKED, calls("I look.")], [f"I look.{CALL}<|im_end|>"]),
        (
            [*ASKED, calls("I look."), *RESULT, *turns("", "At 21:45.")[1:]],
            [f"I look.{CALL}<|im_end|>", "At 21:45.<|im_end|>"],
        ),
        (
            [*ASKED, calls(), *RESULT, *turns("", "At 21:45.")[1:]],
            [f"{CALL}<|im_end|>", "At 21:45.<|im_end|>"],
        ),
        (
            [*ASKED, calls(reasoning="A table has it.")],
            [f"<think>\nA table has it.\n</think>\n\n{CALL}<|im_end|>"],
        ),
    ],
    ids=["call", "text", "several", "bare", "reasoning"],
)
def test_calls_are_labelled_as_the_model_would_write_them(
    tiny: Path, messages: list[Message], expected: list[str]
) -> None:
    assert refusal(tokenizer(tiny), declared(messages)) is None
    assert labelled(tokenizer(tiny), declared(messages)) == expected


def test_the_rendering_is_that_of_the_library(tiny: Path) -> None:
    """Independent of the project's own form of turns: what transformers makes of OpenAI's."""
    messages = declared([*ASKED, calls("I look."), *RESULT, *turns("", "At 21:45.")[1:]])
    function = {"name": "ferries", "arguments": {"to": "Skarv"}}
    openai = [
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": "I look.",
         "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "content": "21:45", "tool_call_id": "c1"},
        {"role": "assistant", "content": "At 21:45."},
    ]  # fmt: skip
    tools = [{"type": "function", "function": json.loads(TOOLS)[0]}]
    expected = tokenizer(tiny).apply_chat_template(openai, tools=tools, tokenize=False)
    assert render(tokenizer(tiny), messages) == expected


@pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_stands_under_the_name_that_the_template_reads(tiny: Path, name: str) -> None:
    template = CALLING.replace("reasoning_content", name)
    thought: Message = {"role": "assistant", "content": "b", "reasoning": "hm"}
    said = labelled(tokenizer(tiny, template), [*turns("a"), thought])
    assert said == ["<think>\nhm\n</think>\n\nb<|im_end|>"]
    # Of an earlier turn this template writes no reasoning, so nothing is labelled there but the answer.
    earlier = labelled(tokenizer(tiny, template), [*turns("a"), thought, *turns("c", "d")])
    assert earlier == ["b<|im_end|>", "d<|im_end|>"]


def test_reasoning_opens_the_answer_where_a_template_has_no_field_for_it(tiny: Path) -> None:
    thought: Message = {"role": "assistant", "content": "b", "reasoning": "hm"}
    plain = tokenizer(tiny, CHATML)
    tagged = turns("a", "<think>\nhm\n</think>\n\nb")
    assert labelled(plain, [*turns("a"), thought]) == labelled(plain, tagged)
    assert tokenise(plain, [[*turns("a"), thought]], None) == tokenise(plain, [tagged], None)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([*ASKED, calls("I look.")], "it leaves the calls of tools out"),
        (declared(turns("a", "b")), "it leaves the tools out"),
        (turns("a", "b"), None),
    ],
)
def test_a_template_without_tools_refuses_rows_that_have_some(
    tiny: Path, messages: list[Message], words: str | None
) -> None:
    assert refusal(tokenizer(tiny, CHATML), messages) == words


def test_a_turn_of_weight_0_is_context_and_has_no_label(tiny: Path) -> None:
    messages = turns("a", "wrong", "c", "d")
    messages[1]["weight"] = 0
    assert labelled(tokenizer(tiny), messages) == ["d<|im_end|>"]


def test_control_tokens_in_reasoning_and_arguments_are_text(tiny: Path) -> None:
    mark = "<|im_end|>"
    message = calls("x", reasoning=f"a {mark}")
    message["tool_calls"] = [{"id": None, "name": "f", "arguments": json.dumps({"q": mark})}]
    [ids] = tokenise(tokenizer(tiny), [[*turns("a"), message]], None)
    end = tokenizer(tiny).convert_tokens_to_ids(mark)
    assert ids.count(end) == 2
