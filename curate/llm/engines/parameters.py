"""The `engine` of a recipe, and the engine that it names.

engine: {kind: transformers}                                     the recipe's own base model
engine: {kind: vllm, model: Qwen/Qwen3-8B}
engine:
  kind: openai
  model: gpt-5-mini
  endpoints: [{url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY, concurrency: 16}]
  prices: {prompt: 0.25, completion: 2}                          per million tokens

`method` is read for `kind`, as everywhere else in a recipe.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from curate.core.credentials import FreeFields, SecretFault, find_secret
from curate.core.params import Params

Dtype = Literal["auto", "float32", "bfloat16"]
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Structured = Literal["json_schema", "json_object", "none"]


class TransformersParams(Params):
    """A model in this process, by transformers."""

    kind: Literal["transformers"] = "transformers"
    model: str | None = Field(
        None,
        description="name, folder or hub id; the run's base if null",
        examples=["/models/Qwen2.5-1.5B-Instruct"],
    )
    dtype: Dtype | None = Field(None, description="the run's own if null")
    adapter: str | None = Field(
        None,
        description="adapter.safetensors of a fine-tune by curate, put on the model",
        examples=["runs/mine/export/adapter"],
    )
    batch_tokens: int = Field(
        8_192, ge=1, description="tokens of a batch, room for the answers included"
    )


class VllmParams(Params):
    """A model in this process, by vLLM."""

    kind: Literal["vllm"] = "vllm"
    model: str | None = Field(
        None,
        description="name, folder or hub id; the run's base if null",
        examples=["/models/Qwen2.5-1.5B-Instruct"],
    )
    dtype: Dtype | None = Field(None, description="the run's own if null")
    adapter: str | None = Field(
        None,
        description="folder of LoRA weights as peft reads them: export/adapter of a run",
        examples=["runs/mine/export/adapter"],
    )
    context: int | None = Field(
        None, ge=1, description="longest prompt and answer, in tokens", examples=[8192]
    )
    memory: float = Field(0.9, gt=0, le=1, description="share of the GPU's memory to use")
    chunk: int = Field(2_048, ge=1, description="calls handed over, and stored, at a time")
    options: FreeFields = Field(
        {}, description="further arguments of vllm.LLM", examples=[{"gpu_memory_utilization": 0.8}]
    )


class EndpointParams(Params):
    """One server and how hard it may be worked."""

    url: str = Field(description="up to and with /v1", examples=["http://localhost:8000/v1"])
    api_key_env: str | None = Field(
        None, description="environment variable that holds the key", examples=["SERVER_API_KEY"]
    )
    concurrency: int = Field(
        8,
        ge=1,
        description="most calls under way at one time; fewer while the server turns calls away",
    )
    calls_per_minute: int | None = Field(None, ge=1, description="no limit if null", examples=[600])
    tokens_per_minute: int | None = Field(
        None, ge=1, description="of requests and answers; no limit if null", examples=[200000]
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write the server's address as http://HOST/v1 or https://HOST/v1")
        if parts.username or parts.password or parts.query:
            raise SecretFault("no secrets in the address; name the key's variable in api_key_env")
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        if name is not None and (not VARIABLE.fullmatch(name) or find_secret(name)):
            raise SecretFault(
                "write the name of the variable that holds the key, not the key itself"
            )
        return name


class Prices(Params):
    """Price of a million tokens, in any currency."""

    prompt: float = Field(0.0, ge=0, le=1e9, description="of tokens that are sent")
    completion: float = Field(0.0, ge=0, le=1e9, description="of tokens that are written")


class BatchParams(Params):
    """How calls go to the server's batch endpoint: files of many, answered within 24 hours."""

    price: float = Field(0.5, ge=0, le=1, description="share of `prices` that a batch costs")
    poll: float = Field(60.0, gt=0, description="seconds from one look at a batch to the next")
    requests: int = Field(50_000, ge=1, description="most calls of one batch")
    megabytes: float = Field(200.0, gt=0, description="most MB of one batch's file")


def _read_batch(value: Any) -> Any:
    """Return the settings of batches where it is only said whether there shall be any."""
    return ({} if value else None) if isinstance(value, bool) else value


class OpenAIParams(Params):
    """A model behind servers that speak OpenAI's protocol, `vllm serve` included."""

    kind: Literal["openai"] = "openai"
    model: str = Field(description="the name by which the servers know it", examples=["qwen3-8b"])
    endpoints: list[EndpointParams] = Field(
        min_length=1, description="the servers; they share the calls"
    )
    revision: str | None = Field(
        None,
        description="which weights the name stands for; a new one makes stored answers void",
        examples=["2026-09-01"],
    )
    timeout: float = Field(120.0, gt=0, description="seconds for one call")
    attempts: int = Field(
        6, ge=1, description="how often a call is sent before it counts as failed"
    )
    backoff: float = Field(0.5, gt=0, description="seconds before the second try; then doubled")
    most_backoff: float = Field(30.0, gt=0, description="seconds")
    patience: float = Field(
        300.0, gt=0, description="seconds that a server may ask to wait (Retry-After)"
    )
    structured: Literal["auto", "json_schema", "json_object", "none"] = Field(
        "auto", description="how the server is asked for JSON; auto: by trying at the start"
    )
    prefix: Literal["unsupported", "continue", "plain"] = Field(
        "unsupported",
        description="how an answer's opening is sent; continue: as vLLM wants it, plain: as a last turn",
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the server calls the limit of an answer"
    )
    send_seed: bool = Field(
        True, description="whether requests carry a seed; some servers refuse one"
    )
    prices: Prices = Field(default_factory=Prices)
    batch: Annotated[
        BatchParams | None,
        BeforeValidator(_read_batch, json_schema_input_type=BatchParams | bool | None),
    ] = Field(
        None,
        description="true, or settings: send calls as batches, at half the price and within a day",
        examples=[True],
    )
    tokenizer: str | None = Field(
        None,
        description="model whose tokenizer counts tokens; estimated by length if null",
        examples=["Qwen/Qwen3-8B"],
    )
    extra: FreeFields = Field(
        {}, description="further fields of every request", examples=[{"reasoning_effort": "low"}]
    )

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        if self.batch is not None and len(self.endpoints) > 1:
            raise ValueError(
                "batch goes with one endpoint: a batch lies on the server it was sent to"
            )
        return self


def _read_method(value: Any) -> Any:
    """Return an engine's settings with its name under `kind`, as stored keys have it, not `method`."""
    if not isinstance(value, Mapping) or "method" not in value or "kind" in value:
        return value
    return {"kind": value["method"], **{key: v for key, v in value.items() if key != "method"}}


EngineParams = Annotated[
    TransformersParams | VllmParams | OpenAIParams,
    Field(discriminator="kind"),
    BeforeValidator(_read_method),
]
