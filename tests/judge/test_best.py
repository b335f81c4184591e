"""The best responses to each prompt: against a plain loop, ties, rows without a score, a whole stage."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from curate.core.reasons import Reason
from curate.core.store import Store
from curate.judge.best import keep_best
from tests.conftest import frame, row, stored_rows, turns
from tests.judge.clearruns import EngineRun, judge_stage
from tests.selectors.test_scorer import write_classifier

lines = st.lists(
    st.tuples(st.integers(0, 2), st.none() | st.integers(0, 3), st.booleans()), max_size=12
)


def verdicts_of(rows: list[tuple[int, int | None, bool]]) -> tuple[pl.LazyFrame, pl.DataFrame]:
    ids = [f"r{i:02}" for i in range(len(rows))]
    table = frame([row(i, turns(f"q{p}", i)) for i, (p, _, _) in zip(ids, rows, strict=True)])
    verdicts = pl.DataFrame(
        {
            "row_id": ids,
            "keep": [keep for _, _, keep in rows],
            "reason": [None if keep else "low_grade" for _, _, keep in rows],
            "score": [score for _, score, _ in rows],
            "duplicate_of": [None] * len(rows),
        },
        schema={
            "row_id": pl.String,
            "keep": pl.Boolean,
            "reason": pl.String,
            "score": pl.Float64,
            "duplicate_of": pl.String,
        },
    )
    return table.lazy(), verdicts


@given(lines, st.integers(1, 3))
def test_the_best_of_each_prompt_stay(rows: list[tuple[int, int | None, bool]], best: int) -> None:
    judged = keep_best(*verdicts_of(rows), best)
    for prompt in range(3):
        rated = [
            (-score, i)
            for i, (own, score, keep) in enumerate(rows)
            if own == prompt and keep and score is not None
        ]
        ordered = [i for _, i in sorted(rated)]
        for i in ordered[:best]:
            assert judged.row(i, named=True)["keep"]
        for i in ordered[best:]:
            line = judged.row(i, named=True)
            assert (line["keep"], line["reason"]) == (False, Reason.OUTDONE)
            assert line["duplicate_of"] == f"r{ordered[0]:02}"
    for i, (_, score, keep) in enumerate(rows):
        if score is None or not keep:
            assert judged.row(i, named=True)["keep"] is keep


def test_prompts_are_all_turns_but_the_last() -> None:
    conversations = [turns("a", "b"), turns("a", "c"), turns("a", "b", "a", "d"), turns("a b", "c")]
    table = frame([row(f"r{i}", t) for i, t in enumerate(conversations)])
    _, verdicts = verdicts_of([(0, 4 - i, True) for i in range(4)])
    verdicts = verdicts.with_columns(row_id=table["row_id"])
    assert keep_best(table.lazy(), verdicts, 1)["keep"].to_list() == [True, False, True, True]


def test_the_stage_chooses_among_samples_and_changes_its_mind_for_nothing(
    store: Store, tmp_path: Path
) -> None:
    model = write_classifier(tmp_path / "model", "roberta", num_labels=1)
    texts = ("w1", "w2", "w3")
    rows = stored_rows(
        store, "pool", [row(f"r{i}", turns(f"w{9 + i // 3}", texts[i % 3])) for i in range(6)]
    )
    run = EngineRun(store)
    stage = {"kind": "scorer", "model": str(model), "best": 1}
    verdicts, _ = judge_stage(run, rows, stage)
    evidence = verdicts.read()
    for group in (evidence[:3], evidence[3:]):
        kept = group.filter("keep")
        assert kept.height == 1 and kept["score"][0] == group["score"].max()
    assert verdicts.artifact.counts["dropped"] == {"outdone": 4}
    before = len(run.executed_steps)
    again, _ = judge_stage(run, rows, {**stage, "best": 2})
    assert again.read()["keep"].sum() == 4
    assert run.executed_steps[before:] == ["scorer"]
