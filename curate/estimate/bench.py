"""How fast a model is here, measured in a second or two."""

import time
from dataclasses import dataclass
from typing import Any, Literal

from curate.core.errors import UserError
from curate.estimate.base_model import forward_pace
from curate.models.load import (
    ModelLocation,
    choose_dtype,
    device,
    find_model,
    load_embedder,
    prepare,
)

TEXTS, ROW_TOKENS = 256, 64
WORDS = "where the rows of a pool come from is known and so is why they were chosen".split()  # noqa: SIM905


@dataclass(frozen=True)
class ModelDescription:
    """A model as it is here: what it is, where it came from, and its speed; or why it is not available.

    Attributes:
        name: as a recipe names it.
        kind: language model or embedder; None where it is not available.
        origin: where it came from.
        path: where it lies.
        speed: tokens read, or texts embedded, a second.
        precision: of a language model.
        device: that it runs on.
        fault: why it is not available.
    """

    name: str
    kind: Literal["language model", "embedder"] | None = None
    origin: str | None = None
    path: str | None = None
    speed: float | None = None
    precision: str | None = None
    device: str | None = None
    fault: str | None = None

    @property
    def lines(self) -> str:
        """Return the description in words, for a terminal."""
        if self.fault is not None:
            return f"{self.name:<14} not available: {self.fault}"
        speed = f"{self.speed:,.0f} texts/s of {len(WORDS)} words"
        if self.precision:
            speed = f"{self.speed:,.0f} tokens/s forward, {self.precision} on {self.device}"
        return f"{self.name:<14} {self.kind}, {self.origin}, {speed}\n{'':<14} {self.path}"


def describe_model(name: str) -> ModelDescription:
    """Return what a model is, where it came from, and its speed on this machine.

    A model that does not resolve is described by why, which is no error: the point is to see.
    """
    try:
        return _describe(name, find_model(name))
    except UserError as error:
        return ModelDescription(name, fault=str(error))


def _describe(name: str, location: ModelLocation) -> ModelDescription:
    if not _is_language_model(location):
        speed = _embedding_speed(load_embedder(location))
        return ModelDescription(name, "embedder", location.origin, str(location.path), speed)
    precision = choose_dtype("auto")
    speed = 1 / forward_pace(name, precision, [ROW_TOKENS]).likely
    path = str(prepare(location))
    return ModelDescription(
        name, "language model", location.origin, path, speed, precision, device()
    )


def _is_language_model(location: ModelLocation) -> bool:
    if location.path.suffix == ".gguf":
        return True
    if location.path.is_file() or (location.path / "modules.json").is_file():
        return False
    return (location.path / "config.json").is_file()


def _embedding_speed(model: Any) -> float:
    texts = [" ".join(WORDS[i % len(WORDS) :] + WORDS[: i % len(WORDS)]) for i in range(TEXTS)]
    model.encode(texts[:8])
    started = time.perf_counter()
    model.encode(texts)
    return TEXTS / (time.perf_counter() - started)
