"""Reasoning and answer are told apart, in every way in which models mark it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.generate.reasoning import holds_marks, part_reasoning, part_values

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


def test_the_texts_of_a_json_value_are_parted() -> None:
    value: Any = {"a": ["<think>x</think>y", 4, None], "b": {"c": "y</think>z", "d": True}}
    assert part_values(value) == ({"a": ["y", 4, None], "b": {"c": "z", "d": True}}, ["x", "y"])


@given(st.text(alphabet="ab<>/think[]THINK|`\n ", max_size=80))
def test_no_text_breaks_it_and_an_answer_needs_no_second_look(text: str) -> None:
    answer = part_reasoning(text).answer
    if "`" not in text:
        assert part_reasoning(answer).answer == answer


def test_a_long_hostile_text_takes_no_time() -> None:
    started = time.monotonic()
    for text in (
        "<think>" * 20_000,
        "`" * 50_000 + "<think>",
        "<|channel|>" * 10_000,
        "analysis" * 20_000,
    ):
        part_reasoning(text)
    assert time.monotonic() - started < 60
