"""Rehearsal by models whose losses and answers are known beforehand: planted damage is rehearsed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.core.calls import CachedCall, Table
from curate.core.errors import UserError
from curate.core.store import Artifact, Computation, Store
from curate.models.lora_values import brief_lora
from curate.proof.rehearse import rehearse
from curate.proof.rehearse_settings import RehearseSettings
from tests.conftest import row, stored_rows, stored_table, turns
from tests.proof.test_proof import MeasuredRun, ReplacedCall, rows_of

LORA = brief_lora(epochs=1, learning_rate=1e-3, max_length=64)
LONG = "a response of quite some words that nobody compares by its value, number"
GROUPS = {"verse": 30, "sums": 30, "prose": 30}


@dataclass(kw_only=True)
class ForgettingRun(MeasuredRun):
    """A run whose tuned model has a higher loss on some origin, and no longer knows sums.

    wrong: numbers that the base gets wrong. reads: whether it reads a response of any row.
    """

    forgets: str
    wrong: frozenset[int] = frozenset()
    reads: bool = True

    def replace(self, computation: Computation) -> Computation:
        if computation.name == "written":
            assert isinstance(computation, CachedCall)
            return ReplacedCall(computation, self.answer)
        return super().replace(computation)

    def measure(self, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        rows = rows_of(arguments["eval"])
        hurt = (rows["origin"] == self.forgets).to_numpy() * 0.2
        noise = np.array([0.001 * (len(i) + int(i[-1])) for i in rows["row_id"]])
        loss = 1.0 + noise + (hurt if arguments["tuned"] else 0)
        losses = pl.Series("loss", loss if self.reads else [None] * rows.height, dtype=pl.Float64)
        pl.DataFrame(
            {"eval_id": rows["row_id"], "loss": losses, "exact": False, "response_tokens": 5}
        ).write_parquet(out / "results.parquet")
        return {}

    def answer(self, out: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        rows = rows_of(arguments["eval"])
        texts = []
        for messages in rows["messages"]:
            number = int(messages[-1]["content"])
            forgotten = arguments["tuned"] is not None and self.forgets == "sums"
            texts.append(f"{number + (number in self.wrong or forgotten)}.0")
        pl.DataFrame({"eval_id": rows["row_id"], "text": texts}).write_parquet(
            out / "written.parquet"
        )
        return {}


def prior_rows() -> list[dict[str, Any]]:
    return [
        row(
            f"{origin}{i:02}",
            turns(f"{origin} {i}?", str(i) if origin == "sums" else f"{LONG} {i}"),
            origin=origin,
            source="old",
        )
        for origin, count in GROUPS.items()
        for i in range(count)
    ]


def rehearsed(
    store: Store,
    forgets: str = "nothing",
    wrong: frozenset[int] = frozenset(),
    steps: list[str] | None = None,
    origins: Collection[str] = tuple(GROUPS),
    **settings: Any,
) -> tuple[pl.DataFrame, pl.DataFrame, Artifact]:
    """Return the fates of prior rows, their bins, and the artifact; put what was computed in `steps`."""
    run = ForgettingRun(store, loss=lambda ids: 1.0, forgets=forgets, wrong=wrong)
    pool = [row(f"p{i}", turns(f"new {i}", f"y {i}")) for i in range(40)]
    pool[0] = row("p0", turns("verse 0?", f"{LONG} 0"))
    run.rows = stored_rows(store, "pool", pool)
    ranking = pl.DataFrame({"row_id": [f"p{i}" for i in range(40)], "selected": True})
    values = {"from": "old.jsonl", "share": 0.5, "probe": 60, **settings}
    kept_out = pl.DataFrame(
        {"row_id": ["verse01", "verse02"], "keep": [False, True], "reason": ["leak_exact", None]}
    )
    artifact = rehearse(
        run,
        stored_rows(store, "prior", [r for r in prior_rows() if r["origin"] in origins]),
        [stored_table(store, "evidence", kept_out)],
        stored_table(store, "ranking", ranking),
        RehearseSettings.model_validate(values),
        LORA,
        None,
    )
    if steps is not None:
        steps += run.executed_steps
    return (
        Table(artifact, "rehearsal").read(),
        Table(artifact, "bins").read(),
        artifact,
    )


def by_origin(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.filter(fate="rehearsed")["origin"].value_counts().iter_rows())


@pytest.mark.parametrize("forgets", ["verse", "sums", "prose"])
def test_forgetting_planted_in_an_origin_is_what_is_rehearsed(store: Store, forgets: str) -> None:
    rows, bins, artifact = rehearsed(store, forgets)
    drawn = by_origin(rows)
    assert sum(drawn.values()) == bins["budget"].sum() == 20
    assert drawn[forgets] >= 17
    rates = bins.with_columns(hurt=pl.col("bin").str.starts_with(forgets))
    assert all(alpha > 0.8 for alpha in rates.filter("hurt")["alpha"])
    assert all(alpha < 0.2 for alpha in rates.filter(~pl.col("hurt"))["alpha"])
    assert artifact.counts["wrong"] == rows["wrong"].sum() > 0


def test_without_damage_bins_give_by_their_rows_alone(store: Store) -> None:
    rows, bins, _ = rehearsed(store)
    assert bins["wrong"].sum() == 0
    assert bins["alpha"].to_list() == pytest.approx((0.5 / (bins["probed"] + 1)).to_list())
    assert set(by_origin(rows)) == set(GROUPS)


def test_rows_that_the_base_gets_wrong_are_neither_probed_nor_drawn(store: Store) -> None:
    wrong = frozenset(range(0, 30, 2))
    rows, bins, _ = rehearsed(store, "sums", wrong)
    numbers = rows.filter(origin="sums").with_columns(
        base_wrong=pl.col("row_id").str.tail(2).cast(pl.Int64).is_in(list(wrong))
    )
    missed = numbers.filter("base_wrong")
    assert not missed["right"].any()
    assert set(missed["fate"]) == {"wrong_before"}
    assert not missed["probed"].any()
    sums = bins.filter(pl.col("bin").str.starts_with("sums"))
    assert (sums["rows"].sum(), sums["right"].sum()) == (30, 15)
    assert by_origin(rows)["sums"] == 15, "all that it has, and the others give the rest"


def test_held_out_and_selected_rows_are_never_drawn_whatever_the_budget(store: Store) -> None:
    for method in ("mix_cd", "random"):
        rows, _, artifact = rehearsed(store, method=method, share=1.0)
        dropped = dict(rows.filter(fate="dropped").select("row_id", "reason").iter_rows())
        assert dropped == {"verse00": "in_selection", "verse01": "leak_exact"}
        assert not rows.filter(fate="dropped")["random"].any()
        assert rows.filter(fate="rehearsed").height == rows["random"].sum() == 40
        assert Table(artifact, "rehearsed").height == Table(artifact, "random").height == 40


def test_as_many_rows_by_chance_are_drawn_where_the_base_gets_fewer_right_than_the_budget(
    store: Store,
) -> None:
    wrong, origins = frozenset(range(20)), ("sums",)
    rows, _, artifact = rehearsed(store, "sums", wrong, share=1.0, origins=origins)
    assert artifact.counts["budget"] == 40
    assert rows.filter(fate="rehearsed").height == rows["random"].sum() == 10
    assert rows.filter("random")["fate"].n_unique() == 2, "from all rows"


def test_the_probe_is_read_by_the_first_fine_tune_of_the_proof(store: Store) -> None:
    rows, bins, _ = rehearsed(store, "verse", probe=9)
    assert rows["probed"].sum() == 9
    assert bins["probed"].to_list() == [1] * 9
    assert rows.filter("probed")["right"].all()
    assert rows.filter("probed")["wrong"].null_count() == 0


def test_random_reads_no_model(store: Store) -> None:
    steps: list[str] = []
    rehearsed(store, method="random", steps=steps)
    assert steps == ["rehearse-allowed", "rehearsal"]


@pytest.mark.parametrize(
    ("reads", "words"),
    [
        (True, "the base gets none of 30 rows right"),
        (False, "reads no response token of 30 rows within prove.lora.max_length of 64 tokens"),
    ],
)
def test_a_base_that_gets_nothing_right_ends_in_words(
    store: Store, reads: bool, words: str
) -> None:
    numbers = frozenset(range(30))
    run = ForgettingRun(store, loss=lambda ids: 1.0, forgets="x", wrong=numbers, reads=reads)
    rows = [one for one in prior_rows() if one["origin"] == "sums"]
    run.rows = stored_rows(store, "pool", [row("p0", turns("a", "b"))])
    ranking = pl.DataFrame({"row_id": ["p0"], "selected": [True]})
    with pytest.raises(UserError, match=words):
        rehearse(
            run,
            stored_rows(store, "prior", rows),
            [],
            stored_table(store, "ranking", ranking),
            RehearseSettings.model_validate({"from": "old.jsonl"}),
            LORA,
            None,
        )
