"""What difference a proof could show is told before it, by the draws of the last proof of its kind."""

from pathlib import Path

import polars as pl

from curate.core.calls import StoreRunner
from curate.core.store import Store
from curate.estimate.proof import _power, _setting
from curate.proof.spread import write_spread
from tests.conftest import row, small_proof, stored_rows, stored_table, turns

AFTERWARDS = "what difference can be shown is told after the random draws"


def test_the_spread_of_the_last_proof_is_quoted_for_its_metric_alone(
    tmp_path: Path, tiny: Path
) -> None:
    config = small_proof(tmp_path, tiny)
    store = Store(tmp_path / "store")
    eval_rows = stored_rows(store, "eval", [row(i, turns("Hm?", "y")) for i in ("a", "b")])
    results = {
        f"random_rows/{number}": stored_table(
            store,
            "results",
            pl.DataFrame(
                {"eval_id": ["a", "b"], "loss": [loss, loss + 0.1], "response_tokens": [3, 3]}
            ),
        )
        for number, loss in enumerate((0.5, 0.6, 0.7))
    }
    assert _power(config, eval_rows, 1) == AFTERWARDS
    run = StoreRunner(store)
    run(write_spread, results, eval_rows, "loss", 0.05, _setting(config))
    assert _power(config, eval_rows, 1).startswith("last time 3 random draws had a spread of 0.1")
    other = small_proof(tmp_path, tiny, metric="gold_margin")
    assert _power(other, eval_rows, 1) == AFTERWARDS
