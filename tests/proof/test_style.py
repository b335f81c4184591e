"""Style or skill: the gain of the answers against that of the words around them."""

from __future__ import annotations

from typing import Any

import pytest

from curate.proof.style import describe_style


def comparisons(answer: float, rest: float, half: float = 0.1) -> list[dict[str, Any]]:
    return [
        {"metric": metric, "control": control, "mean_difference": difference, "half": half}
        for metric, difference in (("loss", 9.0), ("answer_loss", answer), ("rest_loss", rest))
        for control in ("random_rows", "random_tokens")
    ]


@pytest.mark.parametrize(
    ("answer", "rest", "only_style"),
    [
        (0.0, 0.5, True),
        (-0.5, 0.5, True),
        (0.5, 0.5, False),
        (0.5, 0.0, False),
        (0.0, 0.05, False),
        (0.0, -0.5, False),
    ],
)
def test_it_is_style_where_the_rest_moves_and_the_answers_do_not(
    answer: float, rest: float, only_style: bool
) -> None:
    style = describe_style(comparisons(answer, rest), "random_rows")
    assert style is not None
    assert style["only_style"] is only_style
    assert (style["answer"], style["rest"]) == (answer, rest)
    assert bool(style["sentence"]) is only_style


def test_nothing_is_said_of_style_where_no_answer_was_measured() -> None:
    only_loss = [c for c in comparisons(0, 0) if c["metric"] == "loss"]
    assert describe_style(only_loss, "random_rows") is None
