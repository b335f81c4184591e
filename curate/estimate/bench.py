"""How fast a model is here, measured in a second or two."""

import time
from typing import Any

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


def describe_model(name: str) -> str:
    """Return one line: name, what it is, where it came from, and its speed on this machine.

    A model that does not resolve gets a line that says why, not an error: the point is to see.
    """
    try:
        return _describe(name, find_model(name))
    except UserError as error:
        return f"{name:<14} not available: {error}"


def _describe(name: str, location: ModelLocation) -> str:
    if _is_language_model(location):
        dtype = choose_dtype("auto")
        pace = forward_pace(name, dtype, [ROW_TOKENS])
        speed = f"{1 / pace.likely:,.0f} tokens/s forward, {dtype} on {device()}"
        return (
            f"{name:<14} language model, {location.origin}, {speed}\n{'':<14} {prepare(location)}"
        )
    speed = f"{_embedding_speed(load_embedder(location)):,.0f} texts/s of {len(WORDS)} words"
    return f"{name:<14} embedder, {location.origin}, {speed}\n{'':<14} {location.path}"


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
