"""A verdict in words: what decides, and against which control alone the selection would be another."""

from typing import Any

import pytest

from curate.proof.outcome import detail_of
from curate.proof.statistics import WITHIN


def proof(rows: str, tokens: str) -> dict[str, Any]:
    """Return what a verdict is told from, with the verdicts against the two controls."""
    common = {"metric": "loss", "unit": "nats", "half": 0.1, "mean_difference": 0.2, "examples": 20}
    controls = {"random_rows": rows, "random_tokens": tokens}
    comparisons = [
        {"control": name, "verdict": verdict, **common} for name, verdict in controls.items()
    ]
    return {
        "metric": "loss",
        "alpha": 0.05,
        "judged": 1,
        "look": {"of": 1},
        "spread": {"draws": 9},
        "comparisons": comparisons,
    }


@pytest.mark.parametrize(
    ("rows", "tokens", "sentence"),
    [
        ("better", WITHIN, "It is better than as many random rows alone, "),
        (WITHIN, "worse", "It is worse than about as many random tokens alone, "),
        (
            "better",
            "worse",
            "It is better than as many random rows and worse than about as many random tokens, ",
        ),
    ],
)
def test_a_verdict_that_one_control_would_not_give_says_so(
    rows: str, tokens: str, sentence: str
) -> None:
    assert f" {sentence}and the verdict has to hold against both." in detail_of(proof(rows, tokens))


@pytest.mark.parametrize("verdict", ["better", "worse", WITHIN])
def test_a_verdict_that_both_controls_give_stands_alone(verdict: str) -> None:
    assert "both" not in detail_of(proof(verdict, verdict))
