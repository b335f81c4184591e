"""Reasoning and answer are told apart, in every way in which models mark it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.llm.reasoning import holds_marks, part_reasoning, part_values

PAIRED = [
    ("<think>", "</think>"),
    ("<THINK>", "</Think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<reasoning effort='high'>", "</reasoning>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<seed:think>", "</seed:think>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("◁think▷", "◁/think▷"),
    ("[REASONING]", "[/REASONING]"),
    ("[BEGIN THINKING]", "[END THINKING]"),
    ("<rationale>", "</rationale>"),
    ("<analysis>", "</analysis>"),
    ("<cot>", "</cot>"),
    ("<deepThinking>", "</deepThinking>"),
    ("<thought_process>", "</thought_process>"),
    ("<begin_of_thought>", "<end_of_thought>"),
    ("<|reasoning|>", "<|/reasoning|>"),
    ("<|start_of_thinking|>", "<|end_of_thinking|>"),
    ("<思考>", "</思考>"),
    ("< think >", "</ think >"),
    ("＜think＞", "＜/think＞"),
    ("&lt;think&gt;", "&lt;/think&gt;"),
    ("<|channel>thought", "<channel|>"),
    ("<think>", "<\\think>"),
]


@pytest.mark.parametrize(("opening", "closing"), PAIRED)
def test_what_stands_between_marks_is_no_answer(opening: str, closing: str) -> None:
    for text, answer, reasoning in (
        (f"{opening}\n2 and 2\n{closing}\n\nIt is 4.", "It is 4.", "2 and 2"),
        (f"2 and 2\n{closing}\nIt is 4.", "It is 4.", "2 and 2"),
        (f"{opening}\n\n{closing}\n\nIt is 4.", "It is 4.", ""),
        (f"{opening}2 and 2 are", "", "2 and 2 are"),
        (f"It is 4. {opening}Or is it", "It is 4.", "Or is it"),
        (f"{opening}a{opening}b{closing}c{closing}It is 4.", "It is 4.", "a\nb\nc"),
        (f"{opening}Only this.{closing}", "", "Only this."),
    ):
        parted = part_reasoning(text)
        assert (parted.answer, parted.reasoning) == (answer, reasoning)
        assert holds_marks(parted.answer) is None


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        (
            "<|channel|>analysis<|message|>We add.<|end|><|start|>assistant<|channel|>final<|message|>"
            "It is 4.<|return|>",
            "It is 4.", "We add.",
        ),
        ("<|channel|>analysis<|message|>We add", "", "We add"),
        ("<|channel|>final <|constrain|>JSON<|message|>{}<|return|>", "{}", ""),
        ("analysisWe add 2.assistantfinalIt is 4.", "It is 4.", "We add 2."),
        ("analysisWe add 2 and never end", "", "We add 2 and never end"),
        ("analysis of a poem, and its final line", "analysis of a poem, and its final line", ""),
        (
            "<|begin_of_thought|>x<|end_of_thought|>\n<|begin_of_solution|>\n4\n<|end_of_solution|>",
            "4", "x",
        ),
        ("<think>x</think><answer>4</answer>", "4", "x"),
        ("<thinking>x</thinking>\n<output>4</output>", "4", "x"),
        ("<answer>4</answer>", "<answer>4</answer>", ""),
        ("assistantanalysisWe add 2.assistantfinalIt is 4.", "It is 4.", "We add 2."),
        ("```thinking\nWe add 2.\n```\n4", "4", "We add 2."),
        ("<details type=\"reasoning\"><summary>For 2 s</summary>\nx</details>\n4", "4", "x"),
        ("<details><summary>My thinking</summary>x</details>\n4", "4", "x"),
        ("<details><summary>M</summary>x</details>", "<details><summary>M</summary>x</details>", ""),
        ("<think>x</think><final_answer>4", "4", "x"),
        ("<think>x</think>\n<|begin_of_box|>4<|end_of_box|>", "4", "x"),
        ("List<Analysis> all = new List<Analysis>();", "List<Analysis> all = new List<Analysis>();", ""),
        ("Write to [name] because of [reason].", "Write to [name] because of [reason].", ""),
        ("I think <b>so</b>, by reasoning.", "I think <b>so</b>, by reasoning.", ""),
        ("Write `<think>` first.", "Write `<think>` first.", ""),
        ("<think>I close with `</think>` now.</think>4", "4", "I close with `</think>` now."),
        ("<think>a ` b</think>4 with ` and ` around", "4 with ` and ` around", "a ` b"),
    ],
)  # fmt: skip
def test_channels_and_what_stands_around_an_answer(text: str, answer: str, reasoning: str) -> None:
    parted = part_reasoning(text)
    assert (parted.answer, parted.reasoning) == (answer, reasoning)


def test_marks_in_code_are_words_and_told() -> None:
    for text in ("Use `<think>` here.", "```xml\n<think>a</think>\n```"):
        assert part_reasoning(text).answer == text
        assert holds_marks(text) == "<think>"


@pytest.mark.parametrize(
    "text", ["<think/>4", "It is <|begin_of_box|>4<|end_of_box|>.", "<|channel|>x"]
)
def test_a_mark_that_parts_nothing_is_told(text: str) -> None:
    assert holds_marks(part_reasoning(text).answer) is not None


def test_the_texts_of_a_json_value_are_parted() -> None:
    value: Any = {"a": ["<think>x</think>y", 4, None], "b": {"c": "y</think>z", "d": True}}
    assert part_values(value) == ({"a": ["y", 4, None], "b": {"c": "z", "d": True}}, ["x", "y"])


@given(st.text(alphabet="ab<>/think[]THINK|`\n ", max_size=80))
def test_no_text_breaks_it_and_an_answer_needs_no_second_look(text: str) -> None:
    answer = part_reasoning(text).answer
    if "`" not in text:
        assert part_reasoning(answer).answer == answer


def test_a_long_hostile_text_takes_no_time() -> None:
    started = time.process_time()
    for text in (
        "<think>" * 20_000,
        "`" * 50_000 + "<think>",
        "<|channel|>" * 10_000,
        "analysis" * 20_000,
    ):
        part_reasoning(text)
    assert time.process_time() - started < 60
