"""The race: the method that trains best wins, and its verdict is as rarely false as any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from numpy.typing import NDArray

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.selectparams import Budget
from curate.core.store import Artifact, Store
from curate.proof.halves import CHOICE, LEAST, VERDICT, half_call, split_examples
from curate.proof.proof import ProofInputs, prove
from curate.proof.race import RaceCandidate, race
from curate.proof.settings import ProofSettings
from curate.proof.standings import run_rounds, winner_of
from curate.proof.statistics import WITHIN, compare, level
from curate.selectors.random import RandomSelector
from tests.conftest import frame, row, stored_rows, stored_table, turns
from tests.proof.test_proof import MeasuredRun, helpful, rows_of

pytestmark = pytest.mark.system

POOL, EVALS, BUDGET = 40, 40, Budget(rows=10)
IDS = [f"{'g' if i < 10 else 'b'}{i:02}" for i in range(POOL)]
# Of ten rows, so many are good ones.
GOOD = {"poor": 2, "fair": 5, "best": 10, "bad": 0}


@dataclass
class RacingRun(MeasuredRun):
    """A run with known losses, of which some eval examples may be harder by so much."""

    harder: dict[str, float] = field(default_factory=dict)
    unlabelled: int = 0

    def measure(self, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        counts = super().measure(out, arguments)
        table = pl.read_parquet(out / "results.parquet")
        shift = table["eval_id"].replace_strict(self.harder, default=0.0, return_dtype=pl.Float64)
        table.with_columns(pl.col("loss") + shift).write_parquet(out / "results.parquet")
        return counts

    def label(self, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        rows = rows_of(arguments["eval"]).height
        line = {"name": "eval", "seed": 0, "rows": rows, "unlabelled": self.unlabelled}
        pl.DataFrame([line]).write_parquet(out / "labels.parquet")
        return {}


@dataclass
class Setting:
    """A run, its candidates, and the two halves of its eval set."""

    run: RacingRun
    candidates: dict[str, RaceCandidate]
    eval_rows: Table

    def half(self, name: str) -> Table:
        return self.run.result(half_call(self.eval_rows, self.eval_rows, name, self.run.seed))

    def race(self, rounds: int = 3, **settings: Any) -> Artifact:
        params = ProofSettings.model_validate({"draws": 6, **settings}).values
        return race(self.run, self.candidates, ProofInputs(self.half(CHOICE)), params, rounds)

    def prove(self, name: str) -> dict[str, Any]:
        params = ProofSettings.model_validate({"draws": 6}).values
        material, judged = ProofInputs(self.half(VERDICT)), len(self.candidates)
        ranking = self.candidates[name].ranking
        proof = prove(self.run, ranking, material, params, BUDGET, judged)
        result: dict[str, Any] = orjson.loads(proof.file("proof.json").read_bytes())
        return result


def setting(
    store: Store, good: Mapping[str, int] = GOOD, leak: str | None = None, **run: Any
) -> Setting:
    prompts = [" ".join(f"w{i}x{j}" for j in range(12)) for i in range(EVALS)]
    evals = [row(f"e{i:02}", turns(prompt, "y")) for i, prompt in enumerate(prompts)]
    choice = split_examples(frame(evals), 0).filter(half=CHOICE)["row_id"][0]
    texts = {i: prompts[int(choice[1:])] if i == leak else f"text of {i}" for i in IDS}
    rows = stored_rows(store, "pool", [row(i, turns(t, "an answer")) for i, t in texts.items()])

    def ranking(count: int) -> Table:
        chosen = {*range(count), *range(POOL - 10 + count, POOL)}
        table = pl.DataFrame(
            {
                "row_id": IDS,
                "rank": range(1, POOL + 1),
                "selected": [i in chosen for i in range(POOL)],
                "tokens": [10] * POOL,
                "score": [0.0] * POOL,
            }
        )
        return stored_table(store, "ranking", table, {"rows_out": 10})

    params = RandomSelector(budget=BUDGET)
    candidates = {name: RaceCandidate(params, ranking(count)) for name, count in good.items()}
    racing = RacingRun(store, loss=helpful, **run)
    racing.rows = rows
    return Setting(racing, candidates, stored_rows(store, "eval", evals))


def standings(artifact: Artifact) -> pl.DataFrame:
    return pl.read_parquet(artifact.file("race.parquet"))


def test_the_planted_best_method_wins(store: Store) -> None:
    result = setting(store).race()
    assert result.counts["winner"] == "best"
    table = standings(result)
    order = {n: table.filter(round=n)["name"].to_list() for n in (1, 2, 3)}
    assert order == {
        1: ["best", "fair", "poor", "bad"],
        2: ["best", "fair", "poor"],
        3: ["best", "fair"],
    }
    dropped = table.filter(~pl.col("kept")).select("round", "name").rows()
    assert dropped == [(1, "bad"), (2, "poor"), (3, "fair")]
    assert table["trainings"].to_list() == [1] * 4 + [2] * 3 + [4] * 2
    summary = orjson.loads(result.file("summary.json").read_bytes())
    assert summary["winner"] == "best"
    assert summary["examples"] == EVALS // 2
    assert {c["name"]: c["trainings"] for c in summary["candidates"]} == {
        "best": 4, "fair": 4, "poor": 2, "bad": 1,
    }  # fmt: skip


def test_the_lead_is_the_difference_of_the_known_losses(store: Store) -> None:
    """A row in ten that is good lowers the loss by 0.05."""
    last = standings(setting(store).race()).filter(round=3, name="fair").row(0, named=True)
    assert last["behind"] == pytest.approx(0.25, abs=0.02)
    assert last["low"] < 0.25 < last["high"]


def test_of_candidates_that_are_equal_the_earlier_one_wins_and_is_trained_once(
    store: Store,
) -> None:
    alike = setting(store, {"second": 5, "first": 5})
    result = alike.race()
    assert result.counts["winner"] == "second"
    assert len(alike.run.trained) == 4


def test_the_proof_makes_none_of_the_winners_trainings_again(store: Store) -> None:
    one = setting(store)
    one.race()
    assert len(one.run.trained) == 4 + 3 + 2 * 2
    one.prove("best")
    again = one.run.trained[4 + 3 + 2 * 2 :]
    assert len(again) == 6, "the controls alone"
    assert [f"g{i:02}" for i in range(10)] not in again


def test_what_the_race_was_decided_by_never_reaches_the_verdict(tmp_path: Path) -> None:
    plain = setting(Store(tmp_path / "a"))
    choice = plain.half(CHOICE).read()["row_id"].to_list()
    other = setting(Store(tmp_path / "b"), harder=dict.fromkeys(choice, 3.0))
    races = [one.race() for one in (plain, other)]
    means = [standings(result)["mean"].mean() for result in races]
    assert means[1] - means[0] == pytest.approx(3.0)  # type: ignore[operator]
    proofs = [one.prove("best") for one in (plain, other)]
    assert proofs[0] == proofs[1]
    assert proofs[0]["verdict"] == "better"
    assert proofs[0]["eval_examples"] == EVALS // 2
    assert proofs[0]["alpha"] == pytest.approx(0.05 / 4)


def test_a_candidate_that_selects_a_prompt_of_the_eval_set_stops_the_race(store: Store) -> None:
    with pytest.raises(UserError) as caught:
        setting(store, leak="b39").race()
    said = str(caught.value)
    assert "1 rows or target examples hold prompts of target.eval (b39 that of e" in said
    assert "prove.allow_leaks: true" in said
    assert setting(store, leak="b39").race(allow_leaks=True).counts["winner"] == "best"


def test_too_few_examples_with_a_score_stop_the_race(store: Store) -> None:
    with pytest.raises(
        UserError, match=rf"17 of 20 examples .* it needs {LEAST}: raise that limit"
    ):
        setting(store, unlabelled=3).race()


# --- how often the winner of a race among random selections is called better or worse -------------

RUNS, CANDIDATES, DRAWS, EXAMPLES = 500, 8, 9, LEAST
Matrix = NDArray[np.float64]


def gains(rng: np.random.Generator, trainings: int, worth: float, luck: float) -> Matrix:
    """Return gains of a random set on both halves: its worth, its luck with examples, its trainings."""
    of_set = rng.normal(0, worth) + rng.normal(0, luck, 2 * EXAMPLES)
    noise: Matrix = rng.normal(0, 0.02, (trainings, 1)) + rng.normal(
        0, 0.06, (trainings, 2 * EXAMPLES)
    )
    return of_set + noise


def false_calls(worth: float, luck: float) -> Callable[[str, int], float]:
    """Return how often a half and a number of judged selections call the winner better or worse."""
    rng = np.random.default_rng(7)
    halves = {CHOICE: slice(0, EXAMPLES), VERDICT: slice(EXAMPLES, None)}
    runs = []
    for _ in range(RUNS):
        sets = {str(i): gains(rng, 4, worth, luck) for i in range(CANDIDATES)}

        def measure(
            names: Sequence[str], trainings: int, sets: Mapping[str, Matrix] = sets
        ) -> dict[str, Matrix]:
            return {name: sets[name][:trainings, halves[CHOICE]] for name in names}

        winner = sets[winner_of(run_rounds(list(sets), 3, measure))][:3]
        runs.append((winner, np.vstack([gains(rng, 1, worth, luck) for _ in range(DRAWS)])))

    def share(half: str, judged: int) -> float:
        part, alpha = halves[half], level(strict=False, judged=judged)
        verdicts = [
            compare(one[:, part], draws[:, part], alpha=alpha).verdict for one, draws in runs
        ]
        return sum(verdict != WITHIN for verdict in verdicts) / RUNS

    return share


def test_the_winner_among_random_selections_is_hardly_ever_called() -> None:
    """Neither where random sets differ in worth, nor where they only have luck with examples."""
    for worth, luck in ((0.2, 0.06), (0.0, 0.3)):
        assert false_calls(worth, luck)(VERDICT, CANDIDATES) <= 0.06


def test_judged_as_if_alone_the_luckiest_set_is_called_too_often() -> None:
    """Its worth is the same on both halves, so that another half does not help."""
    share = false_calls(0.2, 0.06)
    assert share(VERDICT, 1) > 0.1


def test_judged_by_the_examples_that_chose_it_the_winner_is_called_more_often() -> None:
    share = false_calls(0.0, 0.3)
    assert share(CHOICE, 1) > 2 * share(VERDICT, 1)
