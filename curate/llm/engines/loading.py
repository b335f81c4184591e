"""Identify an engine without loading it, and load it."""

from pathlib import Path
from typing import Any

from curate.core.digests import digest_file, digest_of
from curate.core.errors import UserError
from curate.llm.engines.engine import Engine
from curate.llm.engines.parameters import OpenAIParams, TransformersParams, VllmParams
from curate.models.load import choose_dtype, find_model, identify, prepare
from curate.models.settings import ModelNames

# Of a LoRA adapter.
PEFT_FILES = ("adapter_model.safetensors", "adapter_config.json")


def identify_engine(
    params: TransformersParams | VllmParams | OpenAIParams, models: ModelNames
) -> dict[str, Any]:
    """Return the identity of the engine that a recipe names, without loading it.

    It is what can change an answer, so it belongs into the keys of steps.

    Raises:
        UserError: no such model.
    """
    if isinstance(params, OpenAIParams):
        server_model = {"model": params.model, "revision": params.revision, "extra": params.extra}
        return {"engine": "openai", **server_model}
    model = find_model(params.model or models.base)
    identity = identify(model, choose_dtype(params.dtype or models.dtype))
    adapter = {} if params.adapter is None else {"adapter": _digest_adapter(params)}
    return {"engine": params.kind, **identity, **adapter}


def _digest_adapter(params: TransformersParams | VllmParams) -> str:
    """Return a digest of LoRA weights: one file for transformers, a folder of peft for vLLM."""
    place = Path(params.adapter or "")
    names = PEFT_FILES if isinstance(params, VllmParams) else ("",)
    for name in names:
        if not (place / name).is_file():
            raise UserError(f"engine.adapter: there is no file {place / name}")
    digests = [digest_file(place / name) for name in names]
    return digests[0] if len(digests) == 1 else digest_of(digests)


def load_engine(
    params: TransformersParams | VllmParams | OpenAIParams,
    models: ModelNames,
    batches: Path | None = None,
) -> Engine:
    """Return the engine that a recipe names, ready to complete calls.

    Args:
        params: of the engine.
        models: of the recipe, of which an engine may serve the base.
        batches: the file that has batches on record, for an engine that sends some.

    Raises:
        UserError: no such model, vllm is not installed, or a key's variable is not set.
    """
    identity = identify_engine(params, models)
    # An engine's module imports what no other engine needs: httpx, torch, vllm.
    if isinstance(params, OpenAIParams):
        from curate.llm.engines.openai import OpenAIEngine  # noqa: PLC0415

        return OpenAIEngine(params, identity, batches)
    folder = prepare(find_model(params.model or models.base))
    dtype = choose_dtype(params.dtype or models.dtype)
    trust = models.trust_remote_code
    if isinstance(params, VllmParams):
        from curate.llm.engines.vllm import VllmEngine  # noqa: PLC0415

        return VllmEngine(folder, identity, params=params, dtype=dtype, trust=trust)
    from curate.llm.engines.transformers import TransformersEngine  # noqa: PLC0415

    batch = params.batch_tokens
    adapter = None if params.adapter is None else Path(params.adapter)
    return TransformersEngine(
        folder, identity, dtype=dtype, trust=trust, adapter=adapter, batch_tokens=batch
    )
