r"""Multiple choice by log-likelihood: options as continuations of one context, which is read once.

    <|im_start|>user\nWhich? A or B?<|im_end|>\n<|im_start|>assistant\n        read once, its keys kept
                                                                      A         and B, a row each

The likelihood of an option is that of its tokens as the response, without the end marker. accuracy: the
right one has the highest log-likelihood per character (acc_norm of lm-evaluation-harness);
raw_accuracy: the highest one (acc). With n tokens in option c, the margin of the right option is
LL_gold / n_gold - log sum over c of exp(LL_c / n_c), which moves where no answer changes.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.core.lazy import lazy_module
from curate.models.chat import IGNORED, TokenizedExample
from curate.models.head import HEAD_TOKENS, SplitModel
from curate.models.training import pad_batch

if TYPE_CHECKING:
    import torch
    import transformers
else:
    torch = lazy_module("torch")
    transformers = lazy_module("transformers")

# Of context and continuations that are read side by side, whose keys are held at a time.
BATCH_TOKENS = 2_048


@dataclass(frozen=True)
class OptionScores:
    """What a model makes of a question's options; ties are no hits."""

    gold_margin: float
    accuracy: bool
    raw_accuracy: bool


def score_options(
    likelihoods: Sequence[float], tokens: Sequence[int], characters: Sequence[int], gold: int
) -> OptionScores:
    """Return the margin of the right option, and whether it is the likeliest one.

    Args:
        likelihoods: of the options, in nats.
        tokens: how many each has.
        characters: how many each has.
        gold: which is right.
    """
    by_token, by_character = (
        np.asarray(likelihoods) / np.asarray(counts) for counts in (tokens, characters)
    )
    margin = float(by_token[gold] - np.logaddexp.reduce(by_token))
    return OptionScores(margin, _is_highest(by_character, gold), _is_highest(likelihoods, gold))


def _is_highest(values: Sequence[float] | NDArray[np.float64], gold: int) -> bool:
    return all(values[gold] > value for i, value in enumerate(values) if i != gold)


def log_likelihoods(model: SplitModel, rows: Sequence[TokenizedExample]) -> list[float]:
    """Return the sum of the log-probabilities, in nats, of the labelled tokens of each row.

    Args:
        model: in parts.
        rows: continuations of one context; what they all begin with is read once.
    """
    shared = _shared_tokens(rows)
    longest = max(len(row.ids) for row in rows)
    width = longest - shared
    size = max(1, min(HEAD_TOKENS // width, BATCH_TOKENS // longest))
    sums: list[float] = []
    with torch.inference_mode():
        cache = transformers.DynamicCache(config=model.model.config)
        if shared:
            prefix = torch.tensor([rows[0].ids[:shared]], device=model.model.device)
            model.model.base_model(input_ids=prefix, past_key_values=cache, use_cache=True)
        for start in range(0, len(rows), size):
            part = [
                TokenizedExample(r.ids[shared:], r.labels[shared:])
                for r in rows[start : start + size]
            ]
            own = copy.deepcopy(cache)
            own.batch_repeat_interleave(len(part))
            sums += _sums(model, part, own)
    return sums


def _shared_tokens(rows: Sequence[TokenizedExample]) -> int:
    """Return how many tokens all rows begin with; the one that the first label follows is left out."""
    first = min(next(i for i, x in enumerate(row.labels) if x != IGNORED) for row in rows) - 1
    columns = zip(*(row.ids[:first] for row in rows), strict=True)
    return next((i for i, tokens in enumerate(columns) if len(set(tokens)) > 1), first)


def _sums(model: SplitModel, rows: Sequence[TokenizedExample], cache: Any) -> list[float]:
    ids, following = (part.to(model.model.device) for part in pad_batch(rows))
    labelled = following != IGNORED
    logits = model.logits(model.states(ids, labelled, cache))
    losses = torch.nn.functional.cross_entropy(logits, following[labelled], reduction="none")
    owners = labelled.nonzero()[:, 0].cpu()
    return [-losses.cpu()[owners == k].double().sum().item() for k in range(len(rows))]
