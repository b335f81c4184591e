"""What a store holds: how much, whether it is whole, and what no run needs any more."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from curate.core.bucket import RENEWAL_SECONDS, is_bucket, open_store
from curate.core.errors import UserError
from curate.core.store import KEY_CHARS, Store, StoreEntry
from curate.core.workspace import living, workspace
from curate.llm.segments import shared_bytes
from curate.runs.folder import read_manifest

DAY_SECONDS = 24 * 3600.0
COMPLETIONS = "completions.sqlite"
RUNNING = "running"


def existing_store(address: str) -> Store:
    """Return a store that there is already.

    Raises:
        UserError: there is none.
    """
    if not is_bucket(address) and not Path(address).is_dir():
        raise UserError(f"{address}: there is no such store; give the `store` of a recipe")
    return open_store(address)


@contextmanager
def at_work(store: Store) -> Iterator[None]:
    """Mark a store as one that a run works on, whatever it has used: a locked folder in `running`."""
    with ExitStack() as stack:
        # From a store that can only be read nothing is removed.
        with suppress(OSError):
            stack.enter_context(workspace(store.root / RUNNING))
        yield


@dataclass(frozen=True)
class StepUsage:
    """How many artifacts a store has of a step, and their bytes."""

    step: str
    artifacts: int
    bytes: int


@dataclass(frozen=True)
class StoreUsage:
    """What a store takes in bytes: its steps, the largest first, and what else lies in the folder."""

    steps: list[StepUsage]
    unfinished: int
    answers: int


def store_usage(store: Store) -> StoreUsage:
    """Return what a store takes."""
    totals: dict[str, tuple[int, int]] = {}
    for entry in store.entries():
        number, size = totals.get(entry.step, (0, 0))
        totals[entry.step] = number + 1, size + entry.bytes
    steps = [StepUsage(step, number, size) for step, (number, size) in totals.items()]
    answers = sum(path.stat().st_size for path in store.root.glob(f"{COMPLETIONS}*"))
    answers += shared_bytes(store.address) if is_bucket(store.address) else 0
    unfinished = _bytes_below(store.root / "tmp")
    return StoreUsage(sorted(steps, key=lambda one: -one.bytes), unfinished, answers)


def usage_lines(usage: StoreUsage) -> Iterator[str]:
    """Yield what each step's artifacts take, the largest first, and what else lies in the folder."""
    yield f"{'step':<28}{'artifacts':>10}{'MB':>12}"
    for one in usage.steps:
        yield f"{one.step:<28}{one.artifacts:>10,}{megabytes(one.bytes):>12}"
    number, size = (sum(getattr(one, n) for one in usage.steps) for n in ("artifacts", "bytes"))
    yield f"{'total':<28}{number:>10,}{megabytes(size):>12}"
    if usage.unfinished:
        yield f"{'unfinished work':<38}{megabytes(usage.unfinished):>12}"
    if usage.answers:
        yield f"{'answers of language models':<38}{megabytes(usage.answers):>12}"


def damaged_entries(store: Store) -> Iterator[tuple[StoreEntry, list[str]]]:
    """Yield the artifacts that are damaged, with the files that are; every byte is read."""
    for entry in store.entries():
        if files := store.damage(entry.name):
            yield entry, files


def unneeded_entries(store: Store, runs: Iterable[Path], days: float) -> list[StoreEntry]:
    """Return the artifacts that no run needs and that nothing has used for so many days.

    Args:
        store: that holds them.
        runs: run folders, and folders of run folders.
        days: runs whose folders are elsewhere show by using them. What a run at work may have used
            stays in any case.
    """
    needed, since = needed_names(runs), time.time() - days * DAY_SECONDS
    starts = [folder.stat().st_mtime for folder in living(store.root / RUNNING)]
    # Of what lies in a bucket the time of use is that old at most.
    since = min([since, *(start - RENEWAL_SECONDS for start in starts)])
    return [e for e in store.entries() if e.name not in needed and e.used < since]


def needed_names(runs: Iterable[Path]) -> set[str]:
    """Return the folders of the artifacts that runs are made of."""
    names: set[str] = set()
    for manifest in filter(None, map(read_manifest, _run_folders(runs))):
        names |= {str(name) for name in manifest["artifacts"].values()}
        for stage in manifest["stages"]:
            step = stage["stage"].partition(" (")[0]
            names |= {f"{step}-{key[:KEY_CHARS]}" for key in stage["keys"]}
    return names


def megabytes(size: int) -> str:
    """Return a number of bytes in MB."""
    return f"{size / 1e6:,.1f}"


def total_line(entries: Sequence[StoreEntry], what: str) -> str:
    """Return how many artifacts there are and what they take, in words."""
    size = megabytes(sum(entry.bytes for entry in entries))
    return f"{len(entries):,} {'artifact' if len(entries) == 1 else 'artifacts'} {what}, {size} MB"


def removal_lines(entries: Sequence[StoreEntry], *, removed: bool) -> Iterator[str]:
    """Yield the artifacts that no run needs, and whether they were removed."""
    for entry in entries:
        yield f"{entry.name:<60}{megabytes(entry.bytes):>12} MB"
    yield total_line(entries, "removed" if removed else "that no run folder needs")
    if entries and not removed:
        yield "--delete removes them"


def _run_folders(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield place
        if place.is_dir():
            yield from (path for path in sorted(place.iterdir()) if path.is_dir())


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
