import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from curate.core.calls import CachedCall, CallRunner, Counted, Keyed, Table, cached
from curate.core.store import Artifact, Step, Store

TEXTS = ["a", "bb", "ccc"]


@cached(version=1, name="test-letters")
def letters(texts: list[str], least: int = 0) -> pl.DataFrame:
    """Return text and letters."""
    frame = pl.DataFrame({"text": texts}).with_columns(letters=pl.col("text").str.len_chars())
    return frame.filter(pl.col("letters") >= least)


@cached(version=1, name="test-powers")
def powers(letters: Table, model: Keyed) -> Counted[NDArray[np.float64]]:
    """Return a power for each row."""
    values = letters.read()["letters"].to_numpy() ** float(model.location["power"])
    return Counted(np.asarray(values, dtype=np.float64), {"power": model.location["power"]})


@cached(version=1, name="test-joined")
def joined(tables: list[Table]) -> pl.DataFrame:
    """Return all rows."""
    return pl.concat(table.read() for table in tables)


@dataclass
class Runner(CallRunner):
    store: Store

    def execute(self, step: Step) -> Artifact:
        return self.store.ensure(step)


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(Store(tmp_path / "store"))


def test_a_frame_is_stored_once_and_read_as_a_table(run: Runner) -> None:
    table = run(letters, TEXTS)
    assert table.read().rows() == [("a", 1), ("bb", 2), ("ccc", 3)]
    assert table.scan().select("letters").collect()["letters"].to_list() == [1, 2, 3]
    assert table.read(["letters"]).columns == ["letters"]
    assert table.artifact.counts == {"rows_in": 3, "rows_out": 3}
    assert not table.artifact.cached
    assert run(letters, texts=TEXTS).artifact.cached


def test_an_array_is_mapped_and_counts_are_kept(run: Runner) -> None:
    table = run(powers, run(letters, TEXTS), Keyed("m", {"power": 2}))
    assert table.array().tolist() == [1, 4, 9]
    assert table.artifact.counts == {"rows_in": 3, "rows_out": 3, "power": 2}


def test_calling_it_plainly_stores_nothing(run: Runner) -> None:
    assert letters(TEXTS).height == 3
    assert list(run.store.root.iterdir()) == []


def test_defaults_are_part_of_the_key(run: Runner) -> None:
    keys = [run(letters, TEXTS).artifact.key, run(letters, TEXTS, least=0).artifact.key]
    assert keys[0] == keys[1] != run(letters, TEXTS, least=2).artifact.key


def test_the_key_holds_what_identifies_a_thing_and_not_where_it_lies(run: Runner) -> None:
    table = run(letters, TEXTS)
    here, there = (Keyed("m", {"power": 1, "folder": folder}) for folder in ("/here", "/there"))
    keys = [run(powers, table, m).artifact.key for m in (here, there, Keyed("n", {"power": 1}))]
    assert keys[0] == keys[1] != keys[2]


def test_the_key_holds_which_table_of_an_artifact_it_is(run: Runner) -> None:
    artifact = run(letters, TEXTS).artifact
    steps = [
        CachedCall(powers, {"letters": Table(artifact, name), "model": Keyed("m")}).step
        for name in ("letters", "others")
    ]
    assert steps[0].params == {"model": "m"}
    assert steps[1].params == {"model": "m", "letters.table": "others"}
    assert steps[0].key != steps[1].key


def test_tables_of_a_list_keep_their_order(run: Runner) -> None:
    tables = [run(letters, [text]) for text in TEXTS]
    assert run(joined, tables).read()["text"].to_list() == TEXTS
    assert run(joined, tables[::-1]).read()["text"].to_list() == TEXTS[::-1]


def test_a_call_says_what_it_reads(run: Runner) -> None:
    table, elsewhere = run(letters, TEXTS), run(letters, ["x"]).artifact
    call = CachedCall(powers, {"letters": table, "model": Keyed("m", {"power": 1}, (elsewhere,))})
    assert call.reads == [table.artifact, elsewhere]


def test_a_call_travels_to_another_process(run: Runner, tmp_path: Path) -> None:
    """By module and name: a worker needs the code, not a copy of it."""
    table = run(letters, TEXTS)
    step = CachedCall(powers, {"letters": table, "model": Keyed("m", {"power": 1})}).step
    (tmp_path / "call").write_bytes(pickle.dumps(step))
    code = (
        "import pickle, sys; from pathlib import Path; import tests.core.test_calls; "
        "from curate.core.store import Store; step = pickle.loads(Path(sys.argv[1]).read_bytes()); "
        "print(step.key, Store(Path(sys.argv[2])).ensure(step).digest)"
    )
    worker = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "call"), str(tmp_path / "other")],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert worker.stdout.split() == [step.key, run.store.ensure(step).digest]


def test_wrong_arguments_are_told_before_anything_runs(run: Runner) -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'texts'"):
        run(letters, least=2)  # type: ignore[call-arg]


def test_what_cannot_be_stored_is_named(run: Runner) -> None:
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
    return pl.DataFrame()
