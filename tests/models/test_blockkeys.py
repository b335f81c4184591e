"""Names of blocks: hashes of rows, stored for each file of a table."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import StoreRunner, Table
from curate.core.rows import Message
from curate.core.store import Store
from curate.models import blocks
from curate.models.blockkeys import block_digest, hash_rows, hashes_of_table
from curate.models.blocks import blocks_of, row_block, row_blocks
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from tests.conftest import StoreRun, turns


def write(path: Path, *texts: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"prompt": t, "completion": t}) + "\n" for t in texts))


def pool(store: Store, folder: Path) -> Table:
    entry = RowFile(path=str(folder), source="s")
    return row_set("pool", [entry], seed=0, max_rejected=0.0).read(StoreRunner(store))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "pool" / "a.jsonl", "one", "two", "three")
    write(tmp_path / "pool" / "b.jsonl", "four", "five")
    return tmp_path / "pool"


def names(store: Store, table: Table) -> list[str]:
    positions = np.arange(table.height)
    return [block.identity for block in row_blocks(StoreRun(store), table, positions)]


def test_blocks_are_named_as_their_rows_are_however_the_table_is_cut(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "SMALLEST_BLOCK", 2)
    table = pool(store, folder)
    parts = names(store, table)
    assert parts == [row_block(table, p).identity for p in ([0, 1], [2, 3], [4])]
    write(tmp_path / "one" / "x.jsonl", "one", "two", "three", "four", "five")
    assert names(store, pool(store, tmp_path / "one")) == parts


def test_a_new_file_is_all_that_is_hashed(store: Store, folder: Path) -> None:
    def hashed() -> int:
        return sum(entry.step == "row-hashes" for entry in store.entries())

    names(store, pool(store, folder))
    assert hashed() == 2
    write(folder / "c.jsonl", "six")
    hashes = hashes_of_table(StoreRun(store), pool(store, folder))
    assert hashed() == 3
    assert hashes.shape == (6, 16)
    assert len({bytes(row) for row in hashes}) == 6


def test_names_are_found_without_reading_a_row(store: Store, folder: Path) -> None:
    table = pool(store, folder)
    before = names(store, table)
    for path in table.paths:
        path.write_bytes(b"")
    assert names(store, table) == before


MESSAGES: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    "change",
    [
        {"content": "b "},
        {"role": "user"},
        {"reasoning": "since"},
        {"tool_calls": [{"name": "f", "arguments": "{}"}]},
        {"weight": 0},
        {"name": "x"},
    ],
)
def test_whatever_a_model_reads_of_a_row_is_in_its_hash(change: Message) -> None:
    changed: list[Message] = [MESSAGES[0], {**MESSAGES[1], **change}]
    assert hash_rows([MESSAGES]).tolist() != hash_rows([changed]).tolist()
    assert hash_rows([MESSAGES, changed]).shape == (2, 16)


def test_the_order_of_rows_is_in_the_name_of_a_block() -> None:
    hashes = hash_rows([turns("a", "b"), turns("c", "d")])
    assert block_digest(hashes) != block_digest(hashes[::-1])
    assert block_digest(hashes[:1]) != block_digest(hashes)


@given(st.integers(1, 10**9), st.sampled_from([256, 512, 4096]))
def test_blocks_grow_with_the_pool_up_to_a_size(total: int, smallest: int) -> None:
    positions = np.unique(np.linspace(0, total - 1, 50).astype(np.int64))
    parts = blocks_of(positions, total, smallest)
    assert np.array_equal(np.concatenate(parts), positions)
    spans = [part[-1] - part[0] + 1 for part in parts]
    assert max(spans) <= blocks.LARGEST_BLOCK
    size = next(s for s in (smallest * 2**k for k in range(40)) if s >= max(spans))
    assert total <= size * blocks.MOST_BLOCKS or size <= blocks.LARGEST_BLOCK
