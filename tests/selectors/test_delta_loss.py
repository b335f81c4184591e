"""Delta loss: the difference of two plain passes, and drawn rows placed among the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from curate.core.store import Store
from curate.models.load import load_causal, load_tokenizer
from curate.models.lora import set_adapters
from curate.models.warmup import draw_rows, load_adapted, read_checkpoint, warm_up
from curate.selectors.delta_loss import expected_gains
from curate.selectors.gain import NOTHING_READ
from curate.selectors.less import Warmup
from tests.conftest import turns
from tests.selectors.lossruns import ModelRun, plain_row, ranked, scored

WARMUP: Any = {
    "epochs": 2, "rank": 2, "alpha": 8, "learning_rate": 1e-2, "batch_rows": 8, "fraction": 0.3,
}  # fmt: skip
SETTINGS: Any = {"warmup": WARMUP, "max_length": 96}
POOL = [turns(f"What is {i} plus one?", f"It is {i + 1}, as I said.") for i in range(20)]


@pytest.fixture
def run(store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> ModelRun:
    monkeypatch.setattr("curate.models.warmup.FEWEST_ROWS", 6)
    return ModelRun(store, folder=tiny, texts=POOL)


def plain_gains(run: ModelRun, positions: list[int]) -> list[float]:
    """Return the falls of the rows' mean losses to the warm-up's last checkpoint, by plain passes."""
    warmup = warm_up(run, Warmup(**WARMUP).model_dump(mode="json"), 96)
    tokenizer, base = load_tokenizer(run.folder), load_causal(run.folder, "float32").eval()
    tuned = load_adapted(warmup, run.base)
    set_adapters(tuned, read_checkpoint(warmup, 1).weight)
    rows = [
        [plain_row(model, tokenizer, run.texts[i]) for model in (base, tuned)] for i in positions
    ]
    return [(b["response_sum"] - t["response_sum"]) / b["response_tokens"] for b, t in rows]


def test_gains_are_the_differences_of_two_plain_passes(run: ModelRun) -> None:
    table = scored(run, "delta_loss", **SETTINGS, prior_tokens=0)
    own = set(draw_rows(table["row_id"], 0.3, run.seed))
    assert set(table.filter("drawn")["row_id"]) == own
    assert len(own) == 6
    gains = plain_gains(run, list(range(20)))
    others = [gain for gain, i in zip(gains, range(20), strict=True) if f"r{i:03}" not in own]
    scores = table["score"].to_numpy()
    drawn = table["drawn"].to_numpy()
    np.testing.assert_allclose(scores[~drawn], others, atol=1e-4)
    assert np.ptp(others) > 1e-3
    # The drawn keep their order, and lie among the others.
    raw = np.array(gains)[drawn]
    assert np.argsort(scores[drawn]).tolist() == np.argsort(raw).tolist()
    assert min(others) < scores[drawn].min()
    assert scores[drawn].max() < max(others)


def test_less_and_delta_loss_tune_once(run: ModelRun, store: Store, tiny: Path) -> None:
    both = ModelRun(store, folder=tiny, texts=POOL, targets=POOL[:2])
    scored(both, "less", **SETTINGS)
    scored(both, "delta_loss", **SETTINGS)
    assert both.executed_steps.count("less-warmup") == 1
    assert both.executed_steps[-4:] == ["less-adapter", "losses", "losses", "score-delta_loss"]


def test_a_row_whose_response_is_cut_off_comes_last_with_a_reason(
    run: ModelRun, store: Store, tiny: Path
) -> None:
    other = ModelRun(store, folder=tiny, texts=[turns("why? " * 40, "aeiou"), *POOL])
    table = scored(other, "delta_loss", **SETTINGS)
    assert table.select("score", "reason").row(0) == (None, NOTHING_READ)
    assert ranked(table, "delta_loss")[-1] == "r000"


def losses(gains: NDArray[np.float64], drawn: list[bool]) -> pl.DataFrame:
    ids = [f"r{i:02}" for i in range(len(gains))]
    frame = pl.DataFrame({"row_id": ids, "base_loss": gains, "drawn": drawn})
    return frame.with_columns(tuned_loss=pl.lit(0.0), response_tokens=pl.lit(10))


def test_the_worked_example() -> None:
    table = losses(np.array([5.0, 1, 9, 2, 3]), [True, False, True, False, False])
    assert expected_gains(table, 0).to_list() == [1.5, 1.0, 2.5, 2.0, 3.0]
    assert ranked(table, "delta_loss", prior_tokens=0) == ["r04", "r02", "r03", "r00", "r01"]


def test_where_all_rows_were_drawn_their_own_gains_stand() -> None:
    table = losses(np.array([5.0, 1.0]), [True, True])
    assert expected_gains(table, 0).to_list() == [5.0, 1.0]


@given(
    gains=arrays.arrays(float, st.integers(2, 30), elements=st.floats(-4, 4, width=16)),
    data=st.data(),
    shift=st.floats(-3, 3, width=16),
)
def test_what_tuning_on_a_row_added_to_all_drawn_alike_changes_nothing(
    gains: NDArray[np.float64], data: st.DataObject, shift: float
) -> None:
    drawn = data.draw(st.lists(st.booleans(), min_size=len(gains), max_size=len(gains)))
    if all(drawn):
        return
    mask = np.array(drawn)
    plain = expected_gains(losses(gains, drawn), 0).to_numpy()
    moved = expected_gains(losses(gains + np.where(mask, shift, 0), drawn), 0).to_numpy()
    np.testing.assert_allclose(moved, plain)
    np.testing.assert_array_equal(plain[~mask], gains[~mask])
