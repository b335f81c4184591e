"""Sets of rows: the files that a recipe names for one purpose, such as its pool, read to one table.

    pool = row_set("pool", [RowFile(path="a/"), RowFile(path="b.jsonl")], seed=0, max_rejected=0.05)
    rows = pool.read(run)              # a Table: pool-.../rows/00000.parquet, 00001.parquet ...

Each file is a step of its own, so one that changes, or is new, is all that is read again. A big file of
JSON Lines is several (curate.pool.ranges).
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from curate.core.calls import CachedCall, CallRunner, Table
from curate.core.errors import UserError, named_key
from curate.core.reasons import EXPLAINED, Reason
from curate.core.run import StepRun
from curate.core.store import Artifact
from curate.core.tables import scan_table
from curate.pool.entries import FilesOfEntry, Leaves, PoolEntries, entry_files, find_entry
from curate.pool.ingest import ingest
from curate.pool.join import write_tables
from curate.pool.layouts import own_layouts
from curate.pool.partprocesses import processes_kept
from curate.pool.ranges import entry_steps
from curate.pool.records import LONGEST
from curate.pool.settings import RowFile

LOG = logging.getLogger("curate")
MAX_LISTED_NAMES, MAX_LISTED_FILES = 5, 50
POOL = "pool"
# What rows are rejected for that lack nothing but their response.
UNANSWERED = frozenset({Reason.LAST_TURN_NOT_ASSISTANT, Reason.EMPTY_RESPONSE})
UNANSWERED_OR_ELSE = UNANSWERED | {Reason.MISSING_FIELD}
ADVICE = (
    "Rows that lack their response alone can be answered: `ingest: {prompts: true}` with "
    "`generate: {methods: [{method: answer}]}`"
)


@dataclass(frozen=True)
class RowSet:
    """Files that are read to one table of rows.

    Attributes:
        name: of the table.
        entries: of the recipe, with the files of each.
        calls: that read these files, in their order.
        numbers: of the entry that each call reads.
        max_rejected: share of records that may make no row.
    """

    name: str
    entries: PoolEntries
    calls: Sequence[CachedCall[Artifact]]
    numbers: Sequence[int]
    max_rejected: float

    def read(self, run: CallRunner | StepRun) -> Table:
        """Return the rows, with the rejects beside them.

        Raises:
            UserError: as read_sets.
        """
        return read_sets(run, [self])[0]

    def joined(self, parts: Sequence[Artifact]) -> CachedCall[Artifact]:
        """Return the call that puts the rows of all files together, after a look at what they are.

        Raises:
            UserError: there is no record at all, or more than `max_rejected` of them are bad.
        """
        rejected = _sum(part.counts["rejected"] for part in parts)
        rows = sum(part.counts["rows_out"] for part in parts)
        if fault := self._no_record(parts):
            raise UserError(fault)
        left = sum(part.counts.get("left", 0) for part in parts)
        total = rows + left + rejected.total()
        if rejected.total() > self.max_rejected * total or (parts and not rows + left):
            advice = self._may_be_prompts and not UNANSWERED_OR_ELSE.isdisjoint(rejected)
            raise UserError(_too_many(rejected, total, self.max_rejected, parts, advice))
        _log_remarks(parts, self._may_be_prompts)
        return write_tables.call([Table(part, "rows") for part in parts]).named(self.name)

    @property
    def _may_be_prompts(self) -> bool:
        """Return whether rows without a response could be prompts, and `ingest.prompts` is not set."""
        return self.name == POOL and not any("leaves" in one.identity for one in self.entries.files)

    def _no_record(self, parts: Sequence[Artifact]) -> str | None:
        """Return what is to be said where nothing was read: from all of a pool, or one example set."""
        records = [0] * len(self.entries.files)
        for number, part in zip(self.numbers, parts, strict=True):
            records[number] += part.counts["rows_in"] + part.counts.get("left", 0)
        lacking = [number for number, count in enumerate(records) if not count]
        keys = self.entries.keys
        if not lacking or (keys[lacking[0]].startswith("pool") and any(records)):
            return None
        urls = [url for number in lacking for url in self.entries.files[number].urls]
        places = ", ".join(keys[number] for number in lacking)
        return (
            f"{places}: there is no record at all in {_listed(urls)}; every file is empty or blank"
        )


def row_set(
    name: str,
    entries: Sequence[RowFile],
    *,
    seed: int,
    max_rejected: float,
    prompts: bool = False,
    keys: Sequence[str] = (),
    leaves: Mapping[str, Leaves] | None = None,
) -> RowSet:
    """Return what is read of entries; the keys of its calls hold the digest of every file's bytes.

    Args:
        name: of the table.
        entries: what is to be read.
        seed: of samples.
        max_rejected: share of records that may make no row.
        prompts: read prompts without an answer as well.
        keys: of the entries in the recipe, for errors; the name if none are given.
        leaves: which rows of an entry of this source are read elsewhere; others are no rejects there.

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
    files: list[FilesOfEntry] = []
    entry_keys = keys or [name] * len(entries)
    for entry, key in zip(entries, entry_keys, strict=True):
        with named_key(key):
            left = (leaves or {}).get(entry.source_name)
            both = prompts or left is not None
            files.append(
                entry_files(entry, *find_entry(entry), prompts=both, seed=seed, leaves=left)
            )
    own = own_layouts()
    steps = [(number, step) for number, one in enumerate(files) for step in entry_steps(one)]
    calls = [ingest.call(step, seed, own) for _, step in steps]
    numbers = [number for number, _ in steps]
    return RowSet(name, PoolEntries(files, entry_keys), calls, numbers, max_rejected)


def read_sets(run: CallRunner | StepRun, sets: Sequence[RowSet]) -> list[Table]:
    """Return the rows of each set, the files of all of them read side by side.

    Raises:
        UserError: a file's format is unknown, it is not the one that its key speaks of, there is no
            record at all, or too many of them are bad.
    """
    with processes_kept():
        parts = iter(run.results([call for one in sets for call in one.calls]))
    joined = [one.joined([next(parts) for _ in one.calls]) for one in sets]
    return [Table(artifact, "rows") for artifact in run.results(joined)]


def _sum(counts: Iterator[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _log_remarks(parts: Sequence[Artifact], may_be_prompts: bool) -> None:
    """Log what is odd about files, and what became of pairs."""
    if empty := [file for part in parts for file in part.counts.get("empty", [])]:
        listed = _listed(empty, MAX_LISTED_FILES)
        LOG.warning("files without any record: %d (%s)", len(empty), listed)
    if too_long := sum(part.counts["rejected"].get(Reason.RECORD_TOO_LONG, 0) for part in parts):
        LOG.warning("records of more than %s bytes, rejected: %d", f"{LONGEST:,}", too_long)
    if repeated := sum(part.counts.get("repeated_keys", 0) for part in parts):
        named = [place for part in parts for place in part.counts.get("repeated", [])]
        LOG.warning(
            "records with a key that comes twice, of which the last counts: %d (%s)",
            repeated,
            _listed(named, count=repeated),
        )
    rejected = _sum(part.counts["rejected"] for part in parts)
    lacking = sum(rejected[reason] for reason in UNANSWERED)
    if lacking and may_be_prompts:
        LOG.info("records without a response, rejected: %d. %s", lacking, ADVICE)
    if pairs := sum(part.counts.get("preferences", 0) for part in parts):
        LOG.info(
            "preference records: %d; the chosen answer is the row, the other its `rejected`", pairs
        )


def _listed(names: Sequence[str], most: int = MAX_LISTED_NAMES, count: int | None = None) -> str:
    count = len(names) if count is None else count
    more = f" and {count - most:,} more" if count > most else ""
    return ", ".join(names[:most]) + more


def _too_many(
    rejected: Counter[str], total: int, limit: float, parts: Sequence[Artifact], advice: bool
) -> str:
    lines = [
        f"{rejected.total()} of {total} records make no row; at most {limit:.0%} may "
        "(ingest.max_rejected sets that for the pool; targets and eval sets allow none)."
    ]
    for reason, count in rejected.most_common(3):
        lines.append(f"  {count} x {reason}: the record {EXPLAINED[Reason(reason)]}")
    if advice:
        lines.append(f"  {ADVICE}")
    rejects = scan_table([part.file("rejects.parquet") for part in parts])
    for bad in rejects.head(3).collect().to_dicts():
        lines.append(f"  {bad['file']}:{bad['position']}: {bad['reason']} ({bad['field']})")
    return "\n".join(lines)
