"""Read the pool's files into rows; what makes no row goes to the rejects, with file, line and reason.

rows.parquet      the rows, in the order of files and positions
rejects.parquet   file, position, reason, field, raw (first 2,000 characters)
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from curate.core.calls import CachedCall, cached_files
from curate.core.errors import UserError, named_key
from curate.core.reasons import EXPLAINED, Reason
from curate.core.rows import SCHEMA
from curate.core.store import Artifact, Counts
from curate.core.tables import grouped_writer, scan_table
from curate.pool.entries import EntryIdentity, PoolEntries, find_entry, identity_of
from curate.pool.layouts import own_layouts
from curate.pool.parts import entry_parts
from curate.pool.partworkers import PartWorkers, usual_workers
from curate.pool.records import LONGEST
from curate.pool.settings import RowFile

LOG = logging.getLogger("curate")
VERSION = 7
MAX_LISTED_NAMES, MAX_LISTED_FILES = 5, 50
REJECTS_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("position", pa.int64()),
        ("reason", pa.string()),
        ("field", pa.string()),
        ("raw", pa.string()),
    ]
)


def ingest_call(
    name: str,
    entries: Sequence[RowFile],
    *,
    seed: int,
    max_rejected: float,
    prompts: bool = False,
    keys: Sequence[str] = (),
) -> CachedCall[Artifact]:
    """Return the call that reads entries; its key holds the digest of every file's bytes.

    Args:
        name: of the artifact.
        entries: what is to be read.
        seed: of samples.
        max_rejected: share of records that may make no row.
        prompts: read prompts without an answer as well.
        keys: of the entries in the recipe, for errors; the name if none are given.

    Raises:
        UserError: an entry's path leads to no file, or two entries share a source name.
    """
    sources = Counter(entry.source_name for entry in entries)
    for source, times in sources.items():
        if times > 1:
            raise UserError(
                f"{name}: {times} entries have the source name {source!r}; row ids are made of it, "
                "so give each entry its own `source:`"
            )
    identities: list[EntryIdentity] = []
    urls: list[list[str]] = []
    entry_keys = keys or [name] * len(entries)
    for entry, key in zip(entries, entry_keys, strict=True):
        with named_key(key):
            files, hub = find_entry(entry)
            identities.append(identity_of(entry, files, prompts, seed, hub))
        urls.append([file.url for file in files])
    read = PoolEntries(identities, urls, entry_keys)
    return ingest.call(read, seed, max_rejected, own_layouts()).named(name)


@cached_files(version=VERSION, name="ingest")
def ingest(
    out: Path,
    entries: PoolEntries,
    seed: int,
    max_rejected: float,
    own: Sequence[Sequence[str | int]] | None = None,
) -> Counts:
    """Write rows.parquet and rejects.parquet; return rows_in, rows_out and rejected by reason.

    Files without any record are counted as empty_files, where there are some. `own` are names and
    versions of the layouts that are not the package's, which the key knows.

    Raises:
        UserError: a file's format is unknown, it is not the one that the key speaks of, there is no
            record at all, or more than `max_rejected` of them are bad.
    """
    rejected: Counter[str] = Counter()
    layouts: Counter[str] = Counter()
    rows_out = 0
    empty: list[str] = []
    repeated: list[str] = []
    records: list[int] = []
    # Layouts of a plugin are known to this process alone.
    with (
        PartWorkers(1 if own else usual_workers()) as workers,
        grouped_writer(out / "rows.parquet", SCHEMA) as write_rows,
        grouped_writer(out / "rejects.parquet", REJECTS_SCHEMA) as write_rejects,
    ):
        for entry, urls in zip(entries.identity, entries.urls, strict=True):
            for batch in workers.read(entry_parts(entry, urls, seed)):
                write_rows(batch.rows)
                write_rejects(pa.Table.from_pylist(batch.rejects, schema=REJECTS_SCHEMA))
                rows_out += batch.rows.num_rows
                rejected.update(reject["reason"] for reject in batch.rejects)
                layouts.update(layout for layout, _ in batch.layouts.elements())
                empty += [batch.file] if batch.empty else []
                repeated += batch.repeated
            records.append(rows_out + rejected.total() - sum(records))
    total = rows_out + rejected.total()
    if fault := _no_record(records, entries):
        raise UserError(fault)
    if rejected.total() > max_rejected * total or (entries.identity and not rows_out):
        raise UserError(_too_many(rejected, total, max_rejected, out))
    counts = {"rows_in": total, "rows_out": rows_out, "rejected": dict(sorted(rejected.items()))}
    _log_remarks(empty, repeated, rejected, layouts)
    more = {"empty_files": len(empty), "repeated_keys": len(repeated)}
    return counts | {name: count for name, count in more.items() if count}


def _log_remarks(
    empty: Sequence[str], repeated: Sequence[str], rejected: Counter[str], layouts: Counter[str]
) -> None:
    """Log what is odd about files, and what became of pairs."""
    if empty:
        listed = _listed(empty, MAX_LISTED_FILES)
        LOG.warning("files without any record: %d (%s)", len(empty), listed)
    if too_long := rejected[Reason.RECORD_TOO_LONG]:
        LOG.warning("records of more than %s bytes, rejected: %d", f"{LONGEST:,}", too_long)
    if repeated:
        LOG.warning(
            "records with a key that comes twice, of which the last counts: %d (%s)",
            len(repeated),
            _listed(repeated),
        )
    if pairs := layouts["preference"]:
        LOG.info(
            "preference records: %d; the chosen answer is the row, the other its `rejected`", pairs
        )


def _no_record(records: Sequence[int], entries: PoolEntries) -> str | None:
    """Return what is to be said where nothing was read: from all of a pool, or from one example set.

    Args:
        records: how many each entry has.
        entries: key and files of each.
    """
    lacking = [number for number, count in enumerate(records) if not count]
    if not lacking or (entries.keys[lacking[0]].startswith("pool") and any(records)):
        return None
    urls = [url for number in lacking for url in entries.urls[number]]
    keys = ", ".join(entries.keys[number] for number in lacking)
    return f"{keys}: there is no record at all in {_listed(urls)}; every file is empty or blank"


def _listed(names: Sequence[str], most: int = MAX_LISTED_NAMES) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _too_many(rejected: Counter[str], total: int, limit: float, out: Path) -> str:
    lines = [
        f"{rejected.total()} of {total} records make no row; at most {limit:.0%} may "
        "(ingest.max_rejected sets that for the pool; targets and eval sets allow none)."
    ]
    for reason, count in rejected.most_common(3):
        lines.append(f"  {count} x {reason}: the record {EXPLAINED[Reason(reason)]}")
    for bad in scan_table(out / "rejects.parquet").head(3).collect().to_dicts():
        lines.append(f"  {bad['file']}:{bad['position']}: {bad['reason']} ({bad['field']})")
    return "\n".join(lines)
