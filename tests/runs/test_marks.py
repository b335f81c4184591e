"""Marks beside a run: saved whole whatever happens, honoured by plans, and by a run of their recipe."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.runlock import locked
from curate.judge.marks import Mark, MarkKind
from curate.pipeline.curation import run_curation
from curate.runs.alternative import planned_alternative
from curate.runs.explain import explain_row
from curate.runs.folder import RunFolder, open_run
from curate.runs.marks import (
    marked_recipe,
    marks_path,
    pending_line,
    pending_marks,
    save_mark,
    saved_marks,
)
from curate.runs.plan import plan_selection
from curate.runs.rethreshold import rethreshold
from tests.commandline import curate

PAIRS = [
    ("Name a colour of the sky at noon.", "Blue, unless clouds are in the way."),
    ("Name a colour of grass in the spring.", "Green, as it is full of chlorophyll."),
    ("What is the sum of two and two?", "It is five, as everybody knows."),
    ("What is the capital of France called?", "x"),
    ("Name a colour of the sky at noon.", "Blue, unless clouds are in the way."),
    ("Write to her, please.", "Her address is jane.doe@mailbox.org, and she answers mail."),
]
STAGES = [
    {"method": "rules", "length": {"response": [2, 400]}},
    {"method": "pii"},
    {"method": "exact"},
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, which each test has a copy of."""
    folder = tmp_path_factory.mktemp("finished")
    lines = [json.dumps({"prompt": p, "completion": c}) for p, c in PAIRS]
    (folder / "pool.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = {
        "name": "marked",
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "web"}],
        "stages": STAGES,
        "select": {"method": "random", "budget": {"rows": 3}},
        "store": str(folder / "store"),
    }
    return run_curation(Config.model_validate(recipe), folder / "run").folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> RunFolder:
    return open_run(Path(shutil.copytree(finished, tmp_path / "run", symlinks=True)))


def row_id(number: int) -> str:
    return f"web/pool.jsonl:{number}"


def mark(run: RunFolder, name: str, kind: MarkKind, response: str | None = None) -> Mark:
    rows = run.rows("pool")
    assert rows is not None
    (text,) = rows.filter(row_id=name).collect()["content_hash"]
    return Mark(name, text, kind, response, note="looked at", at="2026-01-02T03:04:05Z")


def rerun(run: RunFolder, **changes: Any) -> RunFolder:
    recipe = marked_recipe(run).model_copy(update=changes)
    result = run_curation(recipe, run.path, overwrite=True)
    return open_run(result.folder)


def fates(run: RunFolder) -> dict[str, str]:
    lines = run.table("ledger").select("row_id", "fate", "reason").collect().iter_rows()
    return {name: reason if fate == "dropped" else fate for name, fate, reason in lines}


def test_a_saved_mark_is_read_again_and_its_recipe_reads_it(run: RunFolder) -> None:
    save_mark(run, mark(run, row_id(1), "drop"))
    file = save_mark(run, mark(run, row_id(1), "none"))
    assert (len(file.lines), file.marks) == (2, {})
    recipe = yaml.safe_load((run.path / "marks" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["stages"][0] == {"method": "manual", "marks": str(marks_path(run))}
    assert [stage["method"] for stage in recipe["stages"]] == ["manual", "rules", "pii", "exact"]


def test_a_line_that_a_crash_left_half_goes_with_the_next_mark(
    run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    save_mark(run, mark(run, row_id(1), "drop"))
    with marks_path(run).open("ab") as file:
        file.write(b'{"row_id": "web/po')
    assert saved_marks(run).torn == 2
    marks = save_mark(run, mark(run, row_id(2), "drop"))
    assert (marks.torn, len(marks.lines)) == (None, 2)
    assert "broke off" in caplog.text


def test_a_last_line_without_its_end_stays(run: RunFolder) -> None:
    save_mark(run, mark(run, row_id(1), "drop"))
    path = marks_path(run)
    path.write_bytes(path.read_bytes().rstrip())
    assert len(save_mark(run, mark(run, row_id(2), "drop")).lines) == 2


def test_marks_at_the_same_time_are_all_there(run: RunFolder) -> None:
    marks = [mark(run, row_id(1 + i % 5), "drop") for i in range(40)]
    threads = [threading.Thread(target=save_mark, args=(run, one)) for one in marks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(saved_marks(run).lines) == len(marks)


def test_no_marks_begin_while_a_run_is_written_into_the_folder(run: RunFolder) -> None:
    with locked(run.path), pytest.raises(UserError, match=r"another run .*is writing"):
        save_mark(run, mark(run, row_id(1), "drop"))


def test_a_link_out_of_the_run_folder_is_not_followed(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run.path / "marks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="lies outside"):
        save_mark(run, mark(run, row_id(1), "drop"))


@pytest.mark.usefixtures("no_report")
def test_a_run_of_the_recipe_does_what_the_marks_say(run: RunFolder) -> None:
    assert fates(run)[row_id(4)] == "too_short"
    save_mark(run, mark(run, row_id(2), "drop"))
    save_mark(run, mark(run, row_id(3), "correct", "It is four, as everybody knows."))
    save_mark(run, mark(run, row_id(4), "keep"))
    again = rerun(run)
    after = fates(again)
    assert after[row_id(2)] == "marked_by_hand"
    assert after[row_id(3)] == "corrected_by_hand"
    assert after[row_id(4)] in ("selected", "not_selected")
    assert len(after) == len(PAIRS) + 2
    text = "\n".join(explain_row(again, row_id(4)))
    assert "kept, as it is marked by hand; the stage would drop it (too_short)" in text
    assert "it was marked by hand as one to drop (looked at)" in "\n".join(
        explain_row(again, row_id(2))
    )
    assert "Replaced by manual/" in "\n".join(explain_row(again, row_id(3)))


@pytest.mark.usefixtures("no_report")
def test_a_run_into_the_folder_leaves_the_marks_and_says_which_it_has_not_read(
    run: RunFolder, tmp_path: Path
) -> None:
    save_mark(run, mark(run, row_id(2), "drop"))
    assert (
        pending_line(run)
        == f"1 mark by hand is not in this run: curate run {run.path}/marks/recipe.yaml"
    )
    unmarked = run_curation(run.config, run.path)
    assert unmarked.marked == [pending_line(run)]
    again = rerun(run)
    assert len(saved_marks(again).lines) == 1
    assert pending_line(again) is None
    save_mark(again, mark(again, row_id(2), "none"))
    assert [one.kind for one in pending_marks(again).values()] == ["none"]


@pytest.mark.usefixtures("no_report")
def test_further_marks_are_put_behind_those_that_the_recipe_has_read(
    run: RunFolder, tmp_path: Path
) -> None:
    save_mark(run, mark(run, row_id(2), "drop"))
    second = open_run(run_curation(marked_recipe(run), tmp_path / "second").folder)
    assert list(saved_marks(second).marks) == list(saved_marks(run).marks)
    save_mark(second, mark(second, row_id(1), "drop"))
    assert len(saved_marks(second).lines) == 2
    stages = marked_recipe(second).model_dump(mode="json")["stages"]
    assert [s["marks"] for s in stages if s["method"] == "manual"] == [str(marks_path(second))]
    assert [one.row_id for one in pending_marks(second).values()] == [row_id(1)]


@pytest.mark.usefixtures("no_report")
def test_rows_that_stages_made_are_judged_by_a_second_stage(run: RunFolder) -> None:
    (new_id,) = [name for name in fates(run) if not name.startswith("web/")]
    save_mark(run, mark(run, new_id, "drop"))
    recipe = marked_recipe(run)
    assert [stage.method for stage in recipe.stages] == [
        "manual",
        "rules",
        "pii",
        "exact",
        "manual",
    ]
    assert fates(rerun(run))[new_id] == "marked_by_hand"


def test_a_plan_leaves_out_marked_rows_and_says_so(run: RunFolder) -> None:
    before = plan_selection(run, "rows=10")
    assert before.rows == 4
    save_mark(run, mark(run, row_id(1), "drop"))
    save_mark(run, mark(run, row_id(3), "correct", "Four."))
    planned = plan_selection(run, "rows=10")
    assert planned.rows == before.rows - 2
    assert not {row_id(1), row_id(3)} & set(planned.ranking["row_id"])
    assert planned.remarks == [
        "2 rows left out: marked to drop or corrected by hand since the run",
        "1 mark to keep, to correct or taken back needs a run: "
        f"curate run {run.path}/marks/recipe.yaml",
    ]
    recipe = planned_alternative(planned).recipe(run, "other")
    assert recipe.stages[0].method == "manual"


@pytest.mark.usefixtures("no_report")
def test_rethresholding_goes_on_with_the_marks_of_the_run(run: RunFolder) -> None:
    save_mark(run, mark(run, row_id(5), "keep"))
    again = rerun(run)
    exact = again.table("evidence/exact").filter(row_id=row_id(5)).collect()
    assert exact.height == 1
    assert explain_row(again, row_id(5))
    with pytest.raises(UserError, match="has no stored pairs"):
        rethreshold(again, "manual", [])


@pytest.mark.system
def test_from_marks_to_a_run_of_them_on_the_command_line(run: RunFolder, tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        done = curate(*arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    save_mark(run, mark(run, row_id(2), "drop"))
    save_mark(run, mark(run, row_id(4), "keep"))
    assert "1 mark to keep" in said("plan", "run", "--budget", "rows=2")
    assert "manual" in said("check", "run/marks/recipe.yaml")
    said("run", "run/marks/recipe.yaml", "--out", "again")
    assert "marked by hand (looked at)" in said("explain", "again", row_id(2)).replace(
        " as one to drop", ""
    )
    assert "marked by hand" in (tmp_path / "again/report/index.html").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_a_sentence(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_mark(run, mark(run, row_id(1), "drop"))
    before = marks_path(run).read_bytes()

    def refuse(*arguments: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("curate.runs.marks.os.write", refuse)
    with pytest.raises(UserError, match=r"the mark cannot be saved .Read-only file system"):
        save_mark(run, mark(run, row_id(2), "drop"))
    assert marks_path(run).read_bytes() == before
