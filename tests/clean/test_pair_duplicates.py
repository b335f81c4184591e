"""Duplicates among preference pairs: what two of them must share, and a pair beside a plain row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.clean.exact import ExactStage
from curate.core.stage import StageData, StageResult
from curate.core.store import Artifact, Store
from tests.conftest import StoreRun, examples, frame, row, run_stage, stored_rows, turns

# Prompt, chosen answer, rejected answer; None for a row that is no pair.
Pair = tuple[str, str, str | None]
QUESTION = "How was the eastern wall of the harbour rebuilt after the great storm of that winter?"
ANSWER = (
    "The masons rebuilt it in granite, which they brought in by barge from the quarries up the coast, "
    "and the work went on until the summer after the storm had carried the old wall away."
)
WORSE = (
    "Nobody ever rebuilt any of it, since the town had no money left once the wool trade had gone, and "
    "so the basin filled with sand until the last boats moved to the next harbour down the coast."
)
OTHER = (
    "I am sorry, but I can only talk about recipes for bread, cakes and other things to bake at home "
    "on a quiet day, so please ask me for one of these in place of what you just asked."
)
KINDS = pytest.mark.parametrize("kind", ["fuzzy", "semantic"])


def pair_rows(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    return [
        row(f"r{i}", turns(prompt, chosen), rejected=worse and turns("", worse)[1:])
        for i, (prompt, chosen, worse) in enumerate(pairs)
    ]


def exact(pairs: Sequence[Pair], **params: Any) -> StageResult:
    rows = frame(pair_rows(pairs)).lazy()
    return ExactStage.model_validate(params).decide(StageData(rows))


def duplicates(verdicts: pl.DataFrame) -> dict[str, str]:
    return dict(verdicts.filter(~pl.col("keep")).select("row_id", "duplicate_of").iter_rows())


def dropped(pairs: Sequence[Pair], **params: Any) -> dict[str, str]:
    return duplicates(exact(pairs, **params).frame)


def expected(pairs: Sequence[Pair], compare: str) -> dict[str, str]:
    """Return what a dictionary says: the first of equal pairs stays, a plain row goes for a pair."""

    def key(pair: Pair) -> tuple[str, ...]:
        return {"example": pair[:2], "prompt": pair[:1], "response": pair[1:2]}[compare]

    verdicts = {}
    for i, pair in enumerate(pairs):
        alike = [k for k, other in enumerate(pairs) if key(other) == key(pair)]
        full = [k for k in alike if pairs[k][2] is not None]
        if compare == "prompt":
            first = (full or alike)[0]
        elif pair[2] is None:
            # Of a row without a rejected answer nothing else is compared.
            first = (full or alike)[0]
        else:
            first = next(k for k in full if pairs[k][2] == pair[2])
        if first != i:
            verdicts[f"r{i}"] = f"r{first}"
    return verdicts


@examples(0.5)
@given(
    st.lists(
        st.tuples(st.sampled_from("pq"), st.sampled_from("ab"), st.sampled_from([None, "x", "y "])),
        max_size=12,
    ),
    st.sampled_from(["example", "prompt", "response"]),
    st.sampled_from([["ends"], ["space"], ["case", "ends"]]),
)
def test_equal_pairs_agree_with_a_dictionary(
    pairs: list[Pair], compare: str, fold: list[str]
) -> None:
    assert dropped(pairs, compare=compare, fold=fold) == expected(pairs, compare)


def test_pairs_with_other_rejected_answers_are_no_duplicates() -> None:
    assert dropped([("p", "a", "x"), ("p", "a", "y"), ("p", "a", "x\n")]) == {"r2": "r0"}


@pytest.mark.parametrize("keep", ["earliest", "longest", {"sources": ["test"]}])
def test_a_pair_stays_for_a_plain_row_whatever_the_policy(keep: Any) -> None:
    pairs: list[Pair] = [("p", "a", None), ("p", "a", "x"), ("p", "a", None), ("p", "a", "y")]
    assert dropped(pairs, keep=keep) == {"r0": "r1", "r2": "r1"}


def test_conflicts_are_about_chosen_answers() -> None:
    result = exact(
        [("p", "a", "x"), ("p", "a", "y"), ("q", "a", "x"), ("q", "b", "x")], conflicts=True
    )
    lines = result.tables["conflicts"].lazy().collect().rows()
    assert lines == [("r2", None, 2), ("r3", "r2", 2)]


def test_pairs_that_contradict_each_other_are_listed_and_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pairs: list[Pair] = [
        ("p", "a", "b"), ("p", "b", "a "), ("q", "b", "a"), ("p", "b", "c"), ("p", "c", "c"),
        ("p", "a", "b"), ("p", "a", None)
    ]  # fmt: skip
    result = exact(pairs)
    assert duplicates(result.frame) == {"r5": "r0", "r6": "r0"}
    assert result.tables["contradictions"].lazy().collect().rows() == [("r0", "r1"), ("r4", "r4")]
    assert "exact: preference pairs that reject what they" in caplog.text


def test_rows_without_pairs_have_no_table_of_contradictions() -> None:
    assert exact([("p", "a", None), ("p", "a", None)]).tables == {}


def test_rows_of_old_runs_have_no_rejected_answers() -> None:
    rows = frame(pair_rows([("p", "a", None), ("p", "a", None)])).drop("rejected")
    verdicts = ExactStage(method="exact").decide(StageData(rows.lazy())).frame
    assert duplicates(verdicts) == {"r1": "r0"}


def judge(store: Store, pairs: Sequence[Pair], **params: Any) -> Artifact:
    return run_stage(StoreRun(store), params, stored_rows(store, "pool", pair_rows(pairs)), {})


def near_duplicates(store: Store, pairs: Sequence[Pair], **params: Any) -> dict[str, str]:
    return duplicates(pl.read_parquet(judge(store, pairs, **params).file("evidence.parquet")))


def differing(store: Store, kind: str) -> list[tuple[str, str, str]]:
    [folder] = store.root.glob(f"{kind}-pairs-*")
    table = pl.read_parquet(folder / "differing.parquet")
    return sorted(table.select("row_id", "other_id", "differs").iter_rows())


@KINDS
@pytest.mark.parametrize("compare", ["example", "response"])
def test_rejected_answers_are_compared_as_chosen_ones_are(
    store: Store, kind: str, compare: str
) -> None:
    near = WORSE.replace("last boats", "last ships")
    pairs = [(QUESTION, ANSWER, worse) for worse in (WORSE, OTHER, near, WORSE)]
    assert near_duplicates(store, pairs, kind=kind, compare=compare) == {"r2": "r0", "r3": "r0"}
    # The third and fourth row stand for the first.
    assert ("r0", "r1", "rejected") in differing(store, kind)


@KINDS
def test_rejected_answers_with_other_numbers_are_other_answers(store: Store, kind: str) -> None:
    pairs = [(QUESTION, ANSWER, f"{WORSE} That was in {year}.") for year in (1704, 1712)]
    assert near_duplicates(store, pairs, kind=kind) == {}
    assert differing(store, kind) == [("r0", "r1", "rejected")]


@KINDS
def test_texts_alone_do_not_leave_out_rejected_answers(store: Store, kind: str) -> None:
    alone = {"system": False, "numbers": False, "responses": False}
    pairs = [(QUESTION, ANSWER, WORSE), (QUESTION, ANSWER, OTHER)]
    assert near_duplicates(store, pairs, kind=kind, **alone) == {}


@KINDS
def test_prompts_alone_leave_out_both_answers(store: Store, kind: str) -> None:
    pairs: list[Pair] = [
        (QUESTION, "Yes.", "No."),
        (QUESTION, ANSWER, WORSE),
        (QUESTION, "No.", None),
    ]
    assert near_duplicates(store, pairs, kind=kind, compare="prompt") == {"r1": "r0", "r2": "r0"}


@KINDS
def test_a_plain_row_goes_for_a_pair_and_joins_no_pairs(store: Store, kind: str) -> None:
    near = ANSWER.replace("barge", "boat")
    rows = [(QUESTION, near, None), (QUESTION, ANSWER, WORSE), (QUESTION, ANSWER, None),
            (QUESTION, ANSWER, OTHER)]  # fmt: skip
    drops = near_duplicates(store, rows, kind=kind)
    assert drops.keys() == {"r0", "r2"}
    assert {*drops.values()} <= {"r1", "r3"}


@KINDS
def test_rows_without_pairs_are_stored_under_the_keys_of_before(store: Store, kind: str) -> None:
    run = StoreRun(store)
    rows = pair_rows([(QUESTION, ANSWER, None), (QUESTION, WORSE, None)])
    run_stage(run, {"kind": kind}, stored_rows(store, "pool", rows), {})
    [call] = [call for call in run.calls if call.name == f"{kind}-pairs"]
    assert call.params["guards"] == ["system", "numbers", "responses"]


def test_every_kind_of_pair_has_its_contradiction() -> None:
    pairs: list[Pair] = [("p", chosen, worse) for chosen, worse in product("abc", repeat=2)]
    table = exact(pairs).tables["contradictions"].lazy().collect()
    names = {f"r{i}": answers for i, (_, *answers) in enumerate(pairs)}
    swapped = {(one, other) for one, other in table.iter_rows()}
    assert swapped == {
        (one, other)
        for (one, first), (other, second) in product(names.items(), repeat=2)
        if one <= other and first == second[::-1]
    }
