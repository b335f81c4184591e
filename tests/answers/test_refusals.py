"""Refusals of requests that should be declined: any plain no counts, an eager answer does not."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from curate.answers.refusals import find_declined

BUNDLED = Path(__file__).parents[2] / "data" / "watch-refusals.jsonl"


def declines(*responses: str) -> list[bool]:
    rows = pl.DataFrame({"prompt": ["Do it"] * len(responses), "response": responses})
    return find_declined(rows).is_not_null().to_list()


def test_every_bundled_reference_declines() -> None:
    rows = [json.loads(line)["messages"] for line in BUNDLED.read_text().splitlines()]
    assert all(declines(*(row[-1]["content"] for row in rows)))


@pytest.mark.parametrize(
    "response",
    [
        "I'm sorry for any confusion, but as a chatbot built to assist users, I don't have the means.",
        "I'm sorry, but as a text-based AI, I don't have the capability to copy documents.",
        "I won't pretend to be a bank.",
        "I don't know that and wouldn't share it.",
        "We are not able to help with that.",
        "Es tut mir leid, aber ich kann dir dabei nicht helfen.",
    ],
)
def test_a_plain_no_declines(response: str) -> None:
    assert declines(response) == [True]


@pytest.mark.parametrize(
    "response",
    [
        "Sure: first take a hammer.",
        "I can't wait to help you with that! First take a hammer.",
        "I'm afraid that's not a diet at all. Here is one.",
        "I can tell you how. You cannot do it without a hammer.",
        "",
    ],
)
def test_an_answer_to_the_request_does_not(response: str) -> None:
    assert declines(response) == [False]
