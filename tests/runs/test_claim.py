"""A run takes no folder but its own: whole recipes, run as a user would."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.pipeline.curation import run_curation
from curate.runs.claim import changed_keys, choose_folder, claimed
from tests.runs.test_publish import names


@pytest.fixture(autouse=True)
def work(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, with a pool."""
    folder = tmp_path / "work"
    folder.mkdir()
    rows = [{"prompt": f"{n} + 1 = ?", "completion": str(n + 1)} for n in range(12)]
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TINY", str(tiny))
    yield folder


def recipe(rows: int = 3, **changes: object) -> Config:
    base = {
        "name": "demo",
        "pool": "pool.jsonl",
        "models": {"base": os.environ["TINY"]},
        "select": {"method": "random", "budget": {"rows": rows}},
        "store": "store",
    }
    return Config.model_validate(base | changes)


@pytest.mark.usefixtures("no_report")
def test_a_run_goes_to_runs_name_and_another_recipe_beside_it() -> None:
    first = run_curation(recipe())
    other = run_curation(recipe(4))
    assert (first.folder, other.folder) == (Path("runs/demo"), Path("runs/demo-2"))
    before = (first.folder / "manifest.json").read_bytes()
    assert run_curation(recipe(4)).folder == Path("runs/demo-2")
    assert (first.folder / "manifest.json").read_bytes() == before
    assert run_curation(recipe()).folder == first.folder
    assert names(Path("runs")) == ["demo", "demo-2"]


@pytest.mark.usefixtures("no_report")
def test_another_recipe_into_a_given_folder_is_refused_unless_it_may_overwrite() -> None:
    run_curation(recipe(), Path("out"))
    with pytest.raises(UserError, match=r"out holds a run of another recipe \(different: select"):
        run_curation(recipe(4), Path("out"))
    assert changed_keys(Path("out"), recipe(4)) == ["select.budget.rows"]
    written = run_curation(recipe(4), Path("out"), overwrite=True).manifest["config"]
    assert written == recipe(4).model_dump(mode="json", exclude={"track"})


@pytest.mark.usefixtures("no_report")
def test_another_store_is_no_other_recipe() -> None:
    run_curation(recipe(), Path("out"))
    assert run_curation(recipe(store="elsewhere"), Path("out")).folder == Path("out")


def test_a_folder_with_anything_but_a_run_is_left_alone() -> None:
    for name, text in (("export/notes.txt", "mine"), ("manifest.json", '{"scripts": []}')):
        folder = Path(name.replace("/", "-"))
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
        with pytest.raises(UserError, match="is not empty and holds no run"):
            run_curation(recipe(), folder, overwrite=True)
        assert (folder / name).read_text() == text
    assert not Path("store").exists(), "work was done before the folder was looked at"


@pytest.mark.parametrize("out", [".", "..", "/", "", "runs/..", "~", "../work"])
def test_a_folder_to_work_in_is_no_run_folder(out: str) -> None:
    with pytest.raises(UserError, match=r"is a folder to work in|is not empty and holds no run"):
        choose_folder(recipe(), Path(out).expanduser(), overwrite=True)


def test_links_and_files_are_no_run_folders() -> None:
    Path("elsewhere").mkdir()
    Path("link").symlink_to("elsewhere")
    with pytest.raises(UserError, match="link is a symbolic link"):
        run_curation(recipe(), Path("link"))
    Path("file").write_text("mine")
    with pytest.raises(UserError, match="file is no folder"):
        run_curation(recipe(), Path("file"))
    assert names(Path("elsewhere")) == []


def test_an_empty_folder_will_do() -> None:
    Path("out").mkdir()
    assert run_curation(recipe(), Path("out")).report.is_file()


def test_two_runs_never_share_a_folder() -> None:
    with claimed(recipe(), Path("out")), pytest.raises(UserError, match="another run"):
        run_curation(recipe(), Path("out"))


def test_a_failed_run_leaves_no_folder() -> None:
    Path("pool.jsonl").write_text("{}\n")
    with pytest.raises(UserError):
        run_curation(recipe())
    assert not Path("runs/demo").exists()


@pytest.mark.parametrize("name", ["übung", "数据", "हिन्दी"])
def test_names_with_any_letter_run_to_the_end(name: str) -> None:
    result = run_curation(recipe(name=name, pool=[{"path": "pool.jsonl", "source": name}]))
    assert result.folder == Path("runs") / name
    assert name in (result.folder / "export" / "README.md").read_text(encoding="utf-8")


def test_the_manifest_lists_every_file_and_tells_how_the_run_was_made() -> None:
    result = run_curation(recipe(), command="curate run demo.yaml")
    paths = (p for p in result.folder.rglob("*") if p.is_file())
    assert (
        sorted(p.relative_to(result.folder).as_posix() for p in paths) == result.manifest["files"]
    )
    run = result.manifest["run"]
    assert run["command"] == "curate run demo.yaml"
    assert run["started"] <= run["ended"]
    assert run["models"] == {"base": os.environ["TINY"], "embedder": "static"}
    page = result.report.read_text()
    assert "curate run demo.yaml" in page
    assert f"{run['started'][:16].replace('T', ' ')} UTC" in page


@pytest.mark.usefixtures("no_report")
def test_steps_of_one_name_have_lines_of_their_own() -> None:
    stages = [{"kind": "fuzzy"}, {"kind": "fuzzy", "threshold": 0.9}]
    lines = {s["stage"]: s for s in run_curation(recipe(stages=stages)).manifest["stages"]}
    assert {"fuzzy", "fuzzy-2", "fuzzy-pairs", "fuzzy-pairs (fuzzy-2)"} <= set(lines)
    assert lines["fuzzy-pairs"]["steps"] == lines["fuzzy-pairs (fuzzy-2)"]["steps"] == 1
