"""The language model's losses on rows: sums and counts of token losses, in blocks reused by content.

    response_sum | response_tokens | all_sum | all_tokens          what = "response" or "all"
    alone_sum | alone_tokens                                       what = "alone"
    response_sum | response_tokens | response_worst | response_entropy      what = "certainty"

`response` is what the assistant says, end marker included, given everything before it; `all` is every
token of the rendered row but the first, which nothing predicts. `alone` is the response without the
conversation before it: only the header that opens an assistant's turn in the chat template stands in
front (after the model's opening token, if its template has one). The very same tokens are predicted as
with the prompt, the first one included; several assistant turns are read one by one.

A model that a method alone reads with may refuse rows in its chat template that the base model takes:
these have no tokens here, and unread.parquet says why.

`certainty` reads what `response` does and adds the largest loss of a response's tokens and the sum of
the entropies, in nats, of the distributions that they were predicted from.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, cached_files
from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.lazy import lazy_module
from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.core.run import ScoreRun, StepRun
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Counts
from curate.core.tables import read_table
from curate.core.wants import ONE_GPU
from curate.models.acceptance import find_fault
from curate.models.batches import device_tokens, in_batches
from curate.models.blocks import RowBlock, row_blocks
from curate.models.chat import (
    IGNORED,
    TokenizedExample,
    build_example,
    refusal,
    render,
    render_prompt,
)
from curate.models.head import HEAD_TOKENS, SplitModel, slices, split_model
from curate.models.index import kept_among, measured_positions
from curate.models.load import find_model, identify, load_tokenizer, prepare
from curate.models.lora import attach_adapter
from curate.models.weights import adaptable_model, shared_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
else:
    torch = lazy_module("torch")

VERSION = 1
UNREAD = "unread.parquet"
WORDS = {
    Reason.TEMPLATE_REFUSED: "the chat template of the method's model refuses it",
    Reason.TEMPLATE_REWRITTEN: "the chat template of the method's model rewrites it",
}
BATCH_TOKENS = 2_048
# exp of it is 0 in float32.
NO_CHANCE = -200.0
LossKind = Literal["response", "all", "alone", "certainty"]


def named_model(run: StepRun, name: str) -> ModelSource:
    """Return another model by name, folder or hub id, in the dtype of the run's base.

    Raises:
        UserError: there is no such model.
    """
    location = find_model(name)
    identity = identify(location, run.base.dtype)
    # The rows are those that the base model's template takes; this one's may refuse some.
    return ModelSource(identity, prepare(location), run.base.trust, judges=True)


def pool_losses(
    run: ScoreRun,
    model: ModelSource,
    what: LossKind,
    max_length: int,
    adapter: Artifact | None = None,
) -> list[Artifact]:
    """Return the losses of each block of measured rows, in pool order.

    Args:
        run: names the rows.
        model: that reads them.
        what: is predicted.
        max_length: tokens of a row that are read.
        adapter: LoRA weights on top of the model (curate.selectors.perplexity_ratio).
    """
    positions = measured_positions(run)
    return losses_at(run, run.rows, positions, model, what, max_length, adapter)


def losses_at(
    run: StepRun,
    rows: Table,
    positions: NDArray[np.int64],
    model: ModelSource,
    what: LossKind,
    max_length: int,
    adapter: Artifact | None = None,
) -> list[Artifact]:
    """Return the losses of each block of the rows at ascending positions of a table of rows."""
    blocks = row_blocks(run, rows, positions)
    return run.map(write_losses, blocks, model, what, max_length, BATCH_TOKENS, adapter)


def survivor_losses(
    run: StepRun, data: StageInputs, what: LossKind = "response", max_length: int = 2048
) -> list[Artifact]:
    """Return the base model's losses on each block of the rows that a stage judges."""
    return losses_at(run, data.rows, data.positions(), run.base, what, max_length)


def read_losses(blocks: Sequence[Artifact], measured: Table, kept: Table) -> pl.DataFrame:
    """Return the losses of the kept rows as one table, in pool order.

    Args:
        blocks: of the measured rows.
        measured: the rows of the blocks.
        kept: the rows among them to return.

    Raises:
        FloatingPointError: a loss is not finite.
    """
    return check_finite(join_losses(blocks).filter(pl.Series(kept_among(measured, kept))))


def join_losses(blocks: Sequence[Artifact]) -> pl.DataFrame:
    """Return the losses of all rows of blocks, in their order."""
    return pl.concat([read_table(block.file("losses.parquet")) for block in blocks])


def read_faults(blocks: Sequence[Artifact], measured: Table, kept: Table) -> pl.Series:
    """Return why the model could not read each kept row, in pool order; null for one that it did."""
    reasons: list[str | None] = []
    for block in blocks:
        own: list[str | None] = [None] * block.counts["rows_out"]
        if UNREAD in block.files:
            for number, reason in read_table(block.file(UNREAD)).iter_rows():
                own[number] = reason
        reasons += own
    unread = pl.Series("unread", reasons, dtype=pl.String)
    return unread.filter(pl.Series(kept_among(measured, kept)))


def check_finite(table: pl.DataFrame) -> pl.DataFrame:
    """Return the losses as they are.

    Raises:
        FloatingPointError: one of them is not finite.
    """
    if not np.isfinite(table.to_numpy()).all():
        raise FloatingPointError("a loss is not finite; try models.dtype: float32")
    return table


def mean_loss(table: pl.DataFrame, what: LossKind) -> pl.Series:
    """Return nats per token; null where a row has no such token within the length limit."""
    counted = pl.col(f"{what}_tokens")
    mean = pl.when(counted > 0).then(pl.col(f"{what}_sum") / counted)
    return table.select(mean.alias(what)).to_series()


@cached_files(version=VERSION, name="losses", title="Measure the model's losses", wants=ONE_GPU)
def write_losses(
    out: Path,
    texts: RowBlock,
    model: ModelSource,
    what: LossKind,
    max_length: int,
    batch_tokens: int,
    adapter: Artifact | None = None,
) -> Counts:
    """Write losses.parquet: one block of rows, in their order; and unread.parquet if it must be."""
    tokenizer = load_tokenizer(model.folder, model.trust)
    messages = texts.messages()
    unread = _unread(tokenizer, messages) if model.judges else {}
    rows = [
        TokenizedExample([], []) if number in unread else build_example(tokenizer, row, max_length)
        for number, row in enumerate(messages)
    ]
    if unread:
        pl.DataFrame({"number": list(unread), "reason": list(unread.values())}).write_parquet(
            out / UNREAD
        )
    table = measure(_load_with(model, adapter), tokenizer, rows, what, batch_tokens)
    table.write_parquet(out / "losses.parquet")
    return {"rows_in": len(rows), "rows_out": len(rows), "tokens": sum(len(r.ids) for r in rows)}


def _load_with(model: ModelSource, adapter: Artifact | None) -> "PreTrainedModel":
    """Return a model to read with, an adapter's weights on it."""
    if adapter is None:
        return shared_model(model.folder, model.dtype, model.trust)
    digest = digest_of([model.identity, adapter.digest])
    path = adapter.file("adapter.safetensors")
    return _load(model.folder, model.dtype, model.trust, path, digest)


def _unread(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[Message]]
) -> dict[int, str]:
    """Return why the chat template does not take rows, by their number."""
    faults = {number: find_fault(tokenizer, row) for number, row in enumerate(rows)}
    return {number: f"{WORDS[fault[0]]}: {fault[1]}" for number, fault in faults.items() if fault}


@lru_cache(maxsize=1)
def _load(folder: Path, dtype: str, trust: bool, adapter: Path, digest: str) -> "PreTrainedModel":
    model: PreTrainedModel = adaptable_model(folder, dtype, trust)
    attach_adapter(model, adapter)
    return model.eval()


def measure(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[TokenizedExample],
    what: LossKind,
    batch_tokens: int = BATCH_TOKENS,
) -> pl.DataFrame:
    """Return sums and counts of the token losses of rows, in their order (columns: see above)."""
    if what == "alone":
        pieces = alone_pieces(tokenizer, rows)
        piece_losses = sum_losses(model, [piece for _, piece in pieces], everything=False)
        owners = np.array([row for row, _ in pieces], dtype=np.int64)
        sums, counts = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
        np.add.at(sums, owners, piece_losses["response_sum"].to_numpy())
        np.add.at(counts, owners, piece_losses["response_tokens"].to_numpy())
        return pl.DataFrame({"alone_sum": sums, "alone_tokens": counts})
    if what == "certainty":
        return sum_certainty(model, rows)
    return sum_losses(model, rows, everything=what == "all")


def alone_pieces(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[TokenizedExample]
) -> list[tuple[int, TokenizedExample]]:
    """Return row number and example of every response on its own, behind the header of its turn.

    Tokens are taken from the rendered row as they are, by their labels: the text is neither searched
    nor tokenised again, so a response that repeats its prompt and a token that spans the header's end
    do no harm.

    Raises:
        UserError: the model has nothing that could stand before a response's first token.
    """
    header = assistant_header(tokenizer)
    pieces = []
    for number, row in enumerate(rows):
        for start, stop in _labelled_runs(row.labels):
            # The first token of a row that opens with a response is predicted in neither pass.
            before = _before_response(tokenizer, header, row.ids[:start]) or row.ids[:1]
            response = row.ids[max(start, 1) : stop]
            labels = [*[IGNORED] * len(before), *response]
            pieces.append((number, TokenizedExample([*before, *response], labels)))
    return pieces


def _before_response(
    tokenizer: "PreTrainedTokenizerBase", header: Sequence[int], context: Sequence[int]
) -> list[int]:
    """Return what is left before a response without its conversation: opening token and header."""
    if not context:
        return []
    kept = _matching_start(header, context)
    opening = tokenizer.bos_token_id
    if opening is not None and context[0] == opening and kept[:1] != [opening]:
        kept = [opening, *kept]
    if kept:
        return kept
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return [token]
    raise UserError(
        "the model has no assistant header and no begin or end token, so the first token of a "
        "response on its own cannot be predicted; choose another model for ifd"
    )


def assistant_header(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the tokens with which the chat template opens an assistant's turn; there may be none."""
    question: list[Message] = [{"role": "user", "content": "?"}]
    if refusal(tokenizer, question) is not None:
        return []
    prompt, opening = render(tokenizer, question), render_prompt(tokenizer, question)
    ids: list[int] = tokenizer(opening[len(prompt) :], add_special_tokens=False)["input_ids"]
    return ids if opening.startswith(prompt) else []


def _matching_start(header: Sequence[int], before: Sequence[int]) -> list[int]:
    """Return the longest start of the header that stands at the end of what comes before.

    The whole header, save where the response's first token has swallowed its last line break.
    """
    for size in range(len(header), 0, -1):
        if list(header[:size]) == list(before[-size:]):
            return list(header[:size])
    return []


def _labelled_runs(labels: Sequence[int]) -> list[tuple[int, int]]:
    labelled = np.array([0, *(label != IGNORED for label in labels), 0], dtype=np.int8)
    edges = np.flatnonzero(np.diff(labelled))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def sum_losses(model: Any, rows: Sequence[TokenizedExample], *, everything: bool) -> pl.DataFrame:
    """Return response_sum and response_tokens of rows, and all_sum and all_tokens of everything.

    Rows go through the model in batches of similar length, padded on the right, where a causal
    model's real tokens do not see the padding. Losses are float32 whatever the model computes in,
    and are added up in float64.
    """
    kinds = ("response", "all") if everything else ("response",)
    sums = {kind: np.zeros(len(rows)) for kind in kinds}
    counts = {kind: np.zeros(len(rows), dtype=np.int64) for kind in kinds}
    split = split_model(model)

    def work(batch: list[int], padded: int) -> None:
        ids, masks = _pad([rows[i] for i in batch], padded)
        predicted = masks["all" if everything else "response"]
        losses = torch.zeros(predicted.shape, dtype=torch.float64)
        if predicted.any():
            losses[predicted] = _measure_tokens(split, ids, predicted, _loss)
        for kind in kinds:
            sums[kind][batch] = (losses * masks[kind]).sum(dim=1).numpy()
            counts[kind][batch] = masks[kind].sum(dim=1).numpy()

    with torch.inference_mode():
        in_batches([len(row.ids) for row in rows], device_tokens(BATCH_TOKENS), work)
    return pl.DataFrame(
        {
            f"{kind}_{name}": values[kind]
            for kind in kinds
            for name, values in (("sum", sums), ("tokens", counts))
        }
    )


def sum_certainty(model: Any, rows: Sequence[TokenizedExample]) -> pl.DataFrame:
    """Return response_sum, _tokens, _worst (0 without tokens) and _entropy, as in `sum_losses`."""
    totals = {name: np.zeros(len(rows)) for name in ("sum", "worst", "entropy")}
    counts = np.zeros(len(rows), dtype=np.int64)
    split = split_model(model)

    def work(batch: list[int], padded: int) -> None:
        ids, masks = _pad([rows[i] for i in batch], padded)
        predicted = masks["response"]
        token_measures = torch.zeros((*predicted.shape, 2), dtype=torch.float64)
        if predicted.any():
            token_measures[predicted] = _measure_tokens(split, ids, predicted, _loss_and_entropy)
        losses, entropies = token_measures.unbind(dim=2)
        totals["sum"][batch] = losses.sum(dim=1).numpy()
        totals["entropy"][batch] = entropies.sum(dim=1).numpy()
        counts[batch] = predicted.sum(dim=1).numpy()
        if predicted.shape[1]:
            totals["worst"][batch] = losses.amax(dim=1).numpy()

    with torch.inference_mode():
        in_batches([len(row.ids) for row in rows], device_tokens(BATCH_TOKENS), work)
    columns = {"sum": totals["sum"], "tokens": counts, **totals}
    return pl.DataFrame({f"response_{name}": values for name, values in columns.items()})


def _pad(
    rows: Sequence[TokenizedExample], padded: int
) -> tuple["torch.Tensor", dict[str, "torch.Tensor"]]:
    """Return token ids [B, T], and which of the tokens 1 to T-1 of each row are predicted."""
    ids = torch.zeros((len(rows), padded), dtype=torch.long)
    real, labelled = (torch.zeros((len(rows), padded), dtype=torch.bool) for _ in range(2))
    for k, row in enumerate(rows):
        ids[k, : len(row.ids)] = torch.tensor(row.ids)
        real[k, : len(row.ids)] = True
        labelled[k, : len(row.ids)] = torch.tensor([label != IGNORED for label in row.labels])
    return ids, {"all": real[:, 1:], "response": labelled[:, 1:]}


Measure = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


def _loss(logits: "torch.Tensor", gold: "torch.Tensor") -> "torch.Tensor":
    return torch.nn.functional.cross_entropy(logits, gold, reduction="none")


def _loss_and_entropy(logits: "torch.Tensor", gold: "torch.Tensor") -> "torch.Tensor":
    """Return both [n, 2]; entropy = -sum p log p, to which a token of no probability adds nothing."""
    logs = logits.log_softmax(dim=1)
    losses = -logs.gather(1, gold[:, None]).squeeze(1)
    # In place, since each copy is of the size of the logits; far below, p is 0 as a float32.
    entropies = -logs.clamp_(min=NO_CHANCE).exp().mul_(logs).sum(dim=1)
    return torch.stack([losses, entropies], dim=1)


def _measure_tokens(
    model: SplitModel, ids: "torch.Tensor", predicted: "torch.Tensor", measure: Measure
) -> "torch.Tensor":
    """Return what is measured of the predicted tokens [M, ...], row by row."""
    ids, predicted = ids.to(model.model.device), predicted.to(model.model.device)
    states, gold = model.states(ids, predicted), ids[:, 1:][predicted]
    parts = [
        measure(model.logits(part), labels).cpu()
        for part, labels in zip(slices(states, HEAD_TOKENS), slices(gold, HEAD_TOKENS), strict=True)
    ]
    return torch.cat(parts).double()
