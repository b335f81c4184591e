"""The verdict from end to end: a random selection is within the range of random draws, mostly."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation
from curate.proof.statistics import WITHIN
from tests.conftest import write_tiny_model
from tests.proof.test_together import recipe

RUNS, MOST = 12, 2


@pytest.mark.system
@pytest.mark.usefixtures("no_report")
def test_a_random_selection_is_mostly_within_the_range(tmp_path: Path) -> None:
    """Twelve run seeds, each with draws of its own; more than two calls have a chance of 2 %."""
    model = write_tiny_model(tmp_path / "model", num_hidden_layers=1)
    verdicts = []
    for seed in range(RUNS):
        given = recipe(tmp_path, model, seeds=1, written=0) | {
            "seed": seed,
            "select": {"method": "random", "budget": 8},
        }
        proof = run_curation(Config.model_validate(given), tmp_path / f"run-{seed}").proof
        assert proof is not None
        assert proof["score_validity"] is None, "a random draw scores nothing"
        verdicts.append(proof["verdict"])
    assert sum(verdict != WITHIN for verdict in verdicts) <= MOST, verdicts
