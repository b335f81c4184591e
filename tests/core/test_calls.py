import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from curate.core.calls import (
    Cached,
    Counted,
    StoreRunner,
    Table,
    TableGroup,
    cached,
    cached_files,
)
from curate.core.store import Artifact, Store

TEXTS = ["a", "bb", "ccc"]


@dataclass(frozen=True)
class Model:
    """A keyed thing that lies in a folder."""

    identity: str
    power: int = 1
    folder: str = "/here"
    reads: tuple[Artifact, ...] = ()


@dataclass(frozen=True)
class Group(TableGroup):
    letters: Table
    others: tuple[Table, ...] = ()
    target: Table | None = None


@cached(version=1, name="test-letters")
def letters(texts: list[str], least: int = 0) -> pl.DataFrame:
    """Return text and letters."""
    frame = pl.DataFrame({"text": texts}).with_columns(letters=pl.col("text").str.len_chars())
    return frame.filter(pl.col("letters") >= least)


@cached(version=1, name="test-powers")
def powers(letters: Table, model: Model) -> Counted[NDArray[np.float64]]:
    """Return a power for each row."""
    values = letters.read()["letters"].to_numpy() ** float(model.power)
    return Counted(np.asarray(values, dtype=np.float64), {"power": model.power})


@cached(version=1, name="test-joined")
def joined(tables: list[Table]) -> pl.DataFrame:
    """Return all rows."""
    return pl.concat(table.read() for table in tables)


@cached(version=1, name="test-named")
def by_name(tables: dict[str, Table]) -> pl.DataFrame:
    """Return all rows with the names of their tables."""
    return pl.concat(t.read().with_columns(table=pl.lit(name)) for name, t in tables.items())


@cached(version=1, name="test-grouped")
def grouped(data: Group, models: list[Model], seed: int | None = None) -> pl.DataFrame:
    """Return all rows of a group."""
    return pl.concat(table.read() for table in (data.letters, *data.others))


@cached(version=1, name="test-clashing")
def clashing(data: Group, letters: Table) -> pl.DataFrame:
    """Return rows; the group has a table of the same name."""
    return letters.read()


@cached_files(version=1, name="test-files")
def write_files(out: Path, table: Table, start: Artifact | None = None) -> dict[str, Any]:
    """Write how many rows there are, after those of a start."""
    before = int(start.file("rows.txt").read_text()) if start else 0
    (out / "rows.txt").write_text(str(before + table.height))
    return {"rows_out": table.height}


@pytest.fixture
def run(store: Store) -> StoreRunner:
    return StoreRunner(store)


def keys(run: StoreRunner, function: Cached[..., Any], *arguments: Any) -> list[str]:
    """Return the keys of calls that differ in their last argument."""
    *shared, variants = arguments
    return [function.call(*shared, variant).key for variant in variants]


def test_a_frame_is_stored_once_and_read_as_a_table(run: StoreRunner) -> None:
    table = run(letters, TEXTS)
    assert table.read().rows() == [("a", 1), ("bb", 2), ("ccc", 3)]
    assert table.scan().select("letters").collect()["letters"].to_list() == [1, 2, 3]
    assert table.read(["letters"]).columns == ["letters"]
    assert table.artifact.counts == {"rows_in": 3, "rows_out": 3}
    assert table.height == 3
    assert not table.artifact.cached
    assert run(letters, texts=TEXTS).artifact.cached


def test_an_array_is_mapped_and_counts_are_kept(run: StoreRunner) -> None:
    table = run(powers, run(letters, TEXTS), Model("m", 2))
    assert table.array().tolist() == [1, 4, 9]
    assert table.artifact.counts == {"rows_in": 3, "rows_out": 3, "power": 2}


def test_files_are_written_by_the_function_and_are_inputs_of_others(run: StoreRunner) -> None:
    table = run(letters, TEXTS)
    first = run(write_files, table)
    second = run(write_files, table, first)
    assert [a.file("rows.txt").read_text() for a in (first, second)] == ["3", "6"]
    assert first.counts == {"rows_out": 3}
    assert write_files.call(table, first).inputs == {"table": table.artifact, "start": first}


def test_calling_it_plainly_stores_nothing(run: StoreRunner, tmp_path: Path) -> None:
    assert letters(TEXTS).height == 3
    assert list(run.store.root.iterdir()) == []
    table = run(letters, TEXTS)
    assert write_files(tmp_path, table) == {"rows_out": 3}
    assert (tmp_path / "rows.txt").read_text() == "3"


def test_many_calls_come_back_in_their_order(run: StoreRunner) -> None:
    tables = run.map(letters, [[text] for text in TEXTS[::-1]])
    assert [table.read()["text"].to_list() for table in tables] == [["ccc"], ["bb"], ["a"]]
    calls = [letters.call(TEXTS, least) for least in (3, 1)]
    assert [table.height for table in run.results(calls)] == [1, 3]


def test_defaults_are_part_of_the_key_and_what_is_absent_is_not(run: StoreRunner) -> None:
    assert letters.call(TEXTS).key == letters.call(TEXTS, least=0).key
    assert letters.call(TEXTS).key != letters.call(TEXTS, least=2).key
    data = Group(run(letters, TEXTS))
    assert grouped.call(data, []).params == {"models": []}
    assert grouped.call(data, [], 0).params == {"models": [], "seed": 0}


def test_the_key_holds_what_identifies_a_thing_and_not_where_it_lies(run: StoreRunner) -> None:
    table = run(letters, TEXTS)
    models = [Model("m"), Model("m", folder="/there"), Model("n")]
    here, there, other = keys(run, powers, table, models)
    assert here == there != other
    here, there, other = keys(run, grouped, Group(table), [[model] for model in models])
    assert here == there != other


def test_the_key_holds_which_table_of_an_artifact_it_is(run: StoreRunner) -> None:
    artifact = run(letters, TEXTS).artifact
    calls = [powers.call(Table(artifact, name), Model("m")) for name in ("letters", "others")]
    assert calls[0].params == {"model": "m"}
    assert calls[1].params == {"model": "m", "letters.table": "others"}
    assert calls[0].key != calls[1].key


def test_tables_of_a_list_keep_their_order(run: StoreRunner) -> None:
    tables = run.map(letters, [[text] for text in TEXTS])
    assert run(joined, tables).read()["text"].to_list() == TEXTS
    assert run(joined, tables[::-1]).read()["text"].to_list() == TEXTS[::-1]
    assert list(joined.call(tables).inputs) == ["tables-000", "tables-001", "tables-002"]


def test_tables_of_a_dictionary_keep_names_and_order(run: StoreRunner) -> None:
    one, two = run.map(letters, [["a"], ["bb"]])
    assert run(by_name, {"x": one, "y": two}).read()["table"].to_list() == ["x", "y"]
    assert run(by_name, {"y": two, "x": one}).read()["table"].to_list() == ["y", "x"]
    assert list(by_name.call({"x": one}).inputs) == ["tables-x"]


def test_tables_of_a_group_stand_for_themselves(run: StoreRunner) -> None:
    one, two = run.map(letters, [["a"], ["bb"]])
    call = grouped.call(Group(one, (two,)), [])
    assert call.inputs == {"letters": one.artifact, "others-000": two.artifact}
    assert run.result(call).read()["text"].to_list() == ["a", "bb"]
    # `two` is called "letters", and the field that it stands in is not.
    assert call.params == {"models": [], "others.table": "letters"}


def test_which_tables_of_a_list_they_are_has_an_order(run: StoreRunner) -> None:
    artifact = run(letters, TEXTS).artifact
    one, two = Table(artifact, "one"), Table(artifact, "two")
    params = [joined.call(tables).params for tables in ([one, one], [one, two], [two, one])]
    assert params == [{"tables.table": name} for name in ("one", "one,two", "two,one")]


def test_a_group_has_no_table_of_an_arguments_name(run: StoreRunner) -> None:
    table = run(letters, TEXTS)
    with pytest.raises(TypeError, match="clashing: a group has a table of an argument's name"):
        clashing.call(Group(table), table)


def test_a_call_says_what_it_reads(run: StoreRunner) -> None:
    table, elsewhere = run(letters, TEXTS), run(letters, ["x"]).artifact
    assert powers.call(table, Model("m", reads=(elsewhere,))).reads == [table.artifact, elsewhere]
    models = [Model("m", reads=(elsewhere,))]
    assert grouped.call(Group(table), models).reads == [table.artifact, elsewhere]


def test_a_call_can_have_a_name_and_a_version_of_its_own(run: StoreRunner) -> None:
    call = letters.call(TEXTS)
    artifact = run.result(call.named("other", 7)).artifact
    assert (artifact.name, artifact.key) == ("other", call.named("other", 7).key)
    assert len({call.key, call.named("other").key, call.named("other", 7).key}) == 3


def test_a_call_travels_to_another_process(run: StoreRunner, tmp_path: Path) -> None:
    """By module and name: a worker needs the code, not a copy of it."""
    call = powers.call(run(letters, TEXTS), Model("m", 2)).named("elsewhere")
    (tmp_path / "call").write_bytes(pickle.dumps(call))
    code = (
        "import pickle, sys; from pathlib import Path; import tests.core.test_calls; "
        "from curate.core.store import Store; call = pickle.loads(Path(sys.argv[1]).read_bytes()); "
        "print(call.key, Store(Path(sys.argv[2])).ensure(call).digest)"
    )
    worker = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "call"), str(tmp_path / "other")],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert worker.stdout.split() == [call.key, run.result(call).artifact.digest]


def test_wrong_arguments_are_told_before_anything_runs(run: StoreRunner) -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'texts'"):
        run(letters, least=2)  # type: ignore[call-arg]


def test_what_cannot_be_stored_is_named(run: StoreRunner) -> None:
    with pytest.raises(TypeError, match="words returns a list; a frame or an array is stored"):
        run(words)


@cached(version=1, name="test-words")
def words() -> list[str]:
    """Return what is neither a frame nor an array."""
    return TEXTS


def test_names_are_unique_and_functions_can_be_imported() -> None:
    with pytest.raises(ValueError, match=r"test-letters: .* has a cached function of this name"):
        cached(version=1, name="test-letters")(plain)

    def inner() -> pl.DataFrame:
        return pl.DataFrame()

    with pytest.raises(ValueError, match="inner: a cached function stands in a module"):
        cached(version=1, name="test-inner")(inner)


def plain() -> pl.DataFrame:
    """Return nothing."""
    return pl.DataFrame()
