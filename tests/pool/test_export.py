"""The export: what a trainer reads is the selection, row for row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from curate.config.recipe import Config
from curate.core.calls import CachedCall, Table
from curate.core.errors import UserError
from curate.core.methods import METHODS, method
from curate.core.store import Artifact, Store
from curate.core.turntext import without_empty_fields
from curate.pool.export import write_export
from curate.pool.exporter import Exporter
from curate.pool.exports.messages import MessagesExporter
from curate.pool.files import find_files
from curate.pool.splits import split_rows
from curate.runs.folder import RunFolder
from curate.runs.training_files import card_params, export_run
from tests.conftest import frame, row, stored, turns

HOSTILE = 'x | y\n# <img src=x onerror="alert(1)">'
ROWS = frame(
    [
        row("b", turns("a\u2028b", "c\n"), origin="sums", meta='{"id": 1}'),
        row("a", turns("é 😀", "\x00 tab\t", "d", "e"), origin=HOSTILE),
        row("c", turns("</script>", "--- y")),
    ]
)
LEAN = without_empty_fields(ROWS)
PATTERNS = {"messages": {"train": "data/train-0123456789abcdef-*.parquet"}}
COLUMNS = ["row_id", "messages", "source", "origin", "meta"]


def config(**changes: object) -> Config:
    base = {"name": "demo", "pool": "x", "select": {"method": "random", "budget": {"rows": 3}}}
    return Config.model_validate(base | changes)


def exporting(selection: Artifact, settings: Config) -> CachedCall[Artifact]:
    """Return the call that writes the training files of a selection."""
    selected, ranking = Table(selection, "selected"), Table(selection, "ranking")
    export, card = settings.export, card_params(settings)
    return write_export.call(selected, ranking, export.formats, export.arrangement, card)


def ranking_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the ranking of rows that stand best first."""
    rank = pl.int_range(1, pl.len() + 1)
    return rows.select("row_id", rank=rank, score=1.0 / rank, tokens=pl.lit(7), selected=True)


def selection_of(store: Store, rows: pl.DataFrame) -> Artifact:
    """Return the artifact of a selection of these rows."""
    return stored(store, "select", {"selected": rows, "ranking": ranking_of(rows)})


def test_both_files_hold_the_rows_in_their_order(tmp_path: Path) -> None:
    jsonl, parquet = MessagesExporter().write(ROWS, tmp_path)
    expected = LEAN.select(COLUMNS).to_dicts()
    lines = jsonl.read_text(encoding="utf-8").split("\n")
    assert [json.loads(text) for text in lines[:-1]] == expected
    assert lines[-1] == ""
    assert pl.read_parquet(parquet).to_dicts() == expected


def test_an_unknown_export_format_names_those_there_are() -> None:
    with pytest.raises(ValidationError, match=r"Input should be .*'messages'"):
        config(export={"formats": ["csv"]})


def test_an_exporter_of_ones_own_writes_beside_the_others(store: Store) -> None:
    @method
    class IdsExporter(Exporter):
        """Write the ids of rows."""

        method: Literal["ids"] = "ids"

        def write(self, rows: pl.DataFrame, out: Path) -> list[Path]:
            (out / "ids.txt").write_text("\n".join(rows["row_id"]))
            return [out / "ids.txt"]

    try:
        selection = selection_of(store, ROWS)
        given = config(export={"formats": ["ids", "messages"]})
        exported = store.ensure(exporting(selection, given))
        assert exported.file("ids.txt").read_text() == "b\na\nc"
        assert "README.md" in exported.files
        alone = store.ensure(exporting(selection, config(export={"formats": ["ids"]})))
        assert list(alone.files) == ["README.md", "ids.txt"]
    finally:
        METHODS["exporter"].pop("ids")


def test_datasets_reads_the_export_by_its_card(store: Store, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    selection = selection_of(store, ROWS)
    exported = store.ensure(exporting(selection, config()))
    read = datasets.load_dataset(str(exported.path), cache_dir=str(tmp_path / "cache"))
    assert list(read) == ["train"]
    assert read["train"].to_list() == LEAN.select(COLUMNS).to_dicts()


def test_an_export_is_read_as_a_pool_without_a_word_on_its_other_formats(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = config(export={"formats": ["messages", "sharegpt", "alpaca"]})
    exported = store.ensure(exporting(selection_of(store, ROWS), given))
    folder = shutil.copytree(
        exported.path, tmp_path / "export", ignore=shutil.ignore_patterns("manifest.json")
    )
    (folder / "more.jsonl").write_text("{}")
    (folder / "notes.txt").write_text("")
    # What an earlier test has set of the log tells of steps too.
    caplog.clear()
    with caplog.at_level("WARNING"):
        [file] = find_files(str(folder))
    assert file.name.startswith("data/train-")
    assert caplog.messages == [
        f"{folder}/: left out, no data by their names: notes.txt",
        f"{folder}/: left out, not among the files that the data set names: more.jsonl",
    ]


def run_folder(folder: Path, name: str, rows: pl.DataFrame) -> RunFolder:
    """Return a run folder that holds a selection and a recipe, all that an export and its card read."""
    folder.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(folder / "selected.parquet")
    (folder / "evidence").mkdir(exist_ok=True)
    ranking_of(rows).write_parquet(folder / "evidence" / "select.parquet")
    count = rows.height
    rows.select("source", "origin", fate=pl.lit("selected"), stage=pl.lit(None, pl.String),
                reason=pl.lit(None, pl.String)).write_parquet(folder / "ledger.parquet")  # fmt: skip
    pl.DataFrame(schema={"reason": pl.String}).write_parquet(folder / "rejects.parquet")
    steps = [{"stage": name, "rows_in": count, "rows_out": count} for name in ("pool", "select")]
    return RunFolder(folder, {"config": config(name=name).model_dump(mode="json"), "stages": steps})


def test_datasets_hands_out_each_runs_own_rows_from_one_cache(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    cache = str(tmp_path / "cache")
    # Two runs, and one run again with another budget: all exports have the same last name.
    for name, rows in (("one", ROWS), ("two", ROWS.head(2)), ("two", ROWS.tail(1))):
        folder = tmp_path / name / "export"
        jsonl, parquet, *_ = export_run(
            run_folder(tmp_path / name, name, rows), ["messages"], folder
        )
        expected = without_empty_fields(rows).select(COLUMNS).to_dicts()
        assert datasets.load_dataset(str(folder), cache_dir=cache)["train"].to_list() == expected
        for kind, path in (("json", jsonl), ("parquet", parquet)):
            read = datasets.load_dataset(kind, data_files=str(path), cache_dir=cache)["train"]
            assert read.to_list() == expected


def test_the_parquet_file_has_the_types_of_ordinary_data_sets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    _, parquet = MessagesExporter().write(ROWS, tmp_path)
    types = {f.name: f.type for f in pq.read_schema(parquet)}
    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    assert types["messages"] == pa.list_(turn)
    assert {types[name] for name in COLUMNS if name != "messages"} == {pa.string()}
    exported = datasets.Dataset.from_parquet(str(parquet), cache_dir=str(tmp_path / "cache"))
    ordinary = datasets.Dataset.from_list(LEAN.select(COLUMNS).to_dicts())
    assert exported.features == ordinary.features
    assert len(datasets.concatenate_datasets([exported, ordinary])) == 2 * ROWS.height


def test_an_export_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    run, out = run_folder(tmp_path / "run", "demo", ROWS), tmp_path / "train"
    first = export_run(run, ["messages"], out)
    second = export_run(run_folder(tmp_path / "run", "demo", ROWS.head(1)), ["messages"], out)
    assert {p for p in out.rglob("*") if p.is_file()} == set(second) != set(first)


@pytest.mark.parametrize("name", ["notes.txt", "data/train-0.parquet", "train.jsonl", ".gitignore"])
def test_an_export_never_overwrites_what_is_not_its_own(tmp_path: Path, name: str) -> None:
    run, out = run_folder(tmp_path / "run", "demo", ROWS), tmp_path / "train"
    export_run(run, ["messages"], out)
    (out / name).write_text("mine")
    with pytest.raises(UserError, match=f"train holds other files .{name}."):
        export_run(run, ["messages"], out)
    assert (out / name).read_text() == "mine"


def test_an_edited_card_is_its_writers_own(tmp_path: Path) -> None:
    run, out = run_folder(tmp_path / "run", "demo", ROWS), tmp_path / "train"
    *_, card = export_run(run, ["messages"], out)
    card.write_text(card.read_text().replace("# demo", "# My data"))
    with pytest.raises(UserError, match=r"train holds other files \(README.md\)"):
        export_run(run, ["messages"], out)


def test_a_file_is_no_folder_to_export_into(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("mine")
    with pytest.raises(UserError, match=r"train is no folder; give a new one"):
        export_run(run_folder(tmp_path / "run", "demo", ROWS), ["messages"], tmp_path / "train")
    assert (tmp_path / "train").read_text() == "mine"


def test_the_export_changes_with_the_selection_and_what_the_card_says(store: Store) -> None:
    one = selection_of(store, ROWS)
    two = selection_of(store, ROWS.head(2))
    keys = {
        exporting(one, config()).key,
        exporting(two, config()).key,
        exporting(one, config(name="other")).key,
        exporting(one, config(seed=1)).key,
    }
    assert len(keys) == 4
    assert exporting(one, config(store="elsewhere")).key in keys


def test_datasets_reads_splits_and_shards_in_order(store: Store, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = frame([row(f"r{i}", turns(f"question {i}", f"answer {i}")) for i in range(40)])
    settings = config(
        export={"validation": 0.1, "shard_bytes": 1_500, "order": "random", "sample_weight": True}
    )
    exported = store.ensure(exporting(selection_of(store, rows), settings))
    parquet = [name for name in exported.files if name.startswith("data/train-")]
    assert len(parquet) > 2
    read = datasets.load_dataset(str(exported.path), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in read.items()} == {"train": 36, "validation": 4}
    lines = [
        json.loads(text)
        for split in ("train", "validation")
        for path in exported.path.glob(f"{split}-*.jsonl")
        for text in path.read_text().splitlines()
    ]
    assert lines == [line for part in read.values() for line in part.to_list()]
    assert {line["row_id"] for line in lines} == {f"r{i}" for i in range(40)}
    completions = datasets.load_dataset(
        str(exported.path), "prompt_completion", cache_dir=str(tmp_path / "cache")
    )
    assert {split: len(part) for split, part in completions.items()} == {
        "train": 36,
        "validation": 4,
    }


def test_no_split_or_shard_of_another_export_comes_from_the_cache(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    cache = str(tmp_path / "cache")
    rows = frame([row(f"r{i}", turns(f"question {i}", f"answer {i}")) for i in range(20)])
    for seed in range(3):
        folder = tmp_path / str(seed)
        run = run_folder(folder, "demo", rows)
        export = {"validation": 0.2, "shard_bytes": 1_000}
        settings = config(name="demo", seed=seed, export=export).model_dump(mode="json")
        export_run(
            RunFolder(run.path, {**run.manifest, "config": settings}),
            ["messages"],
            folder / "export",
        )
        read = datasets.load_dataset(str(folder / "export"), cache_dir=cache)
        arranged = run.table("selected").collect()
        expected = set(arranged.filter(split_rows(arranged, 0.2, seed) == "validation")["row_id"])
        assert set(read["validation"]["row_id"]) == expected
