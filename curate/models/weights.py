"""Language models in memory: a process reads the weights of each once, and all that use it share them.

    shared_model(folder, dtype)       to read with
    load_trunk(folder, dtype)         the same without its vocabulary head
    adaptable_model(folder, dtype)    modules of its own around the same weights, to put adapters on

Nobody trains the weights themselves: `curate.models.load.load_causal` gives a model for that.
"""

import copy
import threading
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.models.load import load_causal, weights_digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The base model, and another one that a method or a proof names.
MODELS = 2
# How often this process has read the weights in a folder.
LOADS: Counter[Path] = Counter()
_lock = threading.Lock()


def shared_model(folder: Path, dtype: str, trust: bool = False) -> "PreTrainedModel":
    """Return a language model, in evaluation mode, that everything in this process reads with."""
    with _lock:
        return _shared_model(folder, dtype, trust, weights_digest(folder))


@lru_cache(maxsize=MODELS)
def _shared_model(folder: Path, dtype: str, trust: bool, digest: str) -> "PreTrainedModel":
    LOADS[folder] += 1
    return load_causal(folder, dtype, trust).eval().requires_grad_(requires_grad=False)


def load_trunk(folder: Path, dtype: str, trust: bool = False) -> "PreTrainedModel":
    """Return the shared model without its vocabulary head, for representations."""
    trunk: PreTrainedModel = shared_model(folder, dtype, trust).base_model
    return trunk


def adaptable_model(folder: Path, dtype: str, trust: bool = False) -> Any:
    """Return a language model without adapters, whose modules are its own and whose weights are not."""
    model = shared_model(folder, dtype, trust)
    return copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
