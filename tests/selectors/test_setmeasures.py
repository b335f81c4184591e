"""Selections as sets beside random draws: by the plain functions, sampled, and told in the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.store import Store
from curate.models.discrepancy import maximum_mean_discrepancy
from curate.models.vendi import vendi_score
from curate.pipeline.curation import run_curation
from curate.selectors.setmeasures import DRAWS, set_measures
from curate.selectors.setmeasures_section import set_blocks
from tests.report.realrun import write_inputs
from tests.report.sections import words_of_block
from tests.selectors.targetruns import embedded, unit_vectors
from tests.selectors.test_coverage import Matrix, ranking


def measured(
    store: Store, vectors: Matrix, target: Matrix, chosen: dict[str, list[int]], seed: int = 0
) -> pl.DataFrame:
    ids = [f"r{i:03}" for i in range(len(vectors))]
    rankings = {
        name: ranking(store, name, ids, [i in rows for i in range(len(ids))])
        for name, rows in chosen.items()
    }
    return set_measures(embedded(store, vectors, target, [7, 30]), rankings, seed)


def test_selections_are_measured_as_by_the_plain_functions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one bandwidth for all sets, so that their distances can be compared."""
    monkeypatch.setattr("curate.selectors.setmeasures.median_distance", lambda vectors: 0.8)
    vectors, target = unit_vectors((60, 6), 0), unit_vectors((8, 6), 1)
    near = [int(i) for i in np.argsort(-(vectors @ target.T).max(axis=1))[:15]]
    table = measured(store, vectors, target, {"own": near, "other": [1, 2, 3]})
    assert table.height == 2 + DRAWS
    assert table["draw"].to_list() == [None, None, *range(DRAWS)]
    assert table["rows"].to_list() == [15, 3, *[15] * DRAWS]
    own, other, *draws = table.to_dicts()
    assert own["vendi"] == pytest.approx(vendi_score(vectors[np.sort(near)]), rel=1e-5)
    assert own["discrepancy"] < min(line["discrepancy"] for line in draws)
    for line, rows in ((own, sorted(near)), (other, [1, 2, 3])):
        plain = maximum_mean_discrepancy(vectors[rows], target, 0.8)
        assert line["discrepancy"] == pytest.approx(plain, abs=1e-6)


def test_draws_follow_from_the_seed_and_are_others_by_another(store: Store) -> None:
    vectors, target = unit_vectors((60, 6), 0), unit_vectors((8, 6), 1)
    tables = [
        measured(store, vectors, target, {"own": [1, 2, 3, 4, 5]}, seed) for seed in (0, 0, 1)
    ]
    assert tables[0].equals(tables[1])
    assert tables[0]["vendi"][0] == tables[2]["vendi"][0]
    assert not tables[0].filter(draw=0)["vendi"].equals(tables[2].filter(draw=0)["vendi"])


def test_large_sets_are_sampled_and_rows_without_a_vector_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.selectors.setmeasures.SAMPLED", 10)
    vectors, target = unit_vectors((60, 6), 0), unit_vectors((8, 6), 1)
    vectors[40:] = 0
    table = measured(store, vectors, target, {"own": list(range(20)), "blank": [50, 51]})
    assert table.filter(name="own")["read"].item() == 10
    blank = table.filter(name="blank")
    assert blank.select("rows", "read", "vendi", "discrepancy").row(0) == (2, 0, None, None)
    assert all(line["read"] <= 10 for line in table.to_dicts())


@pytest.mark.system
@pytest.mark.parametrize(("budget", "is_there"), [(12, True), ({"fraction": 1.0}, False)])
def test_a_report_says_where_the_selection_lies_among_draws(
    tmp_path: Path, budget: object, is_there: bool
) -> None:
    write_inputs(tmp_path)
    config = {
        "name": "sets",
        "pool": str(tmp_path / "pool.jsonl"),
        "target": str(tmp_path / "target.jsonl"),
        "select": {"method": "embed", "budget": budget},
        "compare": ["bm25"] if is_there else [],
        "store": str(tmp_path / "store"),
    }
    result = run_curation(Config.model_validate(config), tmp_path / "run")
    assert ("As a set: like the target, and diverse" in result.report.read_text()) == is_there


class StoredTable:
    """A run of one table."""

    def __init__(self, lines: list[tuple[object, ...]]) -> None:
        columns = ["name", "draw", "rows", "read", "vendi", "discrepancy"]
        self.lines = pl.DataFrame(lines, schema=columns, orient="row")

    def has(self, name: str) -> bool:
        return True

    def table(self, name: str) -> pl.LazyFrame:
        return self.lines.lazy()

    def rows(self, role: str) -> pl.LazyFrame | None:
        return None


@pytest.mark.parametrize(
    ("vendi", "discrepancy", "words"),
    [
        (5.0, 0.01, "of as many rows. It is less diverse than each of them"),
        (25.0, 0.5, "lies as far from the target as 2 random draws do. It is as diverse as random"),
        (35.0, 0.9, "lies farther from the target than each of 2 random draws of as many rows. It is m"),
        (35.0, None, "The selection is more diverse than each of 2 random draws"),
    ],
)  # fmt: skip
def test_sentences_say_where_among_draws(
    vendi: float, discrepancy: float | None, words: str
) -> None:
    run = StoredTable(
        [
            ("own", None, 40, 40, vendi, discrepancy),
            ("random", 0, 40, 40, 20.0, 0.4),
            ("random", 1, 40, 40, 30.0, 0.6),
        ]
    )
    text = " ".join(map(words_of_block, set_blocks(run, "own")))
    assert words in text
    assert "0.400 to 0.600" in text
