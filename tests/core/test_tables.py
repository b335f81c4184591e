"""Parquet files are read by their literal path, whatever signs it holds."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import orjson
import polars as pl
import pytest

from curate.core.tables import (
    read_batches,
    read_table,
    rows_at_once,
    scan_table,
    table_schema,
    write_table,
)
from tests.commandline import curate
from tests.orchestration.workplace import REPO, environment
from tests.structure import syntax_nodes

ODD_NAMES = ("a[1]", "a*b", "a?b", "{x}", "%20", "#h", "x::y", "file:", "s3:", "k=v", "~", "$HOME")
# Readers that take a path for a pattern, a URL or a partition.
READERS = {
    "pl": ("scan_", "read_"),
    "polars": ("scan_", "read_"),
    "pq": ("read_table", "read_pandas", "ParquetDataset"),
    "fsspec": ("open",),
    "glob": ("glob", "iglob"),
    "datasets": ("load_dataset",),
}
# hubrepo refuses such paths itself.
EXEMPT = [REPO / "curate" / name for name in ("core/tables.py", "pool/hubrepo.py")]


# A join is computed in pieces, and written in those if nobody says otherwise.
JOIN = """
import sys
from pathlib import Path
import polars as pl
from curate.core.tables import write_table

rows = pl.DataFrame({"row_id": pl.int_range(250_000, eager=True)}).lazy()
scores = rows.with_columns(score=pl.col("row_id") / 7)
write_table(rows.join(scores, on="row_id", how="left", maintain_order="left"), Path(sys.argv[1]))
"""


def test_the_bytes_of_a_table_do_not_depend_on_threads_or_on_whether_it_was_in_memory(
    tmp_path: Path,
) -> None:
    written = set()
    for threads in (1, 2, 4):
        path = tmp_path / f"{threads}.parquet"
        variables = environment() | {"POLARS_MAX_THREADS": str(threads)}
        subprocess.run([sys.executable, "-c", JOIN, str(path)], env=variables, check=True)
        written.add(path.read_bytes())
    write_table(read_table(path), tmp_path / "frame.parquet")
    assert written == {(tmp_path / "frame.parquet").read_bytes()}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_table_is_read_from_a_folder_of_any_name_and_not_from_its_sibling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, folder in enumerate([name, "a1", "axb"]):
        Path(folder).mkdir()
        table = pl.DataFrame({"row_id": ["r"], "n": [number]})
        table.write_parquet(tmp_path / folder / "t.parquet")
    for path in (Path(name) / "t.parquet", tmp_path / name / "t.parquet"):
        assert scan_table(path).collect()["n"].to_list() == [0]
        assert read_table(path)["n"].to_list() == [0]
        assert read_table(str(path), columns=["n"]).columns == ["n"]
        assert table_schema(path) == {"row_id": pl.String, "n": pl.Int64}


def test_batches_have_so_many_rows_and_fewer_where_rows_are_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t[1].parquet"
    texts = [f"{i:04}" * 1_000 for i in range(100)]
    pl.DataFrame({"n": range(100), "text": texts}).write_parquet(path, row_group_size=30)
    for size, expected in ((64 * 2**20, [20, 10, 20, 10, 20, 10, 10]), (20_000, None)):
        monkeypatch.setattr("curate.core.tables.BATCH_BYTES", size)
        batches = list(read_batches(path, 20, ["n"]))
        assert [n for batch in batches for n in batch.column("n").to_pylist()] == [*range(100)]
        assert expected is None or [len(batch) for batch in batches] == expected
        assert max(len(batch) for batch in batches) == rows_at_once(path, 20)
    assert rows_at_once(path, 20) < 20
    monkeypatch.setattr("curate.core.tables.BATCH_BYTES", 1)
    assert rows_at_once(path, 20) == 1


def test_a_table_without_rows_has_no_batches(tmp_path: Path) -> None:
    pl.DataFrame(schema={"n": pl.Int64}).write_parquet(tmp_path / "t.parquet")
    assert rows_at_once(tmp_path / "t.parquet", 7) in (1, 7)
    assert sum(map(len, read_batches(tmp_path / "t.parquet", 7))) == 0


def test_no_module_but_tables_reads_a_path_that_could_be_a_pattern() -> None:
    calls = [
        f"{file.relative_to(REPO)}:{node.lineno}: {node.value.id}.{node.attr}"
        for package in ("curate", "flows")
        for file in sorted((REPO / package).rglob("*.py"))
        if file not in EXEMPT
        for node in syntax_nodes(file)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.attr.startswith(READERS.get(node.value.id, ()) or "\0")
    ]
    assert calls == []


RECIPE = """
name: odd
pool: [{path: "pool/*.jsonl", source: web}, {path: "data[1].jsonl", source: literal}]
target: {path: target.jsonl}
stages: [{kind: exact}, {kind: fuzzy}]
select: {method: bm25, budget: {rows: 4}}
compare: [random]
store: store
"""


def put(folder: Path, word: str) -> None:
    """Write a recipe and its inputs; every prompt of the folder holds the word."""
    (folder / "pool").mkdir(parents=True)
    lines = [
        {"instruction": f"{word} question {i % 7} of kind {i}", "output": f"answer {i}"}
        for i in range(12)
    ]
    data = b"".join(orjson.dumps(line) + b"\n" for line in [*lines, lines[0]])
    for name in ("pool/x.jsonl", "data[1].jsonl", "data1.jsonl", "target.jsonl"):
        (folder / name).write_bytes(data.replace(b"question", Path(name).stem.encode()))
    (folder / "recipe.yaml").write_text(RECIPE)


def said(folder: Path, *arguments: str) -> str:
    done = curate(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.system
def test_a_run_in_a_folder_of_any_name_reads_and_writes_its_own_rows(tmp_path: Path) -> None:
    """Next to it lies a finished run of another pool, whose folder the name would match."""
    name, sibling = "a[1]{x}%20#?::*", "a1{x}%20#y::z"
    put(tmp_path / sibling, "foreign")
    said(tmp_path / sibling, "run", "recipe.yaml", "--out", sibling)
    folder = tmp_path / name
    put(folder, "own")
    said(folder, "run", "recipe.yaml", "--out", name)
    ledger = pl.read_parquet((folder / name / "ledger.parquet").open("rb"))
    assert ledger.height == 26
    assert set(ledger.filter(source="literal")["row_id"].str.extract("/(.*):")) == {"data[1].jsonl"}
    stdout = said(folder, "explain", name, "literal/data[1].jsonl:13")
    assert "own data[1] 0 of kind 0" in stdout
    assert "foreign" not in stdout
    assert "3 rows" in said(folder, "plan", name, "--budget", "rows=3")
    assert "fuzzy" in said(folder, "rethreshold", name, "fuzzy", "--set", "threshold=0.9")
    said(folder, "report", name)
    assert "own x" in (folder / name / "report" / "index.html").read_text("utf-8")
    said(folder, "export", name, "--out", "train[1]")
    [file] = [*folder.glob("train[[]1]/*.jsonl")]
    rows = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert len(rows) == 4
    assert all(row["messages"][0]["content"].startswith("own ") for row in rows)
