"""The embedded engine: a transformers model in this process."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.core.lazy import lazy_module
from curate.llm.engines.decoding import DecodingModel, DecodingRow, decode
from curate.llm.engines.engine import NO_CALLBACKS, EngineCallbacks
from curate.llm.engines.grammar import Grammars
from curate.llm.engines.local import LocalEngine
from curate.llm.engines.prompts import prompt_ids, stop_ids
from curate.llm.requests import UNSENT, Call, Completion, failed
from curate.models.batches import batches_by_length, fits
from curate.models.decoding import context_of, end_tokens
from curate.models.load import load_causal
from curate.models.lora import attach_adapter

if TYPE_CHECKING:
    import torch
else:
    torch = lazy_module("torch")


class TransformersEngine(LocalEngine):
    """Completes calls in batches of similar length, padded on the left.

    Args:
        folder: of the model.
        identity: what curate.llm.engines.loading.identify_engine says of it.
        dtype: to compute in.
        trust: run code that the model brings.
        adapter: LoRA weights to put on it (curate.models.lora.save_adapter).
        batch_tokens: tokens of a batch, padding and room for the answers included.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        *,
        dtype: str,
        trust: bool = False,
        adapter: Path | None = None,
        batch_tokens: int = 8_192,
    ) -> None:
        self._model = load_causal(folder, dtype, trust)
        if adapter is not None:
            attach_adapter(self._model, adapter)
        self._model.eval()
        super().__init__(folder, identity, trust=trust)
        self._batch_tokens = batch_tokens
        self._context = context_of(self._model.config)
        self._ends = end_tokens(self._model, self._tokenizer)
        self._grammars: Grammars | None = None

    def close(self) -> None:
        """Let go of the model."""
        self._model = self._grammars = None

    def complete(
        self, calls: Sequence[Call], callbacks: EngineCallbacks = NO_CALLBACKS
    ) -> list[Completion]:
        """Return one completion a call, in their order; see curate.llm.engines.engine."""
        completions = [UNSENT] * len(calls)
        rows: list[tuple[int, DecodingRow]] = []
        for position, call in enumerate(calls):
            row = self._start(call)
            if isinstance(row, DecodingRow):
                rows.append((position, row))
            else:
                completions[position] = row
                callbacks.on_completion(position, row)
        sizes = [len(row.prompt) + row.limit for _, row in rows]
        for batch in batches_by_length(sizes, self._batch_tokens):
            sent = [rows[k] for k in batch if callbacks.reserve_call()]
            for (position, _), done in zip(sent, self._write([r for _, r in sent]), strict=True):
                completions[position] = done
                callbacks.on_completion(position, done)
        return completions

    def _start(self, call: Call) -> DecodingRow | Completion:
        """Return the call as a row to write, or why it cannot be written."""
        try:
            prompt = prompt_ids(self._tokenizer, call.request)
        except ValueError as error:
            return failed(str(error), sends=0)
        room = self._context - len(prompt)
        if not prompt or room < 1:
            return failed(
                f"the prompt has {len(prompt):,} tokens and the model's context {self._context:,}",
                sends=0,
            )
        ends = frozenset(stop_ids(self._tokenizer, call.sampling.stop))
        return DecodingRow(call, prompt, min(call.sampling.max_tokens, room), ends=ends)

    def _write(self, rows: Sequence[DecodingRow]) -> list[Completion]:
        """Return the rows' completions; a batch that does not fit into memory is halved."""
        if not rows:
            return []
        writer = self._writer(any(row.call.request.schema is not None for row in rows))
        # Rows anew, so that a second try draws what the first one would have drawn.
        fresh = [self._copy(row, writer) for row in rows]
        if fits(decode, writer, fresh):
            return [row.completion(writer) for row in fresh]
        if len(rows) == 1:
            return [failed("out of memory with this call alone; lower max_tokens or its prompt")]
        half = len(rows) // 2
        return [*self._write(rows[:half]), *self._write(rows[half:])]

    def _copy(self, row: DecodingRow, writer: DecodingModel) -> DecodingRow:
        schema = row.call.request.schema
        matcher = (
            writer.grammars.matcher(schema) if schema is not None and writer.grammars else None
        )
        return DecodingRow(row.call, row.prompt, row.limit, matcher, row.ends)

    def _writer(self, by_schema: bool) -> DecodingModel:
        if by_schema and self._grammars is None:
            size = self._model.get_output_embeddings().weight.shape[0]
            self._grammars = Grammars(self._tokenizer, size, sorted(self._ends))
        return DecodingModel(self._model, self._tokenizer, self._ends, self._grammars)
