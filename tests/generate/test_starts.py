"""Where methods start that change single rows."""

from __future__ import annotations

import pytest

from curate.core.errors import UserError
from curate.generate.generation import SeedExample
from curate.generate.starts import choose_starts, count_starts, is_single, system_of
from tests.conftest import turns
from tests.generate.generations import POOL, example, generation
from tests.generate.scripted import ScriptedEngine


def start(target: list[SeedExample] | None = None, **params: object) -> list[str]:
    pool = [*POOL, *((f"Question {i}?", f"Answer {i}.") for i in range(20))]
    run, given = generation("refine", ScriptedEngine([]), target=target, pool=pool, params=params)
    return [example.row_id for example in choose_starts(run, given)]


def test_target_rows_in_their_order_those_with_several_turns_left_out() -> None:
    chat = SeedExample("target/0", turns("Hi.", "Hello.", "Why?", "So."))
    lone = SeedExample("target/9", turns("Hi."))
    rows = [chat, example("target/2", "a", "b"), example("target/1", "c", "d", "Be brief."), lone]
    assert start(rows) == ["target/2", "target/1"]
    assert [is_single(e.messages) for e in rows] == [False, True, True, False]
    assert [system_of(e) for e in rows] == [None, None, "Be brief.", None]


def test_some_rows_of_the_pool_are_drawn() -> None:
    drawn = start(start="pool", rows=5)
    assert len(set(drawn)) == 5
    assert drawn == sorted(drawn) == start(start="pool", rows=5)
    assert len(start(start="pool", rows=99)) == 23
    # Fewer are a part of more.
    assert set(start(start="pool", rows=3)) < set(drawn)


def test_no_row_to_start_from() -> None:
    with pytest.raises(
        UserError, match=r"refine: there is no row .* add `target:`, or `start: pool`"
    ):
        start([])


def test_how_many_rows_there_are() -> None:
    _, params = generation("refine", ScriptedEngine([]), params={"rows": 7})
    assert [count_starts(params, targets, 100) for targets in (0, 5, 9)] == [0, 5, 7]
    _, params = generation("refine", ScriptedEngine([]), params={"rows": 7, "start": "pool"})
    assert count_starts(params, 0, 100) == 7
