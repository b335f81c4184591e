"""A proof by pairs: what is trained on, and what a model makes of held-out pairs, computed by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.store import Store
from curate.estimate.recipe import estimate
from curate.models.load import load_tokenizer
from curate.models.preferences import build_pairs, preferences_of
from curate.proof.preferences import describe_pairs, pair_ranking, results
from curate.proof.settings import ProofSettings
from curate.proof.values import row_tokens, tuning_of
from tests.conftest import RowsRun, row, small_proof, stored_rows, stored_table, turns

DPO = {"objective": "dpo"}


# --- settings -----------------------------------------------------------------------------------


def test_pairs_decide_where_pairs_are_learned() -> None:
    assert ProofSettings.model_validate(DPO).metric == "pair_loss"
    assert ProofSettings.model_validate({**DPO, "metric": "loss"}).metric == "loss"
    assert ProofSettings().metric == "auto"


def test_a_proof_by_responses_keeps_the_keys_that_it_had() -> None:
    plain, pairs = ProofSettings().values, ProofSettings.model_validate(DPO).values
    assert {"objective", "beta"}.isdisjoint(plain)
    assert (pairs["objective"], pairs["beta"]) == ("dpo", 0.1)
    assert (row_tokens(plain), row_tokens(pairs)) == (1024, 2048)
    assert tuning_of(plain) == plain["lora"]
    assert tuning_of(pairs) == {**plain["lora"], "beta": 0.1}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metric": "pair_accuracy"}, "pair_accuracy goes with `objective: dpo`"),
        ({**DPO, "then": "target"}, "then trains on responses"),
        ({**DPO, "novelty": {}}, "novelty trains on responses"),
        ({**DPO, "arms": ["selected", "random", "target_plus"]}, "'target_plus' trains on rows"),
        ({**DPO, "arms": ["selected", "random", {"name": "o", "path": "o"}]}, "'o' trains on"),
        ({**DPO, "beta": 0}, "greater than 0"),
        ({"beta": 0.3}, "beta goes with `objective: dpo`"),
    ],
)
def test_what_does_not_go_with_an_objective_is_refused(settings: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ProofSettings.model_validate(settings)


# --- the ranking --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class PairRun(RowsRun):
    """A run with four ranked rows, of which `plain` is no pair."""

    model: Path

    def __post_init__(self) -> None:
        texts = {"long": "word " * 30, "short": "no", "plain": None, "other": "NO"}
        self.rows = stored_rows(
            self.store,
            "pool",
            [
                row(name, turns("Is it?", "yes"), rejected=bad and turns("", bad)[1:])
                for name, bad in texts.items()
            ],
        )

    @property
    def base(self) -> ModelSource:
        return ModelSource({"dtype": "float32"}, self.model)

    def ranked(self, *selected: str, max_length: int = 64) -> Table:
        """Return what a proof trains on of a ranking with these rows selected."""
        names = ["other", "plain", "long", "short"]
        table = pl.DataFrame({"row_id": names, "rank": [1, 2, 3, 4], "tokens": [9, 9, 9, 9]})
        ranking = table.with_columns(selected=pl.col("row_id").is_in(selected))
        prove = ProofSettings.model_validate({**DPO, "lora": {"max_length": max_length}}).values
        return pair_ranking(self, stored_table(self.store, "ranking", ranking), prove, "embed")


def test_a_proof_by_responses_trains_on_the_ranking_as_it_is(store: Store, tiny: Path) -> None:
    ranking = stored_table(store, "ranking", pl.DataFrame({"row_id": ["long"]}))
    run = PairRun(store=store, model=tiny)
    assert pair_ranking(run, ranking, ProofSettings().values, "embed") is ranking


def test_pairs_alone_are_ranked_with_the_tokens_of_both_conversations(
    store: Store, tiny: Path
) -> None:
    run = PairRun(store=store, model=tiny)
    table = run.ranked("other", "short").read()
    assert table["row_id"].to_list() == ["other", "long", "short"]
    assert table["rank"].to_list() == [1, 3, 4]
    assert table.columns == ["row_id", "rank", "tokens", "selected"]
    pairs = preferences_of(run.rows.read())
    built = build_pairs(load_tokenizer(tiny), pairs, 64)
    lengths = dict(zip(run.rows.read()["row_id"], built, strict=True))
    for name, tokens in table.select("row_id", "tokens").iter_rows():
        assert tokens == len(lengths[name].chosen.ids) + len(lengths[name].rejected.ids)
    assert len(lengths["long"].rejected.ids) == 64


def test_selected_rows_that_are_no_pairs_are_told(
    store: Store, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = PairRun(store=store, model=tiny)
    counts = run.ranked("other", "plain").artifact.counts
    said = "1 of 2 selected rows have no rejected answer and are not trained on"
    assert f"embed: {said}" in caplog.text
    prove = ProofSettings.model_validate(DPO).values
    described = describe_pairs(prove, counts)
    assert (described["selected"], described["pairs"]) == (2, 1)
    assert said in described["sentence"]
    whole = run.ranked("other", "short").artifact.counts
    assert "selected rows" not in describe_pairs(prove, whole)["sentence"]


def test_a_selection_without_pairs_is_refused(store: Store, tiny: Path) -> None:
    with pytest.raises(UserError, match="embed: none of the 1 selected rows has a rejected"):
        PairRun(store=store, model=tiny).ranked("plain")


# --- the measure --------------------------------------------------------------------------------


def test_loss_and_accuracy_of_held_out_pairs_by_hand(store: Store) -> None:
    """Gains of ln 3 / beta, none, and -ln 3 / beta; one example is no pair."""
    gain = log(3) / 0.5
    names = ["e0", "e1", "none", "e2"]
    base = {"chosen": [-4.0, -1.0, None, -2.0], "rejected": [-5.0, -3.0, None, -1.0]}
    tuned = {
        "chosen": [-4.0 + gain, -2.0, None, -2.0 - gain],
        "rejected": [-5.0, -4.0, None, -1.0],
    }
    before, after = (
        stored_table(store, name, pl.DataFrame({"eval_id": names, **columns}))
        for name, columns in (("base", base), ("tuned", tuned))
    )
    measured = stored_table(store, "m", pl.DataFrame({"eval_id": names, "loss": [1.0, 2, 3, 4]}))
    table = results(measured, after, before, 0.5)
    assert table["eval_id"].to_list() == names
    assert table["loss"].to_list() == [1, 2, 3, 4]
    expected = [log(4 / 3), log(2), None, log(4)]
    assert table["pair_loss"].to_list() == pytest.approx(expected)
    assert table["pair_accuracy"].to_list() == [1, 0.5, None, 0]
    untuned = results(measured, before, before, 0.5)
    assert untuned["pair_accuracy"].drop_nulls().to_list() == [0.5] * 3


# --- refusals before anything is scored ---------------------------------------------------------


def proved(folder: Path, tiny: Path, *, pool: bool, held_out: int, **more: Any) -> Config:
    """Return a recipe whose pool is of pairs or not, and so many of whose four eval examples."""
    for name, pairs in (("pool", 4 if pool else 0), ("target", 0), ("eval", held_out)):
        lines = [
            {"prompt": f"{name} {i}?", "chosen": "yes", **({"rejected": "no"} if i < pairs else {})}
            for i in range(4)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe = small_proof(folder, tiny, objective="dpo", written=0)
    return recipe.model_validate({**recipe.model_dump(exclude_unset=True), **more})


def test_an_eval_set_without_pairs_and_a_pool_without_any_are_refused(
    tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"target\.eval: none of the 4 examples has a rejected"):
        estimate(proved(tmp_path, tiny, pool=True, held_out=0))
    with pytest.raises(UserError, match="none of the 4 rows of the pool has a rejected answer"):
        estimate(proved(tmp_path, tiny, pool=False, held_out=4))


def test_check_counts_examples_that_are_no_pairs_and_prices_both_answers(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = proved(tmp_path, tiny, pool=True, held_out=3)
    lines = {line.stage: line for line in estimate(pairs)}
    assert "1 of 4 examples have no rejected answer (the first is eval/eval.jsonl:4)" in caplog.text
    assert "on both answers of pairs" in lines["proof: tune"].does
    plain = pairs.model_dump(exclude_unset=True)
    del plain["prove"]["objective"]
    plain["prove"]["metric"] = "loss"
    responses = {line.stage: line for line in estimate(Config.model_validate(plain))}
    for stage, factor in (("proof: tune", 2), ("proof: measure", 1 + 2 * 3 / 4)):
        assert lines[stage].tokens == pytest.approx(factor * responses[stage].tokens, rel=0.01)


def test_rehearsed_rows_are_no_pairs(tiny: Path, tmp_path: Path) -> None:
    prior = {"from": {"path": str(tmp_path / "pool.jsonl"), "source": "prior"}, "share": 0.5}
    with pytest.raises(ValidationError, match="learned by their responses: leave `rehearse` out"):
        proved(tmp_path, tiny, pool=True, held_out=4, rehearse=prior)
