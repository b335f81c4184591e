"""Rate rows with a sequence-classification checkpoint, block by block."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.lazy import lazy_module
from curate.core.params import Params
from curate.core.rows import Message, response_text, turn_text
from curate.core.run import StepRun
from curate.core.wants import ONE_GPU
from curate.models.batches import device_tokens, in_batches
from curate.models.blocks import RowBlock, row_blocks
from curate.models.computation import import_computation
from curate.models.control import control_tokens
from curate.models.load import device, find_model, load_tokenizer, loading
from curate.models.modelsource import model_source

if TYPE_CHECKING:
    import torch
    import transformers
    from tokenizers import Encoding
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
else:
    torch = lazy_module("torch")
    transformers = lazy_module("transformers")

VERSION = 2
BATCH_TOKENS = 4_096
# Their positions are counted from the number of the padding token on.
SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer", "mpnet")


class RatingParams(Params):
    """Which checkpoint rates rows, and how much of a row it reads."""

    model: str = Field(
        description="sequence-classification checkpoint: a folder or a hub id",
        examples=["/models/cappy-large"],
    )
    label: str | None = Field(
        None,
        description="whose probability is the score; none for a model with one output",
        examples=["good"],
    )
    max_length: int = Field(
        512, ge=16, description="tokens of the pair; never more than the model reads"
    )


def rate_rows(
    run: StepRun,
    rows: Table,
    positions: NDArray[np.int64],
    params: RatingParams,
    place: str,
    adapted: ModelSource | None = None,
) -> list[Table]:
    """Return the ratings of each block of the rows at ascending positions of a table of rows.

    Args:
        run: makes what is stored.
        rows: the pool.
        positions: in it.
        params: which checkpoint.
        place: where the recipe names it, for errors.
        adapted: the checkpoint after a tuning, to rate with in its place.

    Raises:
        UserError: the checkpoint is no classifier, or the label is not what it needs.
    """
    model = adapted or model_source(find_model(params.model), "float32")
    output = find_output(model.folder, params.model, params.label, place)
    blocks = row_blocks(run, rows, positions)
    tokens = device_tokens(BATCH_TOKENS)
    return run.map(ratings, blocks, model, output, params.max_length, tokens)


def find_output(folder: Path, name: str, label: str | None, place: str) -> int | None:
    """Return the number of the output whose probability is the score; None for a regression.

    Raises:
        UserError: the checkpoint is no classifier, or the label is not what it needs.
    """
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{place}.model {name!r} does not load without code of its own") from error
    if not any(a.endswith("ForSequenceClassification") for a in config.architectures or []):
        raise UserError(
            f"{place}.model {name!r} is no sequence classifier but "
            f"{', '.join(config.architectures or ['of no known architecture'])}"
        )
    labels = {str(label_name): int(number) for number, label_name in config.id2label.items()}
    if config.num_labels == 1:
        if label is not None:
            raise UserError(f"{place}.label: {name!r} has one output and no labels; leave it out")
        return None
    if label not in labels:
        given = "name one" if label is None else f"{label!r} is none of them"
        raise UserError(f"{place}.label: {name!r} has the labels {', '.join(labels)}; {given}")
    return labels[label]


@cached(version=VERSION, name="ratings", title="Rate rows with the scoring model", wants=ONE_GPU)
def ratings(
    texts: RowBlock, model: ModelSource, output: int | None, max_length: int, batch_tokens: int
) -> Counted[NDArray[np.float32]]:
    """Return the ratings [n] of a block of rows, in their order."""
    classifier, tokenizer = load_classifier(model.folder, digest_of(model.identity))
    limit = longest_input(classifier, tokenizer, max_length)
    pairs = encode_pairs(tokenizer, [split_turns(row) for row in texts.messages()], limit)
    # As the checkpoint's own tokenizer would give them: a model may have types and not want them.
    typed = "token_type_ids" in tokenizer.model_input_names
    scores = rate(classifier, pairs, output, typed=typed, batch_tokens=batch_tokens)
    return Counted(scores, {"tokens": sum(len(pair.ids) for pair in pairs)})


@lru_cache(maxsize=1)
def load_classifier(folder: Path, digest: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Return a sequence classifier and its tokenizer, for as long as `digest` stays the same.

    Raises:
        UserError: its classifier is not trained, or it has no fast tokenizer.
    """
    import_computation()
    with loading(folder):
        model, loading_info = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    if loading_info["missing_keys"]:
        raise UserError(
            f"the checkpoint {folder} lacks weights of its classifier "
            f"({', '.join(sorted(loading_info['missing_keys'])[:3])}), so its scores would be random"
        )
    tokenizer = load_tokenizer(folder)
    if not tokenizer.is_fast:
        raise UserError(f"the tokenizer of {folder} has no tokenizer.json")
    return model.eval().to(device()), tokenizer


def split_turns(messages: Sequence[Message]) -> tuple[str, str]:
    """Return everything before the last turn, a line break between turns, and the last turn."""
    return "\n".join(map(turn_text, messages[:-1])), response_text(messages)


def longest_input(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", max_tokens: int
) -> int:
    """Return how many tokens of a pair the model can read, at most as many as wanted."""
    limits = [max_tokens, tokenizer.model_max_length]
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions:
        shifted = model.config.model_type in SHIFTED_POSITIONS
        limits.append(positions - (model.config.pad_token_id + 1 if shifted else 0))
    return int(min(limits))


def encode_pairs(
    tokenizer: "PreTrainedTokenizerBase", pairs: Sequence[tuple[str, str]], limit: int
) -> "list[Encoding]":
    """Return pairs as the tokenizer joins them, cut to the limit from the start of the prompt.

    Only a response that is too long by itself is cut at its end, and then has no prompt. No text can end
    its side of the pair: a separator in it is read as text.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    room = limit - tokenizer.num_special_tokens_to_add(pair=True)
    sides = [_encode(tokenizer, [pair[side] for pair in pairs]) for side in (0, 1)]
    joined = []
    for prompt, response in zip(*sides, strict=True):
        response.truncate(room)
        prompt.truncate(room - len(response.ids), direction="left")
        joined.append(backend.post_process(prompt, response))
    return joined


def _encode(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> "list[Encoding]":
    encodings: list[Encoding] = tokenizer.backend_tokenizer.encode_batch(
        list(texts), add_special_tokens=False
    )
    control = control_tokens(tokenizer)
    for i, text in enumerate(texts):
        escaper = control.escaper([text])
        as_text = escaper.encoding(escaper.escape(text)) if escaper else None
        encodings[i] = as_text or encodings[i]
    return encodings


def rate(
    model: "PreTrainedModel",
    pairs: "Sequence[Encoding]",
    output: int | None,
    *,
    typed: bool,
    batch_tokens: int = BATCH_TOKENS,
) -> NDArray[np.float32]:
    """Return the score [n] of each pair, in their order: a number, or a label's probability.

    Args:
        model: the classifier.
        pairs: encoded and cut.
        output: whose probability; None for a regression.
        typed: the model is told which side of the pair a token is on.
        batch_tokens: of a batch, padding among them.
    """
    scores = np.empty(len(pairs), dtype=np.float32)
    many = model.config.problem_type == "multi_label_classification"
    # Decoders look for the last token before the padding, so without one rows go alone.
    limit = 1 if model.config.pad_token_id is None else batch_tokens

    def work(batch: list[int], padded: int) -> None:
        model_inputs = pad_pairs(model, [pairs[i] for i in batch], padded, typed=typed)
        logits = model(**model_inputs).logits.float()
        if output is None:
            scores[batch] = logits[:, 0].cpu().numpy()
        else:
            chances = logits.sigmoid() if many else logits.softmax(dim=1)
            scores[batch] = chances[:, output].cpu().numpy()

    with torch.inference_mode():
        in_batches([len(pair.ids) for pair in pairs], limit, work)
    return scores


def pad_pairs(
    model: "PreTrainedModel", pairs: "Sequence[Encoding]", padded: int, *, typed: bool
) -> "dict[str, torch.Tensor]":
    """Return what the model reads of a batch, padded on the right."""
    shape = (len(pairs), padded)
    ids = torch.full(shape, model.config.pad_token_id or 0)
    mask, types = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for k, pair in enumerate(pairs):
        ids[k, : len(pair.ids)] = torch.tensor(pair.ids)
        mask[k, : len(pair.ids)] = 1
        types[k, : len(pair.ids)] = torch.tensor(pair.type_ids)
    model_inputs = {"input_ids": ids, "attention_mask": mask}
    if typed:
        model_inputs["token_type_ids"] = types
    return {name: values.to(model.device) for name, values in model_inputs.items()}


def read_ratings(blocks: Sequence[Table]) -> NDArray[np.float32]:
    """Return the ratings [n] of all blocks, in their order."""
    return np.concatenate([np.empty(0, dtype=np.float32), *(block.array() for block in blocks)])
