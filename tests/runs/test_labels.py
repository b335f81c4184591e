"""Labels beside a run: which rows come, what is written, what it says so far."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.judge.labels import read_labels
from curate.pipeline.curation import run_curation
from curate.runs.folder import RunFolder, open_run
from curate.runs.label_export import export_rows
from curate.runs.label_progress import label_progress
from curate.runs.labels import (
    begin_labelling,
    draw,
    extend_queue,
    labels_path,
    read_queue,
    save_label,
    saved_labels,
    scored_rows,
    skip_rows,
)
from tests.commandline import curate


@pytest.fixture(scope="module")
def unscored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run whose rows no stage has scored; each test has a copy of it."""
    return finished(tmp_path_factory.mktemp("unscored"), [{"method": "exact"}]).path


@pytest.fixture
def run(unscored: Path, tmp_path: Path) -> RunFolder:
    return open_run(Path(shutil.copytree(unscored, tmp_path / "run", symlinks=True)))


def finished(folder: Path, stages: list[dict[str, object]], name: str = "run") -> RunFolder:
    lines = [
        json.dumps({"prompt": f"What is {i} and {i}?", "completion": f"It is {2 * i}."})
        for i in range(60)
    ]
    (folder / "pool.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = {
        "name": name,
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "web"}],
        "models": {"embedder": "static"},
        "stages": stages,
        "store": str(folder / "store"),
    }
    return open_run(run_curation(Config.model_validate(recipe), folder / name).folder)


def with_scores(run: RunFolder) -> RunFolder:
    """Return the run as if its first stage had scored rows: what is read of it is its evidence."""
    path = run.path / "evidence" / "exact.parquet"
    scores = np.linspace(0, 1, 60)
    evidence = pl.read_parquet(path).with_columns(score=pl.Series(scores), threshold=pl.lit(0.25))
    evidence.write_parquet(run.path / "evidence" / "rubric.parquet")
    manifest = json.loads((run.path / "manifest.json").read_text())
    manifest["config"]["stages"] = [{"method": "rubric", "rubric": "x.yaml"}]
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    return open_run(run.path)


def test_without_scores_rows_are_drawn_at_random_and_a_sentence_says_so(run: RunFolder) -> None:
    rows = scored_rows(run)
    assert rows.stage is None
    assert "with a stage `confidence`" in rows.sentence
    assert draw(run, 10)["weight"].to_list() == [1.0] * 10


def test_rows_near_the_threshold_of_a_stage_come_more_often(run: RunFolder) -> None:
    scored = with_scores(run)
    rows = scored_rows(scored)
    assert (rows.stage, rows.threshold) == ("rubric", 0.25)
    assert "near the threshold of the stage rubric" in rows.sentence
    lines = draw(scored, 20).select("score", "weight").rows()
    near = [weight for score, weight in lines if abs(score - 0.25) < 0.1]
    far = [weight for score, weight in lines if abs(score - 0.25) > 0.4]
    assert max(near) < min(far)


def test_a_label_is_written_with_its_weight_and_taken_back(run: RunFolder) -> None:
    first, second, *_ = extend_queue(run, 5)
    save_label(run, first.row_id, correct=True)
    save_label(run, second.row_id, correct=False)
    lines = read_labels(labels_path(run)).select("row_id", "correct", "weight").rows()
    assert lines == [(first.row_id, True, 1.0), (second.row_id, False, 1.0)]
    save_label(run, first.row_id, correct=False)
    assert saved_labels(run).rows()[-1] == (first.row_id, False, 1.0)
    save_label(run, first.row_id, correct=None)
    assert saved_labels(run)["row_id"].to_list() == [second.row_id]


def test_only_rows_of_the_queue_are_labelled_or_skipped(run: RunFolder) -> None:
    extend_queue(run, 5)
    with pytest.raises(UserError, match="is no row that is to be labelled"):
        save_label(run, "web/pool.jsonl:999", correct=True)
    with pytest.raises(UserError, match="is no row that is to be labelled"):
        skip_rows(run, ["web/pool.jsonl:999"], skipped=True)


def test_no_row_is_drawn_twice_until_none_is_left(run: RunFolder) -> None:
    queue = extend_queue(run, 40)
    skip_rows(run, [queue[0].row_id], skipped=True)
    queue = extend_queue(run, 40)
    assert len({row.row_id for row in queue}) == len(queue) == 60
    assert [row.skipped for row in read_queue(run)] == [True] + [False] * 59
    with pytest.raises(UserError, match="every row that can be labelled has a label"):
        extend_queue(run, 1)


def test_labelling_goes_on_with_the_rows_that_wait(run: RunFolder) -> None:
    assert begin_labelling(run, 3).startswith("3 rows to label")
    queue = read_queue(run)
    save_label(run, queue[0].row_id, correct=True)
    assert begin_labelling(run, 3).startswith("2 rows to label")
    assert read_queue(run) == queue


def test_a_damaged_queue_is_named(run: RunFolder) -> None:
    extend_queue(run, 3)
    (run.path / "labels" / "queue.jsonl").write_text("{\n")
    with pytest.raises(UserError, match=r"queue\.jsonl cannot be read"):
        read_queue(run)


def test_the_progress_weighs_labels_and_says_what_is_lacking(run: RunFolder) -> None:
    scored = with_scores(run)
    for i, row in enumerate(extend_queue(scored, 24)):
        save_label(scored, row.row_id, correct=i % 3 > 0)
    progress = label_progress(scored)
    assert (progress.right, progress.wrong, progress.count) == (16, 8, 24)
    assert progress.share is not None
    assert progress.share.low < progress.share.value < progress.share.high
    assert progress.kept is not None
    assert progress.auroc is not None
    assert len(progress.sentences) == 3
    assert progress.lacking == "The stage confidence needs 2 more rows labelled wrong."
    assert str(labels_path(scored)) in progress.line


def test_without_labels_nothing_is_said(run: RunFolder) -> None:
    progress = label_progress(run)
    assert (progress.count, progress.sentences) == (0, [])


def test_rows_for_another_tool_are_a_file_of_labels_once_it_is_filled_in(
    run: RunFolder, tmp_path: Path
) -> None:
    target = tmp_path / "out" / "rows.jsonl"
    assert export_rows(run, 6, target) == 6
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert set(lines[0]) == {"row_id", "correct", "weight", "score", "prompt", "response"}
    assert read_labels(target).height == 0
    target.write_text("\n".join(json.dumps({**line, "correct": True}) for line in lines))
    assert read_labels(target)["weight"].to_list() == [1.0] * 6
    assert not (run.path / "labels").exists()
    with pytest.raises(UserError, match="is there already"):
        export_rows(run, 6, target)


@pytest.mark.system
def test_the_command_writes_rows_and_says_what_to_do(run: RunFolder, tmp_path: Path) -> None:
    done = curate("label", "run", "--out", "rows.jsonl", "--count", "4", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 rows are written to rows.jsonl: fill in `correct`" in done.stdout
    assert "{method: confidence, labels: {path: rows.jsonl}}" in done.stdout


def test_draws_at_the_same_time_wait_for_one_another(run: RunFolder) -> None:
    threads = [threading.Thread(target=extend_queue, args=(run, 5)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({row.row_id for row in read_queue(run)}) == 30
