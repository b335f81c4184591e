"""Things that a key knows by what they are, and a worker by where they lie: models, engines, rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from curate.core.jsontypes import JSON

if TYPE_CHECKING:
    from curate.core.store import Artifact


@runtime_checkable
class Keyed(Protocol):
    """An argument of a cached call that is identified by something other than where it lies."""

    @property
    def identity(self) -> Any:
        """Return a JSON-like value that goes into the key."""
        ...

    @property
    def reads(self) -> "Sequence[Artifact]":
        """Return the artifacts that it lies in."""
        ...


class KeyedRecord:
    """Base of a dataclass of plain values, which goes into a key as these."""

    @property
    def identity(self) -> dict[str, Any]:
        """Return the fields."""
        return dict(vars(self))

    @property
    def reads(self) -> "Sequence[Artifact]":
        """Return nothing: it lies in no artifact."""
        return ()


@dataclass(frozen=True)
class ModelSource:
    """A language model: what identifies it, and the folder of its files.

    `name` is what other machines find it by: a hub id, an embedded model or a folder. `trust` lets code
    of the model run; `judges` says that its chat template may refuse rows that the base model's takes.
    """

    identity: Mapping[str, JSON]
    folder: Path
    trust: bool = False
    judges: bool = False
    name: str = ""
    reads: "tuple[Artifact, ...]" = ()

    @property
    def dtype(self) -> str:
        """Return the type of its weights."""
        return str(self.identity["dtype"])


@dataclass(frozen=True)
class EmbedderSource:
    """A sentence embedder: what identifies it, and its name."""

    identity: Mapping[str, JSON]
    name: str
    reads: "tuple[Artifact, ...]" = ()


@dataclass(frozen=True)
class EngineSource:
    """An engine of a recipe: what identifies it, how the recipe writes it, and the cache of its answers.

    `models` are the recipe's models, of which an engine may serve the base. `bucket` is the URL of the
    store through which machines share the answers, None if it is a folder.
    """

    identity: Mapping[str, JSON]
    engine: Mapping[str, JSON]
    models: Mapping[str, JSON]
    cache: Path
    bucket: str | None = None
    reads: "tuple[Artifact, ...]" = ()


@dataclass(frozen=True)
class KeyedFile:
    """A file of a user, identified by the digest of its bytes (curate.core.localfiles)."""

    identity: str
    path: Path
    reads: "tuple[Artifact, ...]" = ()
