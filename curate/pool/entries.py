"""Entries of a pool as a key knows them: their settings, and their files by their bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from curate.core.localfiles import MIB, read_text
from curate.core.store import Artifact
from curate.pool.files import PoolFile, digest_url
from curate.pool.layouts.template import check_template
from curate.pool.settings import FieldNames, RowFile, TemplateSource


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
    template: NotRequired[TemplateSource]
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


def identity_of(
    entry: RowFile, files: Sequence[PoolFile], prompts: bool, seed: int
) -> EntryIdentity:
    """Return what an entry is known by in the key of the call that reads it.

    Raises:
        UserError: a template is not there, or is none.
    """
    template = _template_source(entry, prompts, seed)
    identity: dict[str, Any] = {
        **entry.model_dump(mode="json", exclude={"path", "eval", "template", "labels"}),
        "source": entry.source_name,
        **({"prompts": True} if prompts else {}),
        **({"template": template} if template else {}),
        "files": [
            {"name": file.name, "digest": digest_url(file), "split": file.split} for file in files
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
