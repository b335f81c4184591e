"""What the report tells of duplicates and leaks, counted a second time in plain Python."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import curate.clean.duplicate_figures as duplicate_figures_module
from curate.clean.duplicate_figures import (
    ThresholdCurve,
    border_pairs,
    conflicts_of,
    duplicate_figures,
    threshold_curve,
)
from curate.clean.duplicates_section import points_with_own
from curate.clean.leaks_section import eval_sets, leaked_targets, warned_rows
from curate.core.numerals import similarity
from curate.core.runrecord import StageRecord
from curate.core.section import Item, RowPart
from curate.report.build import write_report
from curate.report.data import Report, gather
from curate.runs.folder import open_run
from tests.report.realrun import (
    FUZZY,
    LEAKS,
    dedup,
    finish,
    read_texts,
    shared_recipe,
    write_inputs,
)
from tests.report.sections import blocks_of, record_of, section_of, words_of_block
from tests.report.test_report_page import HOSTILE, check_markup, page_of, words_of

MakeRun = Callable[..., Path]
SECTION = 'id="stage-fuzzy"'


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A run with all stages of deduplication and the check for leaks."""
    folder = tmp_path_factory.mktemp("real")
    write_inputs(folder)
    stages = [
        {"kind": "exact", "conflicts": True, "fold": ["space"]},
        FUZZY,
        {"kind": "semantic", "floor": 0.5},
        LEAKS,
    ]
    return finish(shared_recipe(folder, tiny, stages), folder / "run")


@pytest.fixture(scope="module")
def report(real: Path) -> Report:
    return gather(real)


@pytest.fixture(scope="module")
def words_of_real(real: Path) -> str:
    return words_of(real)


def record(run: Path, stage: str) -> StageRecord:
    return record_of(open_run(run), stage)


def curve_in(run: Path, stage: str) -> ThresholdCurve:
    curve = threshold_curve(record(run, stage))
    assert curve is not None
    return curve


def copy_of(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy"


def test_stages_come_in_their_order(report: Report) -> None:
    keys = [section.key for section in report.stage_sections]
    assert keys == ["exact", "fuzzy", "semantic", "leaks"]


def test_exact_duplicates_are_those_with_equal_words(real: Path) -> None:
    texts = read_texts(real, "exact")
    groups = Counter(" ".join(" | ".join(pair).split()) for pair in texts.values())
    figures = duplicate_figures(record(real, "exact"))
    assert figures.read == len(texts)
    assert figures.dropped == len(texts) - len(groups) == 5
    assert figures.clusters == sum(n > 1 for n in groups.values()) == 2
    assert [c.size for c in figures.largest] == [5, 2]
    assert [len(c.duplicates) for c in figures.largest] == [3, 1]
    assert "At the border" not in words_of_block(section_of(real, "exact"))


def test_near_duplicates_agree_with_going_through_all_pairs(real: Path) -> None:
    texts = read_texts(real, "fuzzy")
    dropped, _ = dedup(texts, 0.6)
    sizes = Counter(twin for twin, _ in dropped.values())
    fuzzy = duplicate_figures(record(real, "fuzzy"))
    assert (fuzzy.read, fuzzy.limit) == (len(texts), 0.6)
    assert fuzzy.dropped == len(dropped) > 10
    assert fuzzy.clusters == len(sizes)
    largest = sorted((n + 1 for n in sizes.values()), reverse=True)
    assert [cluster.size for cluster in fuzzy.largest] == largest[:5]
    for cluster in fuzzy.largest:
        assert all(dropped[pair.row_id][0] == cluster.survivor_id for pair in cluster.duplicates)
        assert len(cluster.duplicates) == min(3, cluster.size - 1)


def test_the_border_shows_the_closest_decisions(real: Path) -> None:
    dropped, nearest = dedup(read_texts(real, "fuzzy"), 0.6)
    border = border_pairs(record(real, "fuzzy"))
    above = [pair for pair in border if not pair.kept]
    below = [pair for pair in border if pair.kept]
    lowest = sorted(value for _, value in dropped.values())[:3]
    highest = sorted((value for _, value in nearest.values()), reverse=True)[:3]
    assert [pair.similarity for pair in above] == pytest.approx(lowest[::-1])
    assert [pair.similarity for pair in below] == pytest.approx(highest)
    assert highest[0] > 0.3
    for pair in border:
        expected = (dropped if not pair.kept else nearest)[pair.row_id]
        assert pair.nearest_id == expected[0]
        assert pair.similarity == pytest.approx(expected[1])


def test_the_curve_is_what_each_threshold_would_drop(real: Path) -> None:
    texts = read_texts(real, "fuzzy")
    curve = curve_in(real, "fuzzy")
    assert len(curve.thresholds) == 41
    assert (curve.thresholds[0], curve.thresholds[-1]) == (0.3, 1.0)
    for at, count in curve.table_points:
        assert count == len(dedup(texts, at)[0]), at
    assert len(curve.table_points) == 9
    assert curve.near(0.6) == pytest.approx(0.65)
    assert curve.near(1.0) == 1.0
    figures = duplicate_figures(record(real, "fuzzy"))
    points = points_with_own(curve, figures)
    assert [point for point in points if point not in curve.table_points] == [
        (0.6, figures.dropped)
    ]
    assert len(points) == 10


def test_many_pairs_make_fewer_points(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicate_figures_module, "PASSED_PAIRS", 0)
    curve = curve_in(real, "fuzzy")
    assert curve.thresholds == (0.3, 0.475, 0.65, 0.825, 1.0)
    assert [at for at, _ in curve.table_points] == list(curve.thresholds)


def test_conflicts_are_prompts_with_several_answers(real: Path) -> None:
    answers = defaultdict(set)
    for prompt, answer in read_texts(real, "exact").values():
        answers[" ".join(prompt.split())].add(answer)
    several = {prompt: texts for prompt, texts in answers.items() if len(texts) > 1}
    conflicts = conflicts_of(record(real, "exact"))
    assert conflicts is not None
    assert (
        (conflicts.prompts, conflicts.rows)
        == (len(several), sum(map(len, several.values())))
        == (12, 36)
    )
    assert len(conflicts.largest) == 10
    rows = read_texts(real, "exact")
    for conflict in conflicts.largest:
        prompts, responses = zip(*(rows[row_id] for row_id in conflict.row_ids), strict=True)
        (prompt,) = {" ".join(text.split()) for text in prompts}
        assert conflict.answers == 3
        assert set(responses) == several[prompt]


def test_figures_of_eval_sets_are_those_that_were_planted(real: Path) -> None:
    check = record(real, "leaks")
    planted = [("eval", 30, 3, 3), ("guarded", 100, 1, 1)]
    sets = eval_sets(check)
    assert [(s.source, s.examples, s.leaked, s.rows) for s in sets] == planted
    assert [s.contaminated for s in sets] == [True, False]
    assert "4 of " in words_of_block(section_of(real, "leaks"))
    targets = leaked_targets(check)
    assert targets["eval_id"].to_list() == ["eval/eval.jsonl:8"]


def test_warnings_show_the_most_similar_rows_once(real: Path) -> None:
    warnings = warned_rows(record(real, "leaks"))
    table = pl.read_parquet(real / "evidence" / "leaks-warnings.parquet")
    assert warnings.height == table["row_id"].n_unique() > 10
    items = [item for item in blocks_of(section_of(real, "leaks"), Item) if item.value]
    best = table.group_by("row_id").agg(pl.col("similarity").max())["similarity"]
    highest = best.sort(descending=True).head(10)
    assert [item.value for item in items] == [similarity(value, fixed=True) for value in highest]
    assert len({row_id for row_id in warnings["row_id"].head(10)}) == 10
    examples = [part for item in items for part in blocks_of(item, RowPart)[1:]]
    assert all(part.row_id.split("/")[0] in ("eval", "guarded") for part in examples)


def test_shared_words_are_marked_in_rows_and_in_examples_of_protected_sets(report: Report) -> None:
    groups = [g for g in report.examples.drops if g.stage == "leaks"]
    drops = {d.duplicate_of.row_id: d for g in groups for d in g.drops if d.duplicate_of}
    leak = drops["guarded/protected.jsonl:1"]
    assert leak.duplicate_of is not None
    for row in (leak.row, leak.duplicate_of):
        assert row.text is not None
        marked = [s.text for s in row.text.prompt.segments if s.marked]
        assert len(marked[0].split()) == 20
    assert leak.row.text is not None
    assert leak.row.text.prompt.segments[0].text.isupper()


def test_the_page_tells_all_of_it(words_of_real: str) -> None:
    words = words_of_real
    for phrase in (
        "Exact duplicates exact",
        "whole rows, by the word (or, by script, character) 5-grams that they share",
        "At the border",
        "curate rethreshold RUN fuzzy --set threshold=0.65",
        "12 prompts repeat with different answers, in 36 rows",
        "1 target example holds an eval prompt.",
        "contaminated 10.0",
        "Rows that resemble an eval example",
    ):
        assert phrase in words
    assert re.search(r"similarity 0\.\d+, limit 0\.6", words)


@pytest.mark.system
def test_hostile_texts_stay_text(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, taint=f" {HOSTILE} \x1b[31m\u202e", rows=12)
    stages = [
        {"kind": "exact", "conflicts": True, "fold": ["space"]},
        FUZZY,
        {"kind": "semantic", "floor": 0.5},
        LEAKS,
    ]
    run = finish(shared_recipe(tmp_path, tiny, stages), tmp_path / "run")
    page = page_of(run)
    check_markup(page)
    text = "".join(page.texts)
    assert "alert(1)" in text
    assert "\\x1b[31m\\u202e" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "49" not in page.texts


@pytest.mark.system
def test_long_texts_do_not_make_a_large_page(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, taint=" 長い文", rows=12, times=100)
    stages = [
        {"kind": "exact", "conflicts": True, "fold": ["space"]},
        FUZZY,
        {"kind": "semantic", "floor": 0.5},
        LEAKS,
    ]
    run = finish(shared_recipe(tmp_path, tiny, stages), tmp_path / "run")
    assert write_report(run).stat().st_size < 1_000_000


def test_only_equal_rows_make_no_curve(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, rows=8)
    fuzzy = {"kind": "fuzzy", "threshold": 1, "floor": 1}
    run = finish(shared_recipe(tmp_path, tiny, [fuzzy]), tmp_path / "run")
    assert "rethreshold" not in words_of(run)
    assert "At the border" in words_of(run)


TABLES = {
    "exact-conflicts": "One prompt, several answers",
    "fuzzy-pairs": "rethreshold RUN fuzzy --set",
    "semantic-pairs": "rethreshold RUN semantic --set",
    "leaks-sets": "contaminated",
    "leaks-warnings": "Rows that resemble an eval example",
    "leaks-target": "target example holds an eval prompt",
    "exact": "whole rows, but for white space",
    "fuzzy": "whole rows, by the word",
    "semantic": "Duplicates in meaning semantic What was compared",
    "leaks": "rows held an eval prompt",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_takes_its_part_and_no_more(
    real: Path, words_of_real: str, tmp_path: Path, table: str
) -> None:
    assert TABLES[table] in words_of_real
    run = copy_of(real, tmp_path)
    (run / "evidence" / f"{table}.parquet").unlink()
    words = words_of(run)
    assert TABLES[table] not in words
    # Without the verdicts of a stage, those of later ones cannot be judged anew.
    gone = {table} | {name for name in TABLES if name.startswith(f"{table}-")}
    later = {"fuzzy-pairs", "semantic-pairs"} if table in ("exact", "fuzzy", "semantic") else set()
    for other in set(TABLES) - gone - later:
        assert TABLES[other] in words, other


def test_tables_with_other_columns_are_left_out(real: Path, tmp_path: Path) -> None:
    run = copy_of(real, tmp_path)
    for name in ("sets", "warnings", "target"):
        path = run / "evidence" / f"leaks-{name}.parquet"
        pl.DataFrame({"row_id": ["x"], "eval_id": ["y"]}).write_parquet(path)
    check = record(run, "leaks")
    assert eval_sets(check) == ()
    assert (warned_rows(check).height, leaked_targets(check).height) == (0, 0)


def test_a_lost_store_leaves_figures_and_ids(real: Path, tmp_path: Path) -> None:
    run = copy_of(real, tmp_path)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "store": str(tmp_path / "gone")}))
    assert threshold_curve(record(run, "fuzzy")) is None
    assert duplicate_figures(record(run, "fuzzy")) == duplicate_figures(record(real, "fuzzy"))
    assert "Its text is no longer in the store." in words_of(run)


def test_a_recipe_of_another_version_has_no_curve(real: Path, tmp_path: Path) -> None:
    run = copy_of(real, tmp_path)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["no_longer_known"] = 1
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert threshold_curve(record(run, "fuzzy")) is None
    assert SECTION in write_report(run).read_text()


def test_a_run_without_these_stages_has_no_section(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, rows=8)
    run = finish(shared_recipe(tmp_path, tiny, []), tmp_path / "run")
    text = write_report(run).read_text(encoding="utf-8")
    assert SECTION not in text
    assert "#stage-" not in text


def test_rows_taken_back_to_reach_a_number_are_told(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path)
    run = finish(shared_recipe(tmp_path, tiny, [{**FUZZY, "rows": 120}]), tmp_path / "run")
    figures = duplicate_figures(record(run, "fuzzy"))
    assert figures.read - figures.dropped == 120
    assert "to keep 120 rows" in words_of(run)
    points = points_with_own(curve_in(run, "fuzzy"), figures)
    assert (figures.limit, figures.dropped) in points


@pytest.mark.parametrize("keep", ["earliest", "longest"])
def test_a_copy_stands_for_the_kept_row_on_both_sides(
    tmp_path: Path, tiny: Path, keep: str
) -> None:
    """Pairs are stored for the first of equal rows, but a policy may keep another of them."""
    words = " ".join(f"w{i}" for i in range(24))
    near = words.replace("w3 ", "x3 ")
    rows = [words, words + " !", near, near + " ?", "Something else that nobody has asked for."]
    write_inputs(tmp_path, rows=4)
    lines = [json.dumps({"prompt": text, "completion": "A."}) for text in rows]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    fuzzy = {**FUZZY, "threshold": 0.9, "keep": keep}
    run = finish(shared_recipe(tmp_path, tiny, [fuzzy]), tmp_path / "run")
    border = border_pairs(record(run, "fuzzy"))
    below = [pair for pair in border if pair.kept]
    row_numbers = {"earliest": {"3", "1"}, "longest": {"4", "2"}}[keep]
    assert len(below) == 1
    assert {one.split(":")[1] for one in (below[0].row_id, below[0].nearest_id)} == row_numbers


def test_the_kept_row_that_is_shown_is_the_nearest_one(tmp_path: Path, tiny: Path) -> None:
    words = [f"w{i}" for i in range(24)]
    far, near = [*words[:20], "a", "b", "c", "d"], [*words[:22], "e", "f"]
    texts = [" ".join(one) for one in (far, near, words)]
    write_inputs(tmp_path, rows=4)
    lines = [json.dumps({"prompt": text, "completion": "A."}) for text in texts]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    run = finish(shared_recipe(tmp_path, tiny, [{**FUZZY, "threshold": 0.95}]), tmp_path / "run")
    pairs = {p.row_id[-1]: p.nearest_id[-1] for p in border_pairs(record(run, "fuzzy"))}
    assert pairs == {"2": "1", "3": "2"}


def test_a_pair_of_kept_rows_is_shown_once(real: Path, tmp_path: Path) -> None:
    """Both rows of a pair can have it as their highest: then it stands for both of them."""
    run = copy_of(real, tmp_path)
    evidence = run / "evidence"
    schema = pl.read_parquet(evidence / "fuzzy.parquet").schema
    scores = {"a": 0.59, "b": 0.59, "c": 0.5, "d": 0.5, "e": 0.4, "f": 0.0}
    verdicts = [(row_id, True, None, score, 0.6, None) for row_id, score in scores.items()]
    pl.DataFrame(verdicts, schema=schema, orient="row").write_parquet(evidence / "fuzzy.parquet")
    pairs = [("a", "b", 0.59, False), ("d", "c", 0.5, False), ("e", "f", 0.4, False)]
    schema = pl.read_parquet(evidence / "fuzzy-pairs.parquet").schema
    pl.DataFrame(pairs, schema=schema, orient="row").write_parquet(evidence / "fuzzy-pairs.parquet")
    border = border_pairs(record(run, "fuzzy"))
    assert [(p.row_id, p.nearest_id) for p in border] == [
        ("a", "b"),
        ("c", "d"),
        ("e", "f"),
    ]
