"""The checks of curate.testing: every method of the package passes, and a broken one does not."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from curate.core.calls import Table
from curate.core.methods import find_method, methods_in
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.stage import Stage, StageData, StageResult
from curate.models.settings import ModelNames
from curate.selectors.random import RandomSelector
from curate.testing import FakeRun, check_selector, check_stage

SETTINGS: dict[str, dict[str, Any]] = {
    "blend": {"parts": [{"method": "bm25"}, {"method": "length"}]},
    "cascade": {"parts": [{"method": "bm25", "keep": 0.5}, {"method": "embed"}]},
    "less": {"warmup": {"epochs": 1}, "max_length": 128},
    "perplexity_ratio": {"epochs": 1, "max_length": 128},
}
# These ask models of other kinds than the tiny one, and `all` keeps the order of the pool.
LEFT_OUT = {"judge", "scorer", "bsr", "all"}
STAGES = ("exact", "fuzzy", "semantic", "rules", "pii", "leaks", "confidence")
WORDS = ("river", "stone", "cloud", "lamp", "paper", "glass", "field")


@pytest.fixture
def run(tmp_path: Path, tiny: Path) -> FakeRun:
    pool = [
        (f"Tell me of the {one} and the {other}", f"It is a {other} that the {one} had once.")
        for one in WORDS
        for other in WORDS[:3]
    ]
    models = ModelNames(base=str(tiny), dtype="float32", embedder="static")
    return FakeRun.of(tmp_path, pool, pool[4:7], models=models)


def test_the_selectors_that_are_left_out_are_there() -> None:
    assert set(methods_in(Selector)) > LEFT_OUT


@pytest.mark.parametrize("name", sorted(set(methods_in(Selector)) - LEFT_OUT))
def test_every_selector_keeps_the_contract(run: FakeRun, name: str) -> None:
    settings = {"budget": {"rows": 3}, **SETTINGS.get(name, {})}
    scores = check_selector(find_method(Selector, name).model_validate(settings), run)
    assert scores.height == run.kept.height


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_keeps_the_contract(run: FakeRun, name: str) -> None:
    verdicts = check_stage(find_method(Stage, name).model_validate({}), run)
    assert verdicts.height == run.rows.height


class ByPlace(RandomSelector):
    """Ranks rows by where they stand."""

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        return np.arange(scores.height, dtype=np.int64)


class Twice(RandomSelector):
    """Names its first row twice."""

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        return np.zeros(scores.height, dtype=np.int64)


class Lacking(RandomSelector):
    """Has no scores."""

    def score_rows(self, run: ScoreRun) -> Table:
        return run.kept


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (ByPlace, "random: the order of rows depends on where they stand"),
        (Twice, "random: rank does not name each row of its table once"),
        (Lacking, "random: the scores have no column score, nearest_id"),
    ],
)
def test_a_broken_selector_is_caught(
    run: FakeRun, broken: type[RandomSelector], sentence: str
) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_selector(broken.model_validate({"budget": {"rows": 1}}), run)


class Moved(Stage):
    """Names a parameter that it has not."""

    rethresholdable = ("threshold",)
    method: Literal["moved"] = "moved"

    def decide(self, data: StageData) -> StageResult:
        raise NotImplementedError


def test_a_stage_whose_threshold_is_no_parameter_is_caught(run: FakeRun) -> None:
    with pytest.raises(AssertionError, match="moved: rethresholdable names no parameters of it"):
        check_stage(Moved(), run)
