"""The JSON of LoRA settings, as keys of cached calls have it."""

from collections.abc import Sequence
from typing import TypedDict


class AdapterValues(TypedDict):
    """The size of adapters: their rank, and alpha, by which their product is scaled."""

    rank: int
    alpha: int


class TuningValues(AdapterValues):
    """Adapters and how they are tuned."""

    epochs: int
    learning_rate: float
    batch_rows: int


class LoraValues(TuningValues):
    """A fine-tune of adapters; longer rows are cut at `max_length` tokens."""

    max_length: int


class WarmupTuning(TuningValues):
    """The warm-up of LESS, defaults filled in; `targets` are the adapted layers."""

    targets: Sequence[str]
