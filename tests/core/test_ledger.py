"""The ledger: every row has exactly one fate, and a stage that miscounts is caught."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import CachedCall, Table
from curate.core.ledger import evidence_of, kept_rows, ledger, stage_call, stage_inputs
from curate.core.methods import METHODS, find_method, method
from curate.core.rows import SCHEMA
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Store
from curate.selectors.random import RandomSelector
from curate.selectors.random import scores as random_scores
from curate.selectors.selection import SelectionResult, select_by
from tests.conftest import (
    Computed,
    RowsRun,
    StoreRun,
    examples,
    frame,
    row,
    stored_rows,
    stored_table,
    turns,
)

LONG = "a prompt of more than eight words that the eval set holds as well"
EVAL = [row("e0", turns(LONG, "x"))]
KINDS = st.sampled_from(["new", "copy", "leak", "other copy"])


def pool(kinds: list[str]) -> list[dict[str, object]]:
    """Return rows whose text is new, copied from an earlier row, or an eval prompt."""
    texts = {"copy": "same", "other copy": "other", "leak": LONG}
    return [row(f"r{i}", turns(texts.get(k, f"new {i}"), f"a{k}")) for i, k in enumerate(kinds)]


def call_of(
    kind: str,
    rows: Table,
    evidence: dict[str, Table] | None = None,
    examples: dict[str, Table] | None = None,
    name: str = "",
) -> CachedCall[Artifact]:
    before = evidence or {}
    stage = find_method(Stage, kind).model_validate({"method": kind})
    data = stage_inputs(rows, before, examples or {}, stage.uses)
    prepared = stage.prepare(StoreRun(Store(rows.artifact.path.parent)), data)
    return stage_call(name or kind, stage, data, list(before), prepared)


@dataclass
class SelectRun(RowsRun):
    """What a selection reads of a run."""


def select_run(store: Store, rows: Table, kept: Table) -> SelectRun:
    run = SelectRun(store)
    ids = kept.read(["row_id"])
    run.rows, run.kept = rows, kept
    run.tokens = stored_table(store, "tokens", ids.with_columns(tokens=5))
    return run


def run(
    store: Store, kinds: list[str], budget: int, stages: tuple[str, ...] = ("exact", "leaks")
) -> tuple[dict[str, Table], SelectionResult, Table]:
    """Run stages, a random selection and the ledger; return evidence, selection and ledger."""
    rows = stored_rows(store, "pool", pool(kinds))
    examples = {"eval": stored_rows(store, "eval", EVAL)}
    runner = StoreRun(store)
    evidence: dict[str, Table] = {}
    for kind in stages:
        evidence[kind] = evidence_of(runner.result(call_of(kind, rows, evidence, examples)))
    kept = kept_rows(runner, rows, list(evidence.values()))
    params = RandomSelector.model_validate({"budget": {"rows": budget}})
    selecting = select_run(store, rows, kept)
    selection = select_by(selecting, params, runner(random_scores, kept))
    return evidence, selection, ledger(runner, rows, evidence, selection.ranking)


@examples(0.4)
@given(st.lists(KINDS, max_size=12), st.integers(1, 6))
def test_every_row_has_one_fate_and_counts_add_up(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], budget: int
) -> None:
    kinds = ["new", *kinds]
    store = Store(tmp_path_factory.getbasetemp() / "ledger")
    evidence, selection, table = run(store, kinds, budget)
    fates = table.read()
    assert fates["row_id"].to_list() == [f"r{i}" for i in range(len(kinds))]
    seen: set[str] = set()
    expected = []
    for kind in kinds:
        copied = kind != "new" and kind in seen
        seen.add(kind)
        fate = "exact_duplicate" if copied else "leak_exact" if kind == "leak" else None
        expected.append(fate)
    drops = fates.filter(fate="dropped").select("row_id", "reason")
    assert dict(drops.iter_rows()) == {f"r{i}": f for i, f in enumerate(expected) if f}
    free = expected.count(None)
    counts = Counter(fates["fate"])
    assert counts == table.artifact.counts["fates"]
    assert counts["selected"] == min(budget, free)
    assert counts["not_selected"] == free - min(budget, free)
    assert sum(counts.values()) == len(kinds) == table.artifact.counts["rows_in"]
    chosen = pl.read_parquet(selection.selection.file("selected.parquet"))["row_id"].to_list()
    assert fates.filter(fate="selected").sort("rank")["row_id"].to_list() == chosen
    passed = len(kinds)
    for verdicts in evidence.values():
        judged = verdicts.artifact.counts
        assert judged["rows_in"] == passed
        assert judged["rows_out"] + sum(judged["dropped"].values()) == passed
        passed = judged["rows_out"]
    assert passed == free


def test_each_fate_says_which_stage_why_and_beside_whom(store: Store) -> None:
    _, _, table = run(store, ["copy", "copy", "leak", "new"], 1)
    lines = table.read().to_dicts()
    named = ("fate", "stage", "reason", "score", "threshold", "duplicate_of", "rank")
    assert [lines[1][n] for n in named] == [
        "dropped", "exact", "exact_duplicate", 1.0, 1.0, "r0", None,
    ]  # fmt: skip
    assert [lines[2][n] for n in named] == [
        "dropped", "leaks", "leak_exact", 1.0, 0.5, "e0", None,
    ]  # fmt: skip
    assert sorted(
        (line["fate"], line["stage"], line["reason"], line["rank"]) for line in (lines[0], lines[3])
    ) == [
        ("not_selected", "select", "beyond_budget", 2),
        ("selected", "select", "within_budget", 1),
    ]


def test_a_stage_sees_only_what_earlier_stages_kept(store: Store) -> None:
    evidence, _, _ = run(store, ["leak", "leak", "new"], 1)
    judged = evidence["leaks"].read()["row_id"].to_list()
    assert judged == ["r0", "r2"]


def test_without_stages_every_row_is_ranked(store: Store) -> None:
    _, _, table = run(store, ["copy", "copy", "leak"], 2, stages=())
    assert table.artifact.counts["fates"] == {"selected": 2, "not_selected": 1}


def test_kept_rows_carry_their_position_in_the_pool(store: Store) -> None:
    rows = stored_rows(store, "pool", pool(["copy", "copy", "new", "leak", "leak", "new"]))
    runner = StoreRun(store)
    kept = kept_rows(runner, rows, [evidence_of(runner.result(call_of("exact", rows)))])
    assert list(kept.read().iter_rows()) == [
        ("r0", 0), ("r2", 2), ("r3", 3), ("r5", 5),
    ]  # fmt: skip
    assert kept.artifact.counts == {"rows_in": 6, "rows_out": 4}


def test_a_stage_depends_on_the_example_sets_that_it_names_only(store: Store) -> None:
    rows = stored_rows(store, "pool", pool(["new"]))
    one, two = stored_rows(store, "eval", EVAL), stored_rows(store, "eval", pool(["copy"]))

    def key(kind: str, examples: Table) -> str:
        return call_of(kind, rows, examples={"eval": examples}).key

    assert key("exact", one) == key("exact", two)
    assert key("leaks", one) != key("leaks", two)


# --- stages that break the contract -------------------------------------------------------------

Bend = Callable[[pl.DataFrame], pl.DataFrame | pl.LazyFrame]


@pytest.fixture
def bend(store: Store) -> Iterator[Callable[[Bend], Artifact]]:
    """Run a stage that keeps all rows, after something was done to its verdicts."""

    def run_bent(change: Bend) -> Artifact:
        @method
        class BentStage(Stage):
            """A stage of this test only."""

            method: Literal["bent"] = "bent"

            def decide(self, data: StageData) -> StageResult:
                return StageResult(change(keeping_all(data)))

        rows = stored_rows(store, "pool", pool(["new"] * 4))
        return store.ensure(call_of("bent", rows))

    yield run_bent
    METHODS["stage"].pop("bent", None)


def keeping_all(data: StageData) -> pl.DataFrame:
    """Return verdicts that keep every row."""
    return data.rows.select(
        "row_id",
        keep=pl.lit(True),
        reason=pl.lit(None, dtype=pl.String),
        score=pl.lit(0.0),
        threshold=pl.lit(0.5),
        duplicate_of=pl.lit(None, dtype=pl.String),
    ).collect()


def drop(reason: str | None) -> Bend:
    first = pl.col("row_id") == "r0"
    return lambda e: e.with_columns(
        keep=~first, reason=pl.when(first).then(pl.lit(reason, dtype=pl.String))
    )


def test_a_stage_that_keeps_all_or_drops_for_a_known_reason_passes(
    bend: Callable[[Bend], Artifact],
) -> None:
    assert bend(lambda e: e).counts == {"rows_in": 4, "rows_out": 4, "dropped": {}}
    METHODS["stage"].pop("bent")


def test_the_order_of_verdicts_is_free(bend: Callable[[Bend], Artifact]) -> None:
    assert bend(lambda e: e.reverse()).counts["rows_in"] == 4


def test_verdicts_that_are_computed_while_they_are_written_are_those_of_a_frame(
    bend: Callable[[Bend], Artifact],
) -> None:
    change = drop("exact_duplicate")
    first = bend(change)
    METHODS["stage"].pop("bent")
    shutil.rmtree(first.path)
    lazy = bend(lambda e: change(e).lazy())
    assert lazy.counts == {"rows_in": 4, "rows_out": 3, "dropped": {"exact_duplicate": 1}}
    assert (lazy.digest, lazy.counts) == (first.digest, first.counts)


def test_lazy_verdicts_that_miscount_are_caught(bend: Callable[[Bend], Artifact]) -> None:
    with pytest.raises(AssertionError, match="read 4 rows and judged 3 of them in 3 lines"):
        bend(lambda e: e.lazy().head(3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e.head(3), "read 4 rows and judged 3 of them in 3 lines"),
        (lambda e: e.head(0), "read 4 rows and judged 0 of them in 0 lines"),
        (lambda e: pl.concat([e, e.head(1)]), "read 4 rows and judged 4 of them in 5 lines"),
        (lambda e: pl.concat([e.head(3), e.head(1)]), "judged 3 of them in 4 lines"),
        (lambda e: e.with_columns(row_id=pl.col("row_id") + "x"), "read 4 rows and judged 4"),
        (drop("because"), "reasons that curate.core.reasons does not list: {'because'}"),
        (drop(None), "reasons that curate.core.reasons does not list: {None}"),
        (lambda e: e.with_columns(keep=pl.lit(None, dtype=pl.Boolean)), "keep|verdict"),
    ],
    ids=["forgets", "all", "twice", "instead", "invents", "reason", "none", "neither"],
)
def test_a_stage_that_miscounts_or_gives_no_known_reason_is_caught(
    bend: Callable[[Bend], Artifact], change: Bend, said: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        bend(change)
    assert any(part in str(caught.value) for part in said.split("|"))


def test_a_selection_that_forgets_or_repeats_a_row_is_caught(store: Store) -> None:
    rows = stored_rows(store, "pool", pool(["new"] * 3))
    whole = pl.DataFrame(
        {"row_id": ["r0", "r1", "r2"], "rank": [1, 2, 3], "selected": [True, False, False],
         "reason": ["within_budget"] + ["beyond_budget"] * 2, "score": [0.0] * 3}
    )  # fmt: skip
    for ranking in (whole.head(2), pl.concat([whole, whole.head(1)])):
        with pytest.raises(AssertionError, match="do not add up to the 3 rows"):
            ledger(StoreRun(store), rows, {}, stored_table(store, "ranking", ranking))


def test_a_row_that_was_dropped_and_ranked_is_caught(store: Store) -> None:
    rows = stored_rows(store, "pool", pool(["copy", "copy"]))
    evidence = {"exact": evidence_of(store.ensure(call_of("exact", rows)))}
    ranking = pl.DataFrame(
        {
            "row_id": ["r0", "r1"],
            "rank": [1, 2],
            "selected": [True, True],
            "score": [0.0, 0.0],
            "reason": ["within_budget"] * 2,
        }
    )
    with pytest.raises(AssertionError, match="do not add up to the 2 rows"):
        ledger(StoreRun(store), rows, evidence, stored_table(store, "ranking", ranking))


def test_more_than_ten_stages_keep_their_order(store: Store) -> None:
    """Evidence is named by number; the names must sort as the numbers do."""
    rows = stored_rows(store, "pool", pool(["copy", "copy", "leak", "new"]))
    examples = {"eval": stored_rows(store, "eval", EVAL)}
    evidence: dict[str, Table] = {}
    for number in range(12):
        kind = "leaks" if number == 11 else "exact"
        call = call_of(kind, rows, evidence, examples, name=f"{kind}-{number}")
        evidence[f"{kind}-{number}"] = evidence_of(store.ensure(call))
    ranking = pl.DataFrame(
        {
            "row_id": ["r0", "r3"],
            "rank": [1, 2],
            "selected": [True, True],
            "score": [0.0, 0.0],
            "reason": ["within_budget"] * 2,
        }
    )
    table = ledger(StoreRun(store), rows, evidence, stored_table(store, "ranking", ranking))
    assert table.read()["stage"].to_list() == ["select", "exact-0", "leaks-11", "select"]


WORKER = """
import pickle, sys
from pathlib import Path
from curate.core.store import Store
step = pickle.loads(Path(sys.argv[1]).read_bytes())
print(Store(Path(sys.argv[2])).ensure(step).counts["rows_out"])
"""


@pytest.mark.system
@pytest.mark.parametrize("name", ["stage", "select"])
def test_a_step_runs_in_a_process_that_has_imported_nothing_else(
    store: Store, tmp_path: Path, name: str
) -> None:
    """As on a Dask or Ray worker: methods must register themselves there as well."""
    rows = stored_rows(store, "pool", pool(["copy", "copy", "new"]))
    if name == "stage":
        call: Any = call_of("exact", rows)
    else:
        kept = kept_rows(StoreRun(store), rows, [])
        run = select_run(store, rows, kept)
        params = RandomSelector.model_validate({"budget": {"rows": 2}})
        select_by(run, params, run(random_scores, kept))
        call = run.calls[-1]
        shutil.rmtree(store.path_of(call))
    (tmp_path / "step").write_bytes(pickle.dumps(call))
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path / "step"), str(store.root)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout == "2\n", done.stderr


# --- rows in batches ----------------------------------------------------------------------------


def grouped_rows(store: Store, count: int, group: int) -> Table:
    """Rows whose ids do not sort as they do, in row groups of this size."""
    rows = [
        row(f"r{(7 * i) % 101:03}", turns(f"q{i}", "a"), source=f"s{i % 3}") for i in range(count)
    ]

    def write(out: Path) -> dict[str, Any]:
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        pq.write_table(table, out / "rows.parquet", row_group_size=group)
        return {"rows_in": count, "rows_out": count}

    return Table(store.ensure(Computed("grouped", write, {"count": count, "group": group})), "rows")


def after(store: Store, rows: Table, masks: list[list[bool]]) -> StageInputs:
    """The inputs of a stage after others that judged what was left, and dropped some of it."""
    left = rows.read(["row_id"])
    evidence = []
    for mask in masks:
        verdicts = left.with_columns(keep=pl.Series(mask[: left.height], dtype=pl.Boolean))
        # Verdicts may stand in any order.
        evidence.append(stored_table(store, "evidence", verdicts.reverse()))
        left = verdicts.filter("keep").select("row_id")
    return StageInputs(rows, tuple(evidence))


MASK = st.lists(st.sampled_from([True, True, True, False]), min_size=30, max_size=30)


@examples(0.5)
@given(
    st.integers(0, 30),
    st.integers(1, 12),
    st.lists(MASK, max_size=3),
    st.integers(1, 14),
    st.data(),
)
def test_batches_are_the_survivors_cut_to_the_range(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    group: int,
    masks: list[list[bool]],
    size: int,
    data: st.DataObject,
) -> None:
    store = Store(tmp_path_factory.getbasetemp() / "batches")
    stage_data = after(store, grouped_rows(store, count, group), masks)
    left = list(range(count))
    for mask in masks:
        left = [place for place, keep in zip(left, mask, strict=False) if keep]
    assert stage_data.survivor_mask().tolist() == [place in left for place in range(count)]
    whole = stage_data.survivors().select("row_id", "messages").collect()
    assert whole["row_id"].to_list() == [f"r{(7 * place) % 101:03}" for place in left]

    start = data.draw(st.integers(0, count + 2))
    stop = data.draw(st.integers(-1, count + 2))
    end = count if stop < 0 else stop
    batches = list(stage_data.survivor_batches(["row_id", "messages"], size, start, stop))
    assert all(0 < batch.height <= size for batch in batches)
    assert all(batch.columns == ["row_id", "messages", "position"] for batch in batches)
    inside = [place for place in left if start <= place < end]
    assert [place for batch in batches for place in batch["position"]] == inside
    expected = whole.filter(pl.Series([place in inside for place in left], dtype=pl.Boolean))
    if batches:
        assert pl.concat(batches).drop("position").equals(expected)
    else:
        assert not inside


def test_shards_that_meet_hold_every_survivor_once(store: Store) -> None:
    inputs = after(store, grouped_rows(store, 30, 7), [[i % 3 > 0 for i in range(30)]])
    for width in (1, 4, 7, 10, 30, 50):
        positions = [
            place
            for start in range(0, 30, width)
            for batch in inputs.survivor_batches(["row_id"], 5, start, start + width)
            for place in batch["position"]
        ]
        assert positions == [i for i in range(30) if i % 3]


def test_batches_of_an_empty_range_and_of_an_empty_pool_are_none(store: Store) -> None:
    inputs = after(store, grouped_rows(store, 9, 4), [])
    for start, stop in ((0, 0), (4, 4), (9, -1), (9, 20), (6, 3)):
        assert list(inputs.survivor_batches(["row_id"], 5, start, stop)) == []
    empty = after(store, grouped_rows(store, 0, 4), [])
    assert list(empty.survivor_batches(["row_id"], 5)) == []
    assert empty.survivor_mask().tolist() == []


def test_only_the_columns_asked_for_are_read(store: Store) -> None:
    inputs = after(store, grouped_rows(store, 5, 2), [[True, False, True, True, True]])
    (one, two, three) = inputs.survivor_batches(["source"], 10)
    assert [b.rows() for b in (one, two, three)] == [
        [("s0", 0)],
        [("s2", 2), ("s0", 3)],
        [("s1", 4)],
    ]
    assert one.schema == {"source": pl.String, "position": pl.Int64}


def test_prepared_artifacts_are_given_to_the_stage_and_enter_its_key(store: Store) -> None:
    seen: list[Any] = []

    try:

        @method
        class RecorderStage(Stage):
            """A stage that notes what it is given."""

            method: Literal["recorder"] = "recorder"

            def decide(self, data: StageData) -> StageResult:
                seen.append({name: table.read().rows() for name, table in data.prepared.items()})
                seen.append(list(data.evidence))
                return StageResult(keeping_all(data))

        rows = stored_rows(store, "pool", pool(["new"] * 3))
        before = {"exact": evidence_of(store.ensure(call_of("exact", rows)))}
        data = stage_inputs(rows, before, {}, ())
        one, two = (stored_table(store, "pairs", pl.DataFrame({"x": [n]})) for n in (1, 2))
        steps = [
            stage_call("recorder", RecorderStage(), data, ["exact"], {"pairs": pairs})
            for pairs in (one, two)
        ]
        assert steps[0].key != steps[1].key
        store.ensure(steps[0])
        assert seen == [{"pairs": [(1,)]}, ["exact"]]
    finally:
        METHODS["stage"].pop("recorder", None)


def test_an_empty_frame_has_the_schema_of_rows() -> None:
    assert frame([]).columns == frame(pool(["new"])).columns
