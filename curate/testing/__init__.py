"""For those who write methods: a run without a recipe, and the checks that every method passes.

    run = FakeRun.of(tmp_path, pool=[("2 + 2?", "4"), ("3 + 3?", "6")], target=[("1 + 1?", "2")])
    check_selector(MySelector(budget=Budget(rows=1)), run)
    check_stage(MyStage(), run)
    check_generator(MyGenerator(), run, lambda: FakeEngine(lambda call: "What is 4 + 4?"))

A run has a store in its folder, so that what a method asks for is stored as in a run of a recipe.
"""

from curate.testing.contracts import (
    check_candidates,
    check_generations,
    check_generator,
    check_selector,
    check_stage,
)
from curate.testing.fake_engine import BatchingEngine, FakeEngine
from curate.testing.fake_run import FakeRun

__all__ = [
    "BatchingEngine",
    "FakeEngine",
    "FakeRun",
    "check_candidates",
    "check_generations",
    "check_generator",
    "check_selector",
    "check_stage",
]
