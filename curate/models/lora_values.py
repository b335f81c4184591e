"""The JSON of LoRA settings, as keys of cached calls have it."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

# The proof's settings.
RANK, ALPHA, BATCH_ROWS = 16, 32, 8


class AdapterValues(TypedDict):
    """The size of adapters: their rank, and alpha, by which their product is scaled."""

    rank: int
    alpha: int


class AdapterSettings(AdapterValues):
    """What a file of adapters says of them; `targets` are the layers, all linear ones if not named."""

    targets: NotRequired[Sequence[str]]


class TuningValues(AdapterValues):
    """Adapters and how they are tuned."""

    epochs: int
    learning_rate: float
    batch_rows: int


class LoraValues(TuningValues):
    """A fine-tune of adapters; longer rows are cut at `max_length` tokens."""

    max_length: int


def brief_lora(epochs: int, learning_rate: float, max_length: int) -> LoraValues:
    """Return the settings of a brief fine-tune, with adapters of RANK."""
    return {
        "rank": RANK,
        "alpha": ALPHA,
        "batch_rows": BATCH_ROWS,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "max_length": max_length,
    }


class WarmupTuning(TuningValues):
    """The warm-up of LESS, defaults filled in; `targets` are the adapted layers."""

    targets: Sequence[str]
