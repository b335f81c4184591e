"""Entries of a pool as a key knows them: their settings, and their files by their bytes.

Of a data set of the hub the key has the commit. So a branch that moved makes a new key, and the same
commit makes the same key with and without a network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.localfiles import MIB, read_text
from curate.core.store import Artifact
from curate.pool.bigfiles import cut_file
from curate.pool.cuts import GroupRange, LineRange
from curate.pool.files import PoolFile, digest_url, find_files
from curate.pool.hubaddress import parse_address
from curate.pool.hubrepo import HubFiles, find_hub_files
from curate.pool.layouts.template import check_template
from curate.pool.settings import FieldNames, RowFile, TemplateSource

# Which rows of an entry are read elsewhere: those with a response, or those without one.
Leaves = Literal["answered", "unanswered"]


class RangeIdentity(TypedDict):
    """What lines of a file are known by, beside the digest of their bytes: where they are.

    head: digest of the file's first records, by which its layout is told.
    """

    start: int
    bytes: int
    first: int
    head: str


class GroupsIdentity(TypedDict):
    """What row groups of a file are known by, beside the digest of their bytes: as GroupRange has them.

    head: digest of the file's first records, by which its layout is told.
    """

    footer: str
    group: int
    count: int
    first: int
    head: str


class FileIdentity(TypedDict):
    """What a file of an entry, or a range of its lines or row groups, is known by."""

    name: str
    digest: str
    split: str | None
    lines: NotRequired[RangeIdentity]
    groups: NotRequired[GroupsIdentity]


class HubIdentity(TypedDict):
    """What a data set of the hub is known by."""

    repo: str
    commit: str
    config: str | None
    split: str | None


class EntryIdentity(TypedDict):
    """What an entry is known by: its settings without the path, and its files."""

    source: str
    fields: FieldNames | None
    strip_end: str | None
    sample: int | None
    split: str | None
    prompts: NotRequired[bool]
    leaves: NotRequired[Leaves]
    template: NotRequired[TemplateSource]
    hub: NotRequired[HubIdentity]
    files: list[FileIdentity]


def files_of(entry: EntryIdentity, urls: Sequence[str]) -> list[PoolFile]:
    """Return the files that an entry is known by, which lie there."""
    return [
        PoolFile(url, file["name"], file["digest"], file["split"])
        for url, file in zip(urls, entry["files"], strict=True)
    ]


# The files of an entry are read in so many steps at most: a step a file, or for some of them.
MOST_PARTS = 128


@dataclass(frozen=True)
class FilesOfEntry:
    """Files of an entry of a recipe, known by their bytes.

    identity: the entry's settings, and name, digest and split of the files.
    urls: those of the files.
    ranges: of each file that is big and is cut, by its URL; what these are known by makes its digest.
    """

    identity: EntryIdentity
    urls: Sequence[str]
    ranges: Mapping[str, Sequence[LineRange | GroupRange]] = field(default_factory=dict)
    reads: tuple[Artifact, ...] = ()

    @property
    def range_bytes(self) -> int:
        """Return how many bytes the ranges of lines have; 0 for files that are none."""
        return sum(file["lines"]["bytes"] for file in self.identity["files"] if "lines" in file)

    @property
    def groups(self) -> "list[FilesOfEntry]":
        """Return what is read together: every file by itself, or some of very many.

        A sample is one of all files, which are read together.
        """
        files, size = self.identity["files"], 1
        if self.identity["sample"] is not None:
            size = max(len(files), 1)
        while len(files) > size * MOST_PARTS:
            size *= 2
        return [
            FilesOfEntry(
                {**self.identity, "files": files[at : at + size]},
                self.urls[at : at + size],
                self.ranges,
            )
            for at in range(0, len(files), size)
        ]


@dataclass(frozen=True)
class PoolEntries:
    """What of a recipe is read into rows: the files of each entry, and the entries' keys in it."""

    files: Sequence[FilesOfEntry]
    keys: Sequence[str]


def find_entry(entry: RowFile) -> tuple[Sequence[PoolFile], HubIdentity | None]:
    """Return the files of an entry, and of which data set of the hub they are, if of one.

    Raises:
        UserError: nothing is there, or there are several splits or configurations and none is named.
    """
    return find_source(entry.path, entry.split, entry.config, entry.revision)


def find_source(
    path: str, split: str | None, config: str | None, revision: str | None
) -> tuple[Sequence[PoolFile], HubIdentity | None]:
    """Return the files of a path, URL or data set of the hub, and of which data set they are.

    Raises:
        UserError: nothing is there, or there are several splits or configurations and none is named.
    """
    address = parse_address(path, revision)
    if address is None:
        if revision:
            raise UserError(
                f"{path} is no data set of the hub (owner/name), and only those have a "
                f"`revision:`; leave out {revision!r}"
            )
        return find_files(path, split, config), None
    hub = find_hub_files(address, config, split)
    return hub.files, _hub_identity(hub)


def _hub_identity(hub: HubFiles) -> HubIdentity:
    return {"repo": hub.repo, "commit": hub.commit, "config": hub.config, "split": hub.split}


def entry_files(
    entry: RowFile,
    files: Sequence[PoolFile],
    hub: HubIdentity | None,
    *,
    prompts: bool,
    seed: int,
    leaves: Leaves | None = None,
) -> FilesOfEntry:
    """Return the files of an entry as the keys of the calls that read them know them.

    Raises:
        UserError: as identity_of.
    """
    together = entry.sample is not None or len(files) > MOST_PARTS
    cuts = {} if together else {file.url: cut_file(file) for file in files}
    ranges = {url: cut for url, cut in cuts.items() if cut}
    # What is read range by range needs no digest of all its bytes.
    files = [
        replace(file, digest=digest_of([vars(one) for one in ranges[file.url]]))
        if file.url in ranges
        else file
        for file in files
    ]
    identity = identity_of(entry, files, prompts, seed, hub)
    if leaves:
        identity["leaves"] = leaves
    return FilesOfEntry(identity, [file.url for file in files], ranges)


def identity_of(
    entry: RowFile,
    files: Sequence[PoolFile],
    prompts: bool,
    seed: int,
    hub: HubIdentity | None = None,
) -> EntryIdentity:
    """Return what an entry is known by in the keys of the calls that read it.

    Raises:
        UserError: a template is not there, or is none, or no response is named where one is needed.
    """
    if entry.fields and entry.fields.prompt and not (entry.fields.response or prompts):
        raise UserError(
            "fields: name the `response` beside the `prompt`; prompts alone belong under `prompts:`, or "
            "for the leak check under `protected:`"
        )
    template = _template_source(entry, prompts, seed)
    apart = {"path", "eval", "template", "labels", "config", "revision", "license"}
    identity: dict[str, Any] = {
        **entry.model_dump(mode="json", exclude=apart),
        "source": entry.source_name,
        **({"prompts": True} if prompts else {}),
        **({"template": template} if template else {}),
        **({"hub": hub} if hub else {}),
        "files": [
            {"name": file.name, "digest": file.digest or digest_url(file), "split": file.split}
            for file in files
        ],
    }
    return cast(EntryIdentity, identity)


def _template_source(entry: RowFile, prompts: bool, seed: int) -> TemplateSource | None:
    """Return an entry's templates by what they say, not by where they are; None without any."""
    if not entry.template:
        return None
    texts = []
    for path in entry.template:
        text = read_text(Path(path).expanduser(), "the template", most=MIB)
        check_template(text, path, prompts=prompts)
        texts.append(text)
    labels = {field: dict(names) for field, names in (entry.labels or {}).items()}
    # One template needs no draw.
    return {"texts": texts, "labels": labels, "seed": seed if len(texts) > 1 else 0}
