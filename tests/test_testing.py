"""The checks of curate.testing: every method of the package passes, and a broken one does not.

Generators of the package pass them in tests/generate (check_same).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from curate.core.calls import Table, cached
from curate.core.methods import METHODS, find_method, method, methods_in
from curate.core.run import ScoreRun, StepRun
from curate.core.scored_stage import ScoredStage
from curate.core.selector import Selector
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, pair
from curate.generate.generation import Generation, Generator
from curate.llm.requests import Call, Sampling, chat
from curate.models.settings import ModelNames
from curate.selectors.random import RandomSelector
from curate.testing import FakeEngine, FakeRun, check_generator, check_selector, check_stage
from tests.conftest import stored_table

SETTINGS: dict[str, dict[str, Any]] = {
    "blend": {"parts": [{"method": "bm25"}, {"method": "length"}]},
    "cascade": {"parts": [{"method": "bm25", "keep": 0.5}, {"method": "embed"}]},
    "cluster_less": {"warmup": {"epochs": 1}, "max_length": 128, "cluster_rows": 4},
    "delta_loss": {"warmup": {"epochs": 1}, "max_length": 128},
    "less": {"warmup": {"epochs": 1}, "max_length": 128},
    "perplexity_ratio": {"epochs": 1, "max_length": 128},
}
# These ask models of other kinds than the tiny one, and `all` keeps the order of the pool;
# `saved` reads a table of a run (tests/selectors/test_saved.py).
LEFT_OUT = {"judge", "scorer", "bsr", "all", "saved"}
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
    fake = FakeRun.of(tmp_path, pool, pool[4:7], models=models)
    tags = fake.kept.read(["row_id"]).with_columns(
        keep=pl.lit(value=True),
        tags=pl.Series([f"{WORDS[i % 7]};{WORDS[i % 3]}" for i in range(len(pool))]),
    )
    fake.evidence = {"tags": stored_table(fake.store, "tags", tags)}
    return fake


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


@pytest.fixture
def register() -> Iterator[Callable[[type[Any]], type[Any]]]:
    """Register methods for as long as a test takes."""
    before = {family: dict(methods) for family, methods in METHODS.items()}
    yield method
    for family, methods in METHODS.items():
        methods.clear()
        methods.update(before.get(family, {}))


@cached(version=1, name="test-lengths")
def lengths(data: StageInputs) -> pl.DataFrame:
    response = pl.col("messages").list.last().struct["content"]
    return data.survivors().select("row_id", score=response.str.len_chars()).collect()


class ShortStage(ScoredStage):
    """Scores rows by the length of their responses."""

    method: Literal["short"] = "short"
    reason: ClassVar[str] = "says_too_little"

    def score_rows(self, run: StepRun, data: StageInputs) -> Table:
        return run(lengths, data)


def test_a_scored_stage_drops_by_its_own_reason(
    run: FakeRun, register: Callable[[type[Any]], type[Any]]
) -> None:
    verdicts = check_stage(register(ShortStage)(drop=0.3), run)
    dropped = verdicts.filter(~pl.col("keep"))
    assert 0 < dropped.height <= 0.3 * verdicts.height
    assert dropped["reason"].unique().to_list() == ["says_too_little"]
    assert dropped["score"].max() < verdicts.filter("keep")["score"].min()  # type: ignore[operator]
    assert check_stage(ShortStage(), run)["keep"].all()


class EchoGenerator(Generator):
    """Asks each prompt of the target again."""

    method: Literal["echo"] = "echo"

    def generate(self, run: Generation) -> None:
        sampling = Sampling(temperature=0)
        answers = run.ask_one("echo", [chat(e.prompt, sampling=sampling) for e in run.target])
        run.filter(
            [
                self.candidate(run, example.row_id, answer.text)
                for example, answer in zip(run.target, answers, strict=True)
                if answer.failure is None
            ]
        )

    def candidate(self, run: Generation, parent: str, answer: str) -> Candidate:
        return Candidate(pair(answer, "It was a dream of theirs."), run.method, (parent,))

    def cost(self, targets: int, pool_rows: int) -> Workload:
        return Workload(calls=targets)


def dream(call: Call) -> str:
    last_word = call.request.messages[-1]["content"].split()[-1]
    return f"What did somebody once dream of, far from any {last_word}?"


def test_a_generator_keeps_the_contract(
    run: FakeRun, register: Callable[[type[Any]], type[Any]]
) -> None:
    generation = check_generator(register(EchoGenerator)(), run, lambda: FakeEngine(dream))
    assert generation.kept
    assert len(generation.candidates) == len(generation.target)


class OrphaningGenerator(EchoGenerator):
    """Gives its rows parents that are no rows."""

    def candidate(self, run: Generation, parent: str, answer: str) -> Candidate:
        return super().candidate(run, f"{parent}!", answer)


class HoppingGenerator(EchoGenerator):
    """Counts hops that there are not."""

    def candidate(self, run: Generation, parent: str, answer: str) -> Candidate:
        return replace(super().candidate(run, parent, answer), hop=3)


class MuteGenerator(EchoGenerator):
    """Makes nothing."""

    def generate(self, run: Generation) -> None:
        pass


class SpendingGenerator(EchoGenerator):
    """Says that it takes fewer calls than it does."""

    def cost(self, targets: int, pool_rows: int) -> Workload:
        return Workload(calls=targets - 1)


class OrderlyGenerator(EchoGenerator):
    """Numbers its rows as their answers come."""

    arrivals: ClassVar[list[str]] = []

    def candidate(self, run: Generation, parent: str, answer: str) -> Candidate:
        self.arrivals.append(parent)
        return super().candidate(run, parent, f"{len(self.arrivals)}. {answer}")


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (OrphaningGenerator, "has parents that are no rows and were not kept: .'t0!'"),
        (HoppingGenerator, "is at hop 3, its parents lead to 1"),
        (MuteGenerator, "echo: no candidate is on record"),
        (SpendingGenerator, "echo: 3 calls, but cost says 2"),
        (OrderlyGenerator, "echo: what it makes depends on the order in which answers come"),
    ],
)
def test_a_broken_generator_is_caught(
    run: FakeRun,
    register: Callable[[type[Any]], type[Any]],
    broken: type[EchoGenerator],
    sentence: str,
) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_generator(register(broken)(), run, lambda: FakeEngine(dream))
