"""Entries of a pool as a key knows them: their settings, and their files by their bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, cast

from curate.core.store import Artifact
from curate.pool.files import PoolFile, digest_url
from curate.pool.settings import FieldNames, RowFile


class FileIdentity(TypedDict):
    """What a file of an entry is known by."""

    name: str
    digest: str
    split: str | None


class EntryIdentity(TypedDict):
    """What an entry is known by: its settings without the path, and its files."""

    source: str
    fields: FieldNames | None
    strip_end: str | None
    sample: int | None
    split: str | None
    prompts: NotRequired[bool]
    files: list[FileIdentity]


@dataclass(frozen=True)
class PoolEntries:
    """What of a recipe is read into rows: entries, their files known by their bytes.

    identity: of each entry its settings, and name, digest and split of its files.
    urls: of each entry those of its files.
    keys: of the entries in the recipe, for errors.
    """

    identity: Sequence[EntryIdentity]
    urls: Sequence[Sequence[str]]
    keys: Sequence[str]
    reads: tuple[Artifact, ...] = ()


def identity_of(entry: RowFile, files: Sequence[PoolFile], prompts: bool) -> EntryIdentity:
    """Return what an entry is known by in the key of the call that reads it."""
    identity: dict[str, Any] = {
        **entry.model_dump(mode="json", exclude={"path", "eval"}),
        "source": entry.source_name,
        **({"prompts": True} if prompts else {}),
        "files": [
            {"name": file.name, "digest": digest_url(file), "split": file.split} for file in files
        ],
    }
    return cast(EntryIdentity, identity)
