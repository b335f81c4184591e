"""Sequential looks: levels that add up, fewer draws where few decide, and no more false calls."""

from __future__ import annotations

import numpy as np
import pytest

from curate.config.recipe import Config
from curate.core.store import Computation, Store
from curate.proof.looks import look_sentence, looks_of
from curate.proof.settings import ProofSettings
from curate.proof.statistics import WITHIN, compare
from tests.proof.test_proof import Loss, MeasuredRun, harmful, helpful, indifferent, run_proof

pytestmark = pytest.mark.system


def test_the_levels_of_all_looks_add_up_to_that_of_one() -> None:
    looks = looks_of("sequential")
    assert [look.draws for look in looks] == [5, 9, 19]
    assert [0.05 * look.share for look in looks] == pytest.approx([0.01, 0.015, 0.025])
    assert [look.share for look in looks_of(9)] == [1.0]
    assert look_sentence(looks_of(9)[0].describe()) == ""


def test_random_sets_are_hardly_called_however_often_one_looks() -> None:
    """At the whole level each time, three looks call many more."""
    rng, calls, careless = np.random.default_rng(0), 0, 0
    for _ in range(2_000):
        gains = rng.normal(0, 0.1, (20, 1)) + rng.normal(0, 0.2, (1, 12))
        for look in looks_of("sequential"):
            draws = gains[1 : 1 + look.draws]
            if compare(gains[:1], draws, alpha=0.05 * look.share).verdict != WITHIN:
                calls += 1
                break
        careless += any(
            compare(gains[:1], gains[1 : 1 + look.draws], alpha=0.05).verdict != WITHIN
            for look in looks_of("sequential")
        )
    assert calls / 2_000 <= 0.06
    assert careless / 2_000 > 0.08


@pytest.mark.parametrize("loss", [helpful, harmful])
def test_a_clear_effect_needs_the_first_look_alone(store: Store, loss: object) -> None:
    proof, _, run = run_proof(store, loss, draws="sequential", tokens=lambda i: 64)  # type: ignore[arg-type]
    assert proof["verdict"] != WITHIN
    assert proof["alpha"] == pytest.approx(0.01)
    assert len(run.trained) == 5 + 3
    assert "This is look 1 of 3" in proof["sentence"]
    assert "9 and 19 draws were not needed" in proof["sentence"]


def test_what_stays_undecided_is_looked_at_to_the_end_and_trains_nothing_twice(
    store: Store,
) -> None:
    proof, _, run = run_proof(store, indifferent, draws="sequential", tokens=lambda i: 64)
    assert proof["verdict"] == WITHIN
    assert proof["spread"]["draws"] == 19
    assert len(run.trained) == 19 + 3
    assert proof["sentence"].endswith("all of them share the level.")


@pytest.mark.parametrize(("loss", "looks"), [(indifferent, 3), (helpful, 1)])
def test_what_stands_beside_the_verdict_is_made_at_the_look_that_counts_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch, loss: Loss, looks: int
) -> None:
    names: list[str] = []

    def note(run: MeasuredRun, computation: Computation) -> Computation:
        names.append(computation.name)
        return replace(run, computation)

    replace = MeasuredRun.replace
    monkeypatch.setattr(MeasuredRun, "replace", note)
    watch = {"general": ["a prompt", "another"]}
    proof, artifact, _ = run_proof(
        store, loss, draws="sequential", tokens=lambda i: 64, curve=2, watch=watch, written=2
    )
    assert proof["look"]["number"] == looks == names.count("spread")
    assert [names.count(name) for name in ("curve", "watch-verdicts", "proof")] == [1, 1, 1]
    assert all(proof[name] for name in ("curve", "watch", "written"))
    assert artifact.name == "proof"


def test_draws_are_a_number_or_sequential() -> None:
    assert ProofSettings.model_validate({"draws": "sequential"}).draws == "sequential"
    for wrong in (1, "many"):
        with pytest.raises(ValueError, match="draws"):
            Config.model_validate({"name": "a", "pool": "p", "prove": {"draws": wrong}})
