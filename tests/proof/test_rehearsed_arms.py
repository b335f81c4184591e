"""Verdicts of watch sets on rehearsed arms: less forgetting is told from none, with its interval."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import orjson
import pytest

from curate.proof.metrics import LOSS
from curate.proof.rehearsed_arms import (
    RehearsedVerdict,
    judge_rehearsed,
    read_rehearsed,
    rehearsed_arms,
)
from curate.proof.statistics import Matrix, estimate


def arms(**rises: float) -> dict[str, Matrix]:
    """Return gains [3, 40] of arms whose loss is so much higher than the base's, which is 1."""
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 0.2, 40)
    return {arm: -(1 + hard + rise + rng.normal(0, 0.01, (3, 40))) for arm, rise in rises.items()}


def judged(**rises: float) -> list[RehearsedVerdict]:
    gains = arms(base=0.0, selected=0.3, random_rows=0.3, **rises)
    base = gains.pop("base")[0]
    return judge_rehearsed(gains, base, gains["random_rows"], LOSS, 0.1, 0.05, None)


def test_an_arm_is_judged_by_the_margin_and_compared_with_selection_and_chance() -> None:
    first, second = judged(rehearsed=0.02, rehearsed_random=0.2)
    assert (first.arm, first.harm.verdict) == ("rehearsed", "kept")
    assert (second.arm, second.harm.verdict) == ("rehearsed_random", "lost")
    than = {other: gain.difference for other, gain in first.less.items()}
    assert than == pytest.approx({"selected": 0.28, "rehearsed_random": 0.18}, abs=0.02)
    words = first.sentence("general")
    assert words.startswith("general, with rehearsed rows: kept; +0.0")
    assert "forgets less than without any: -0.2" in words
    assert "forgets less than with as many rows by chance: -0.1" in words


def test_arms_that_do_the_same_are_not_said_to_be_equal() -> None:
    [line] = judged(rehearsed=0.3)
    [less] = line.less.values()
    assert less.low < 0 < less.high
    gains = arms(base=0.0, selected=0.3, random_rows=0.3, rehearsed=0.3)
    expected = estimate(gains["rehearsed"], gains["selected"])
    assert less == expected
    assert "is not shown to forget less or more than without any" in line.sentence("x")
    same = judge_rehearsed(
        {"rehearsed": gains["selected"], "selected": gains["selected"]},
        gains["base"][0], gains["random_rows"], LOSS, 0.1, 0.05, None,
    )  # fmt: skip
    assert same[0].sentence("x").endswith("than without any: +0.000 [+0.000, +0.000]")


def test_comparisons_are_read_in_their_order_whatever_that_of_the_file() -> None:
    first, _ = judged(rehearsed=0.02, rehearsed_random=0.2)
    stored = orjson.dumps({"rehearsed": [asdict(first)]}, option=orjson.OPT_SORT_KEYS)
    [read] = read_rehearsed(orjson.loads(stored))
    assert list(read.less) == ["selected", "rehearsed_random"]
    assert read.sentence("x") == first.sentence("x")


def test_proofs_without_a_rehearsal_have_no_such_arm() -> None:
    assert rehearsed_arms(["selected", "random_rows"]) == []
    assert rehearsed_arms(["selected", "rehearsed"]) == ["rehearsed"]
    assert judged() == []
