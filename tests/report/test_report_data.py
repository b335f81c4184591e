from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from curate.core.errors import UserError
from curate.core.runrecord import SelectionRecord
from curate.core.score_section import ScoreDistribution, score_distribution, target_attraction
from curate.core.section import Figure
from curate.report.data import gather
from curate.report.examples import MOST_ROWS, RowView
from curate.report.selection import selection_sections
from curate.report.texts import RowText
from curate.runs.folder import open_run
from tests.report.sections import blocks_of, words_of_block

MakeRun = Callable[..., Path]


def marked(text: RowText) -> list[str]:
    return [s.text for part in (text.prompt, text.response) for s in part.segments if s.marked]


def text_of(row: RowView) -> RowText:
    assert row.text is not None
    return row.text


def test_the_funnel_adds_up_from_records_to_the_selection(make_run: MakeRun) -> None:
    funnel = gather(make_run()).funnel
    assert funnel.records == 63
    assert [step.stage for step in funnel.steps] == ["pool", "exact", "leaks", "select"]
    assert funnel.steps[0].left == (("bad_json", 2), ("empty_prompt", 1))
    remaining = funnel.records
    for step in funnel.steps:
        remaining -= step.removed
        assert step.remaining == remaining
    assert (funnel.rows, funnel.kept, funnel.selected) == (60, 52, 10)


def test_a_stage_that_drops_nothing_stays_in_the_funnel(make_run: MakeRun) -> None:
    funnel = gather(make_run(duplicates=0, leaks=0, rejects=())).funnel
    assert [step.removed for step in funnel.steps] == [0, 0, 0, 50]


def test_tables_that_contradict_the_manifest_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    rejects = pl.read_parquet(run / "rejects.parquet")
    rejects.head(1).write_parquet(run / "rejects.parquet")
    with pytest.raises(ValueError, match="63 records by the manifest, 61 by the ledger"):
        gather(run)


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        gather(tmp_path)


def test_shares_of_sources_and_origins_add_up_to_one(make_run: MakeRun) -> None:
    mix = gather(make_run(origin=lambda i: f"task{i % 23}")).mix
    assert mix.others is not None
    for lines in (mix.sources, mix.origins, (*mix.charted, mix.others)):
        assert sum(line.pool for line in lines) == 60
        assert sum(line.selected for line in lines) == 10
        assert sum(line.pool_share for line in lines) == pytest.approx(1)
        assert sum(line.selected_share for line in lines) == pytest.approx(1)
    first = mix.origins[0]
    assert first.ratio == pytest.approx((first.selected / 10) / (first.pool / 60))


def test_the_list_of_origins_is_capped_and_their_number_told(make_run: MakeRun) -> None:
    mix = gather(make_run(rows=450, origin=lambda i: f"task{i}")).mix
    assert (len(mix.origins), mix.origin_count, len(mix.charted)) == (200, 450, 15)


def test_rows_without_an_origin_are_counted(make_run: MakeRun) -> None:
    mix = gather(make_run(origin=lambda i: None if i % 2 else "x", source=lambda i: "s")).mix
    assert {line.origin: line.pool for line in mix.origins} == {None: 30, "x": 30}


def scores_of(run: Path) -> ScoreDistribution:
    scores = score_distribution(open_run(run).table("evidence/select"))
    assert scores is not None
    return scores


def test_bins_hold_every_scored_row_once(make_run: MakeRun) -> None:
    scores = scores_of(make_run())
    assert sum(selected for _, _, selected, _ in scores.bins) == scores.selected == 10
    assert sum(others for _, _, _, others in scores.bins) == scores.not_selected == 42
    assert all(one[1] == pytest.approx(next_one[0]) for one, next_one in pairwise(scores.bins))


def test_the_cut_is_the_lowest_selected_score(make_run: MakeRun) -> None:
    run = make_run()
    scores = scores_of(run)
    assert scores.cut == pytest.approx(0.9 - 0.09 - 0.05)
    assert scores.passed_over == 4
    (section,) = selection_sections(open_run(run))
    assert "4 rows scored higher and were not selected" in words_of_block(section)
    assert "take turns (round robin)" in words_of_block(section)


def test_equal_scores_make_a_histogram(make_run: MakeRun) -> None:
    run = make_run()
    path = run / "evidence" / "select.parquet"
    same = pl.read_parquet(path).with_columns(score=pl.lit(0.5, dtype=pl.Float32))
    same.write_parquet(path)
    assert sum(selected + others for _, _, selected, others in scores_of(run).bins) == 52


def test_attraction_counts_each_selected_row_once_and_names_the_thinnest(make_run: MakeRun) -> None:
    attraction = target_attraction(SelectionRecord(open_run(make_run()), "RDS+"))
    assert attraction["rows"].sum() == 10
    assert attraction.row(0)[:2] == ("target/t:3", 0)
    assert attraction.filter(rows=0).height == 1
    # No row names it as nearest, and yet the fourth row is as similar to it as 0.9 - 0.03.
    assert attraction["best"][0] == pytest.approx(0.87)


def test_a_random_draw_has_neither_scores_nor_attraction(make_run: MakeRun) -> None:
    run = make_run(method="random")
    report = gather(run)
    assert score_distribution(open_run(run).table("evidence/select")) is None
    (section,) = report.selection_sections
    assert not blocks_of(section, Figure)
    assert all(row.score is None and row.nearest is None for row in report.examples.best)


def test_best_and_just_missed_rows_follow_the_ranks(make_run: MakeRun) -> None:
    examples = gather(make_run()).examples
    assert [row.rank for row in examples.best] == list(range(1, 11))
    assert [row.rank for row in examples.missed] == list(range(11, 11 + MOST_ROWS))
    assert examples.best[0].row.origin == "task0"
    assert text_of(examples.best[0].row).prompt.segments[0].text == "Question number 0?"
    assert examples.best[0].nearest is not None
    assert text_of(examples.best[0].nearest).prompt.segments[0].text == "Target 0?"


def test_dropped_rows_are_spread_over_reasons_and_bring_their_twin(make_run: MakeRun) -> None:
    groups = gather(make_run(rows=100, duplicates=40)).examples.drops
    assert [(g.stage, g.reason, g.count, len(g.drops)) for g in groups] == [
        ("exact", "exact_duplicate", 40, 18),
        ("leaks", "leak_ngram", 2, 2),
    ]
    assert all(drop.duplicate_of and drop.duplicate_of.place == "pool" for drop in groups[0].drops)
    assert all(drop.duplicate_of and drop.duplicate_of.place == "eval" for drop in groups[1].drops)


def test_words_shared_with_an_eval_prompt_are_marked_on_both_sides(make_run: MakeRun) -> None:
    leak = gather(make_run()).examples.drops[1].drops[0]
    assert leak.duplicate_of is not None
    assert marked(text_of(leak.row)) == ["How many ducks does Janet have -- on her farm, today"]
    assert marked(text_of(leak.duplicate_of)) == [
        "How many ducks does Janet have on her farm today"
    ]


def test_rejects_show_every_reason(make_run: MakeRun) -> None:
    examples = gather(make_run(rejects=("bad_json",) * 50 + ("bad_utf8",))).examples
    assert len(examples.rejects) == MOST_ROWS
    assert {reject.reason for reject in examples.rejects} == {"bad_json", "bad_utf8"}
    assert examples.reject_count == 51


def test_a_lost_store_leaves_ids_and_the_texts_of_the_selection(make_run: MakeRun) -> None:
    run = make_run()
    shutil.rmtree(run.parent / "store")
    examples = gather(run).examples
    assert examples.lost == ("pool", "target", "eval")
    assert examples.best[0].row.text is not None
    assert examples.missed[0].row.text is None
    assert examples.missed[0].row.origin == "task0"


def test_a_refused_proof_has_leaks_and_no_comparisons(make_run: MakeRun) -> None:
    proof = gather(make_run(verdict="refused", leaking=True)).proof
    assert proof is not None
    assert (proof.verdict, proof.comparisons, proof.arms) == ("refused", (), ())
    assert proof.leaking == {"arm": 1, "target": 0}
    assert proof.leaks[0].coverage == 1


def test_a_run_without_a_proof_has_none(make_run: MakeRun) -> None:
    assert gather(make_run(verdict=None)).proof is None


def test_costs_tell_what_was_made_and_what_was_reused(make_run: MakeRun) -> None:
    costs = gather(make_run()).costs
    assert [(cost.computed, cost.reused) for cost in costs] == [
        (2, 0),
        (1, 1),
        (0, 2),
        (2, 0),
        (1, 1),
    ]
    assert sum(cost.share for cost in costs) == pytest.approx(1)


def test_a_run_that_took_no_time_has_costs(make_run: MakeRun) -> None:
    run = make_run()
    manifest = json.loads((run / "manifest.json").read_text())
    for stage in manifest["stages"]:
        stage["seconds"] = 0.0
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert {cost.share for cost in gather(run).costs} == {0.0}
