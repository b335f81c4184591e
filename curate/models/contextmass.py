"""How much of its attention a model pays to the user's words while it reads a response.

    a(t) = max over heads h of  sum of A_h(t, s) over the tokens s of user turns        in one layer
    score = mean of a(t) over the tokens t of the responses

A is the attention of the middle layer (the 15th of 30), computed as it is defined ("eager"), since fast
kernels never write it down. The layers behind it are left out. Tokens of user turns are those of their
texts: what the template writes is none, nor are tokens of white space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.core.calls import Counted, cached
from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.lazy import lazy_module
from curate.core.rows import Message
from curate.core.wants import ONE_GPU
from curate.models.batches import in_batches
from curate.models.blocks import RowBlock
from curate.models.chat import render_tokens
from curate.models.load import load_causal, load_tokenizer
from curate.models.spans import Span, locate_turns

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
else:
    torch = lazy_module("torch")

VERSION = 1
# Matrices of attention grow with the square of a row's length.
BATCH_TOKENS = 1_024


@dataclass(frozen=True)
class AttendedRow:
    """A row's token ids, and which of them the user and the responses say."""

    ids: list[int]
    user: NDArray[np.bool_]
    response: NDArray[np.bool_]


@cached(
    version=VERSION, name="context-mass", title="Measure attention to the prompt", wants=ONE_GPU
)
def context_mass(
    texts: RowBlock, model: ModelSource, max_length: int
) -> Counted[NDArray[np.float32]]:
    """Return the scores [n] of a block of rows, NaN without a user's or a response's token."""
    tokenizer = load_tokenizer(model.folder, model.trust)
    rows = [attended_row(tokenizer, messages, max_length) for messages in texts.messages()]
    identity = digest_of(model.identity)
    trunk = _load_trunk(model.folder, model.dtype, model.trust, identity)
    scores = attention_mass(trunk, rows)
    return Counted(scores, {"tokens": sum(len(row.ids) for row in rows)})


@lru_cache(maxsize=1)
def _load_trunk(folder: Path, dtype: str, trust: bool, digest: str) -> "PreTrainedModel":
    """Return a model's layers up to the middle one, which write their attention down."""
    model = load_causal(folder, dtype, trust).eval()
    model.set_attn_implementation("eager")
    trunk: PreTrainedModel = model.base_model
    layers = layers_of(trunk)
    del layers[max(len(layers) // 2, 1) :]
    trunk.config.num_hidden_layers = len(layers)
    return trunk


def layers_of(trunk: Any) -> Any:
    """Return the list of a model's layers: the longest list of modules that it has."""
    lists = [module for module in trunk.modules() if isinstance(module, torch.nn.ModuleList)]
    if not lists:
        raise UserError("context: the base model has no list of layers to take the middle one of")
    return max(lists, key=len)


def attended_row(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], max_length: int
) -> AttendedRow:
    """Return a rendered row, cut at its end, with the tokens of user turns and of responses.

    Turns of weight 0 are no responses.
    """
    row = render_tokens(tokenizer, messages)
    trained = [m.get("weight") != 0 for m in row.messages if m["role"] == "assistant"]
    responses = locate_turns(tokenizer, row.messages, row.text, "assistant")
    spans = [span for span, counts in zip(responses, trained, strict=True) if counts]
    blank = np.array([not row.text[start:stop].strip() for start, stop in row.offsets], dtype=bool)
    user = _inside(row.offsets, locate_turns(tokenizer, row.messages, row.text, "user")) & ~blank
    response = _inside(row.offsets, spans)
    return AttendedRow(row.ids[:max_length], user[:max_length], response[:max_length])


def _inside(offsets: Sequence[Span], spans: Sequence[Span | None]) -> NDArray[np.bool_]:
    stops = np.array([stop for _, stop in offsets], dtype=np.int64)
    inside = np.zeros(len(stops), dtype=np.bool_)
    for span in spans:
        if span is not None:
            inside |= (stops > span[0]) & (stops <= span[1])
    return inside


def attention_mass(trunk: Any, rows: Sequence[AttendedRow]) -> NDArray[np.float32]:
    """Return the scores [N] of rows by the last layer of a trunk.

    Args:
        trunk: layers that write their attention down.
        rows: to read.

    Raises:
        UserError: the layer writes no attention down.
    """
    scores = np.full(len(rows), np.nan, dtype=np.float32)
    readable = [i for i, row in enumerate(rows) if row.user.any() and row.response.any()]
    weights: list[torch.Tensor] = []
    hook = _attention_of(layers_of(trunk)[-1]).register_forward_hook(
        lambda module, inputs, outputs: weights.append(outputs[1])
    )

    def work(batch: list[int], padded: int) -> None:
        chosen = [rows[readable[k]] for k in batch]
        ids = torch.zeros((len(chosen), padded), dtype=torch.long)
        user, response = torch.zeros((2, len(chosen), padded))
        for k, row in enumerate(chosen):
            size = len(row.ids)
            ids[k, :size] = torch.tensor(row.ids)
            user[k, :size] = torch.from_numpy(row.user)
            response[k, :size] = torch.from_numpy(row.response)
        weights.clear()
        trunk(input_ids=ids.to(trunk.device), use_cache=False)
        if not weights or weights[0] is None:
            raise UserError("context: the base model's layers do not say what they attend to")
        mass = weights[0].float().cpu() @ user[:, None, :, None]
        largest = mass[..., 0].amax(dim=1)
        means = (largest * response).sum(dim=1) / response.sum(dim=1)
        scores[[readable[k] for k in batch]] = means.numpy()

    try:
        with torch.inference_mode():
            in_batches([len(rows[i].ids) for i in readable], BATCH_TOKENS, work)
    finally:
        hook.remove()
    return scores


def _attention_of(layer: Any) -> Any:
    """Return the part of a layer that attends.

    Raises:
        UserError: it has none.
    """
    parts = [part for part in layer.modules() if type(part).__name__.endswith("Attention")]
    if not parts:
        raise UserError("context: the middle layer of the base model has no attention to look at")
    return parts[0]
