"""The vectors that a run stored: of which rows, made by which model, and where they lie.

    STORE/embed-0123456789abcdef/vectors.npy       a block of rows by a sentence embedder
    STORE/index-0123456789abcdef/vectors.npy       a block of rows by the base model, as are
    STORE/losses-0123456789abcdef/vectors.npy      those of a pass that measured losses as well

A block is known by its rows' texts, so it is looked for among what the run's stages and selectors read:
the rows that a stage judged, those that were kept, and those of a pass. Nothing is computed anew.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from curate.config.names import stage_names
from curate.core.bucket import is_bucket, is_cloud, local_folder, open_store
from curate.core.calls import Table
from curate.core.checksummed import load_checksummed
from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.store import KEY_CHARS, MANIFEST, Store
from curate.core.tableparts import table_parts
from curate.models import embed, index, losses
from curate.models.blockkeys import block_digest, row_hashes
from curate.models.blocks import SMALLEST_BLOCK, blocks_of
from curate.runs.folder import RunFolder, inside
from curate.text.compared import Compared

FILE = "vectors.npy"
EMBED, BASE = embed.vectors.name, (index.vectors.name, losses.write_losses.name)
COMPARED: tuple[Compared, ...] = get_args(Compared)
WORDS = {"example": "whole rows", "prompt": "prompts", "response": "responses"}


# A model with its settings, and which part of a row it read; base models read whole rows.
_Space = tuple[str, Compared]
# The stored blocks by what each may be known by.
_Blocks = dict[str, list[tuple[_Space, Path]]]


@dataclass(frozen=True)
class StoredBlock:
    """A block of vectors in the store: by which step, of what, and in which file."""

    step: str
    params: Mapping[str, JSON]
    path: Path

    def identities(self) -> Iterator[tuple[str, _Space]]:
        """Yield what the block may be known by, with the space that its vectors are then of."""
        texts, model = str(self.params["texts"]), orjson.dumps(self.params["model"]).decode()
        if self.step in BASE:
            yield texts, (f"{BASE[0]} {self.params['max_length']} {model}", "example")
            return
        # An embedder's block is known by its rows and by what it reads of them.
        for compare in COMPARED:
            yield f"{texts} {compare}", (f"{EMBED} {model}", compare)


@dataclass(frozen=True)
class VectorTable:
    """The stored vectors of a table's rows: for each row its block, -1 for none, and its place there."""

    paths: tuple[Path, ...]
    block: NDArray[np.int32]
    place: NDArray[np.int32]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Return which rows have a vector [N]."""
        return self.block >= 0

    def read(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors [n, d] of the rows at these positions, which all have one.

        Raises:
            UserError: a file is damaged, or has vectors of another width.
        """
        vectors = np.empty((len(positions), 0), dtype=np.float32)
        blocks = self.block[positions]
        for number in np.unique(blocks):
            array, mask = _open_vectors(self.paths[number]), blocks == number
            if not vectors.shape[1]:
                vectors = np.empty((len(positions), array.shape[1]), dtype=np.float32)
            try:
                vectors[mask] = array[self.place[positions[mask]]]
            except (IndexError, ValueError) as error:
                raise _damaged(self.paths[number]) from error
        return np.nan_to_num(vectors, copy=False)


@dataclass(frozen=True)
class VectorSpace:
    """Vectors by one model of one part of rows, which can be compared: of the pool, of the target."""

    name: str
    label: str
    pool: VectorTable
    target: VectorTable | None

    @property
    def rows(self) -> int:
        """Return how many rows of the pool have a vector."""
        return int(self.pool.present.sum())


@dataclass(frozen=True)
class StoredVectors:
    """The vector spaces of a run, the largest first, and how many of its blocks the store has lost.

    pool, target: the ids of the rows, in the order of the spaces' tables.
    """

    spaces: tuple[VectorSpace, ...]
    pool: pl.Series
    target: pl.Series
    blocks: int
    lost: int


def find_vectors(run: RunFolder) -> StoredVectors:
    """Return the vectors that a run's steps stored.

    Raises:
        UserError: the store has lost the run's rows.
    """
    pool = _row_table(run, "pool")
    if pool is None:
        raise UserError(
            f"{run.path}: the store {run.manifest['store']} has lost the rows; `curate run` again makes "
            "them anew"
        )
    blocks = list(_stored_blocks(run))
    by_identity: _Blocks = defaultdict(list)
    for block in filter(None, blocks):
        for identity, space in block.identities():
            by_identity[identity].append((space, block.path))
    target, lost = _row_table(run, "target"), blocks.count(None)
    # Hashing rows that have no vectors would take a large pool a while.
    spaces = _find_spaces(run, pool, target, by_identity) if by_identity else ()
    return StoredVectors(spaces, _ids(pool), _ids(target), len(blocks), lost)


def _find_spaces(
    run: RunFolder, pool: Table, target: Table | None, by_identity: _Blocks
) -> tuple[VectorSpace, ...]:
    """Return the spaces that the stored blocks make, the largest first."""
    pools = _place_blocks(run, pool, by_identity, _read_positions(run, pool))
    targets = {}
    if target is not None:
        targets = _place_blocks(run, target, by_identity, [np.arange(target.height)])
    spaces = [
        VectorSpace(digest_of(space)[:8], _label(run, space), vectors, targets.get(space))
        for space, vectors in pools.items()
    ]
    return tuple(sorted(spaces, key=lambda space: (-space.rows, space.name)))


def _ids(rows: Table | None) -> pl.Series:
    if rows is None:
        return pl.Series("row_id", [], dtype=pl.String)
    return rows.scan().select("row_id").collect()["row_id"]


def _row_table(run: RunFolder, role: str) -> Table | None:
    """Return the rows of the pool or of an example set, None where the store has none."""
    if run.rows(role) is None:
        return None
    artifact = _store(run).fetch(str(run.manifest["artifacts"][role]))
    return None if artifact is None else Table(artifact, "rows")


def _store(run: RunFolder) -> Store:
    """Return the run's store; of a bucket that is no cloud's what lies on this machine."""
    address = run.manifest["store"]
    bring = not is_bucket(address) or is_cloud(address)
    return open_store(address) if bring else Store(local_folder(address))


def _stored_blocks(run: RunFolder) -> Iterator[StoredBlock | None]:
    """Yield the blocks of vectors that the run's steps stored, None for one that is gone."""
    store, cloud = _store(run), is_cloud(run.manifest["store"])
    for entry in run.manifest["stages"]:
        step = str(entry.get("stage", "")).partition(" (")[0]
        for key in entry.get("keys", ()) if step in (EMBED, *BASE) else ():
            name = f"{step}-{str(key)[:KEY_CHARS]}"
            folder = inside(store.root, name, follow_links=True)
            if cloud and not folder.is_dir():
                store.fetch(name)
            try:
                manifest = load_checksummed((folder / MANIFEST).read_bytes())
            except (OSError, ValueError):
                yield None
                continue
            # A pass of an adapter, or one that measured losses alone, gives no vectors of the base.
            if FILE in manifest["files"] and not manifest["inputs"]:
                path = folder / FILE
                yield StoredBlock(step, manifest["params"], path) if path.is_file() else None


def _place_blocks(
    run: RunFolder,
    rows: Table,
    by_identity: _Blocks,
    sets: Sequence[NDArray[np.int64]],
) -> dict[_Space, VectorTable]:
    """Return where the vectors of a table's rows lie, by the space that they are of.

    Args:
        run: the run.
        rows: the table.
        by_identity: the stored blocks, by what each is known by.
        sets: positions of rows that may have been read together.
    """
    hashes, places = _hashes(run, rows), dict[_Space, VectorTable]()
    paths: dict[_Space, list[Path]] = defaultdict(list)
    for positions in sets:
        for block, identity in _identities(hashes, positions):
            for space, path in by_identity.get(identity, ()):
                table = places.setdefault(space, _empty(len(hashes)))
                paths[space].append(path)
                _fill(table, block, len(paths[space]) - 1)
    return {s: VectorTable(tuple(paths[s]), t.block, t.place) for s, t in places.items()}


def _empty(rows: int) -> VectorTable:
    return VectorTable((), np.full(rows, -1, dtype=np.int32), np.zeros(rows, dtype=np.int32))


def _fill(table: VectorTable, positions: NDArray[np.int64], number: int) -> None:
    """Note a block as that of its rows which have none so far."""
    free = table.block[positions] < 0
    table.place[positions[free]] = np.flatnonzero(free)
    table.block[positions[free]] = number


def _identities(
    hashes: NDArray[np.uint8], positions: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], str]]:
    """Yield the blocks of rows that may have been read together, each by all that it may be known by."""
    for size in (SMALLEST_BLOCK, embed.SMALLEST_BLOCK, max(len(hashes), 1)):
        for block in blocks_of(positions, len(hashes), size):
            digest = block_digest(hashes[block])
            yield block, digest
            for compare in COMPARED:
                yield block, f"{digest_of([digest, compare])} {compare}"


def _hashes(run: RunFolder, rows: Table) -> NDArray[np.uint8]:
    """Return the hash of each row, as stored; hashing them anew takes no model."""
    store, parts = _store(run), [np.empty((0, 16), dtype=np.uint8)]
    for part in table_parts(rows):
        call = row_hashes.call(part)
        artifact = store.look_up(call)
        if artifact is not None and artifact.file("row_hashes.npy").is_file():
            parts.append(call.function.stored(artifact).array())
        else:
            parts.append(row_hashes(part))
    return np.concatenate(parts)


def _read_positions(run: RunFolder, pool: Table) -> list[NDArray[np.int64]]:
    """Return the positions of rows that some step may have read together, each set once."""
    order = pool.scan().select("row_id").with_row_index("position")
    fates = order.join(run.table("ledger"), on="row_id", how="left", maintain_order="left")
    names = stage_names(run.config.stages)
    # A pass reads rows that were dropped for what example sets hold, too.
    reading = [name for name, stage in zip(names, run.config.stages, strict=True) if stage.uses]
    dropped = pl.col("fate") == "dropped"
    kept, lasting = ~dropped, ~dropped | pl.col("stage").is_in(reading)
    sets = [fates.filter(kept), fates.filter(lasting), order]
    for name in names:
        if run.has(f"evidence/{name}"):
            sets.append(order.join(run.table(f"evidence/{name}"), on="row_id", how="semi"))
    arrays = [
        one.select("position").sort("position").collect()["position"].to_numpy() for one in sets
    ]
    return list({one.tobytes(): one.astype(np.int64) for one in arrays}.values())


def _label(run: RunFolder, space: _Space) -> str:
    """Return in words by which model the vectors are, and of what."""
    models, of = run.config.models, WORDS[space[1]]
    if not space[0].startswith(f"{EMBED} "):
        return f"{of} by the base model, {models.base}"
    methods = [*run.config.stages, run.select, *run.config.compare]
    names = {getattr(one, "embedder", None) or models.embedder for one in methods}
    embedder = f"the embedder {names.pop()}" if len(names) == 1 else "a sentence embedder"
    return f"{of} by {embedder}"


def _open_vectors(path: Path) -> NDArray[np.float32]:
    """Return a block's vectors [n, d], mapped into memory.

    Raises:
        UserError: the file holds none.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path) from error
    if array.ndim != 2 or array.dtype != np.float32:
        raise _damaged(path)
    return array  # type: ignore[no-any-return]


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path}: damaged vectors; `curate store verify --delete` removes them, and `curate run` "
        "makes them anew"
    )
