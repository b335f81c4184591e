"""Whole runs on servers whose models think aloud, fence their JSON, or answer in another field."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from curate.llm.reasoning import holds_marks
from curate.runs.folder import open_run
from tests.generate.serverruns import good_act, recipe_of, said_by
from tests.generate.test_server_runs import run
from tests.llm.engines.fakeserver import Act, FakeServer
from tests.llm.engines.hostile import chat_reply

pytestmark = pytest.mark.usefixtures("no_report")
THOUGHT = "First I weigh every word of it."


def answering(body: dict[str, Any], message: Callable[[str], Any]) -> Act:
    """Return a good answer with its message written otherwise."""
    return Act(body=chat_reply(message(said_by(good_act(body))), usage=USAGE))


USAGE = {"prompt_tokens": 10, "completion_tokens": 5}
WAYS: dict[str, Callable[[str], Any]] = {
    "think": lambda text: {"content": f"<think>\n{THOUGHT}\n</think>\n\n{text}"},
    "think opened by the template": lambda text: {"content": f"{THOUGHT}\n</think>\n{text}"},
    "empty think": lambda text: {"content": f"<think>\n\n</think>\n\n{text}"},
    "mistral": lambda text: {"content": f"[THINK]{THOUGHT}[/THINK]{text}"},
    "channels": lambda text: {
        "content": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final"
        f"<|message|>{text}<|return|>"
    },
    "bare channels": lambda text: {"content": f"analysis{THOUGHT}assistantfinal{text}"},
    "another field": lambda text: {"content": text, "reasoning_content": THOUGHT},
    "a later field": lambda text: {"content": text, "reasoning": THOUGHT},
    "no content": lambda text: {"content": None, "reasoning_content": text},
    "no content, later": lambda text: {"content": "", "reasoning": text},
    "think in another field": lambda text: {
        "content": None, "reasoning_content": f"<think>{THOUGHT}</think>{text}"
    },
}  # fmt: skip
FENCED: dict[str, Callable[[str], Any]] = {
    "fence": lambda text: {"content": f"```json\n{text}\n```"},
    "fence behind think": lambda text: {"content": f"<think>{THOUGHT}</think>\n```json\n{text}\n```"},
    "words before": lambda text: {"content": f"{THOUGHT}\n\n{text}"},
    "fence and words": lambda text: {"content": f"Here:\n```json\n{text}\n```\nThat is it."},
    "think in a value": lambda text: {
        "content": orjson.dumps(
            {k: f"<think>{THOUGHT}</think>{v}" if isinstance(v, str) else v
             for k, v in orjson.loads(text).items()}
        ).decode()
    },
}  # fmt: skip


UNMARKED = {
    "empty think", "no content", "no content, later", "fence", "words before", "fence and words"
}  # fmt: skip
# Those of a run: each of its four requests is answered in another way.
GROUPS = [
    ways[at : at + 4]
    for ways in ([way for way in WAYS | FENCED if way not in UNMARKED], sorted(UNMARKED))
    for at in range(0, len(ways), 4)
]


def in_turn(ways: Sequence[str]) -> Callable[[dict[str, Any], int], Act]:
    """Return a plan that answers each request in the next of these ways."""
    following = cycle(ways)
    return lambda body, number: answering(body, (WAYS | FENCED)[next(following)])


@pytest.mark.parametrize("ways", GROUPS, ids=", ".join)
def test_made_rows_hold_no_reasoning_and_keep_it_apart(
    ways: list[str], tmp_path: Path, tiny: Path
) -> None:
    with FakeServer(in_turn(ways)) as server:
        result = run(recipe_of("generate", tmp_path, tiny, server.url))
    rows = open_run(result.folder).rows("pool")
    assert rows is not None
    generated = rows.filter(source="generated").collect().to_dicts()
    assert len(generated) == 4
    for row in generated:
        assert not [
            m for m in row["messages"] if holds_marks(m["content"]) or THOUGHT in m["content"]
        ]
    thoughts = [
        orjson.loads(row["meta"]).get("reasoning", {}).get("write", "") for row in generated
    ]
    assert {THOUGHT in thought for thought in thoughts} == {ways[0] not in UNMARKED}
    assert len(ways) <= len(server.bodies) <= 5, "nothing was asked twice"


def test_a_judge_reads_its_grades(tmp_path: Path, tiny: Path) -> None:
    ways = ["think", "fence behind think", "words before", "no content"]
    with FakeServer(in_turn(ways)) as server:
        result = run(recipe_of("rubric", tmp_path, tiny, server.url))
    assert len(server.bodies) >= len(ways)
    evidence = pl.read_parquet(result.folder / "evidence/rubric.parquet")
    assert evidence["score"].null_count() == 0


def test_answers_that_are_compared_are_read_without_reasoning(tmp_path: Path, tiny: Path) -> None:
    with FakeServer(in_turn([*WAYS])) as server:
        result = run(recipe_of("knowledge", tmp_path, tiny, server.url))
    assert len(server.bodies) >= len(WAYS)
    answers = pl.read_parquet(result.folder / "evidence/knowledge-answers.parquet")
    assert set(answers["text"]) == {"4"}
    knowledge = pl.read_parquet(result.folder / "evidence/knowledge-known.parquet")
    assert knowledge["category"].value_counts(sort=True).rows() == [
        ("unknown", 5),
        ("highly_known", 1),
    ]


def test_an_answer_of_nothing_but_reasoning_makes_no_row_and_says_so(
    tmp_path: Path, tiny: Path
) -> None:
    def plan(body: dict[str, Any], number: int) -> Act:
        bees = "Worker bees" in json.dumps(body)
        return answering(body, lambda text: {"content": f"<think>{text}" if bees else text})

    with FakeServer(plan) as server:
        result = run(recipe_of("generate", tmp_path, tiny, server.url))
    candidates = pl.read_parquet(result.folder / "generated/candidates.parquet")
    (lost,) = candidates.filter(pl.col("flaw").is_not_null()).to_dicts()
    assert (lost["flaw"], lost["detail"]) == (
        "only_reasoning",
        "the answer is nothing but reasoning",
    )
    assert candidates.height == 4


def test_answers_in_the_field_for_reasoning_are_told(
    tmp_path: Path, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeServer(lambda body, number: answering(body, WAYS["no content"])) as server:
        run(recipe_of("generate", tmp_path, tiny, server.url))
    assert "4 of 4 answers stood where the server puts reasoning" in caplog.text
