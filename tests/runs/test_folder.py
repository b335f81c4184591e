"""A run folder that someone sent: it is read, and nothing outside of it and its store is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import polars as pl
import pytest

from curate.config.loading import load_config
from curate.core.errors import UserError
from curate.pipeline.curation import run_curation
from curate.report.build import write_report
from curate.runs.explain import explain_row
from curate.runs.folder import listed_files, open_run
from curate.runs.plan import plan_selection
from curate.runs.rethreshold import rethreshold

RECIPE = """
name: sent
pool: {{path: {root}/pool.jsonl, source: pool}}
models: {{base: {model}}}
stages: [{{kind: fuzzy}}]
select: {{method: random, budget: {{rows: 2}}}}
store: {root}/store
"""
READERS: dict[str, Callable[[Path], object]] = {
    "explain": lambda run: explain_row(open_run(run), "pool/pool.jsonl:1"),
    "plan": lambda run: plan_selection(open_run(run), None, ["filter=fuzzy.keep AND source = 'pool'"]),
    "rethreshold": lambda run: rethreshold(open_run(run), "fuzzy", []),
    "report": write_report,
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """The folder of a run, of its store and its pool, which tests copy."""
    folder = tmp_path_factory.mktemp("finished")
    rows = [{"prompt": f"What is {i}?", "completion": f"It is {i}."} for i in range(4)]
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "recipe.yaml").write_text(RECIPE.format(root=folder, model=tiny))
    run_curation(load_config(folder / "recipe.yaml"), folder / "run")
    return folder


@pytest.fixture
def sent(tmp_path: Path, finished: Path) -> Path:
    """A run whose manifest names the store beside it."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(str(finished), str(tmp_path)))
    return tmp_path / "run"


def change(run: Path, edit: Callable[[dict[str, object]], object]) -> None:
    manifest = orjson.loads((run / "manifest.json").read_bytes())
    edit(manifest)
    (run / "manifest.json").write_bytes(orjson.dumps(manifest))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["../../secret", "{root}/secret", "pool/../../secret"])
def test_rows_outside_of_the_store_are_not_read(sent: Path, reader: str, name: str) -> None:
    secret = sent.parent / "secret"
    secret.mkdir()
    pl.DataFrame({"row_id": ["pool/pool.jsonl:1"], "secret": ["xyz"]}).write_parquet(
        secret / "rows.parquet"
    )
    place = name.format(root=sent.parent)
    change(sent, lambda manifest: manifest.update(artifacts={"pool": place}))
    with pytest.raises(UserError, match="lies outside of"):
        READERS[reader](sent)


@pytest.mark.parametrize("reader", READERS)
def test_a_name_that_no_file_can_have_is_one_sentence(sent: Path, reader: str) -> None:
    change(sent, lambda manifest: manifest.update(artifacts={"pool": "é" * 128}))
    with pytest.raises(UserError, match="no file has a name of more than 255 bytes"):
        READERS[reader](sent)


def test_a_listed_file_whose_name_no_file_can_have_is_none_of_the_run(sent: Path) -> None:
    before = listed_files(sent)
    change(sent, lambda manifest: manifest["files"].append("x" * 256))  # type: ignore[attr-defined]
    assert listed_files(sent) == before
    with pytest.raises(UserError, match="no file has a name of more than 255 bytes"):
        open_run(sent).has("x" * 256)


def test_tables_outside_of_the_run_are_not_read(sent: Path) -> None:
    pl.DataFrame({"row_id": ["pool/pool.jsonl:1"], "keep": [True]}).write_parquet(
        sent.parent / "x.parquet"
    )
    stage = {"stage": "../../x", "rows_in": 4, "rows_out": 4, "dropped": 0}
    change(sent, lambda manifest: manifest["stages"].append(stage))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="lies outside of"):
        READERS["explain"](sent)


@pytest.mark.parametrize("reader", READERS)
def test_links_out_of_the_run_are_not_followed(sent: Path, reader: str) -> None:
    (sent / "evidence").rename(sent.parent / "elsewhere")
    (sent / "evidence").symlink_to(sent.parent / "elsewhere")
    with pytest.raises(UserError, match="lies outside of"):
        READERS[reader](sent)


def test_a_report_is_not_written_through_a_link(sent: Path) -> None:
    (sent.parent / "home").mkdir()
    for file in (sent / "report").iterdir():
        file.unlink()
    (sent / "report").rmdir()
    (sent / "report").symlink_to(sent.parent / "home")
    with pytest.raises(UserError, match="lies outside of"):
        write_report(sent)
    assert not list((sent.parent / "home").iterdir())


@pytest.mark.parametrize("reader", ["plan", "rethreshold", "explain"])
def test_conditions_of_a_sent_run_open_nothing(sent: Path, reader: str) -> None:
    def edit(manifest: dict[str, object]) -> None:
        manifest["config"]["select"]["filter"] = "read_csv('/etc/passwd') = 1"  # type: ignore[index]

    change(sent, edit)
    with pytest.raises(UserError, match="the function 'read_csv' is not read"):
        READERS[reader](sent)


def test_a_run_folder_behind_a_link_is_read(sent: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(sent)
    for read in READERS.values():
        read(tmp_path / "link")
