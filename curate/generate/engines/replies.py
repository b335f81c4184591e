"""OpenAI's protocol: a call as the body of a request, and the body of a reply as a completion."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from curate.errors import UserError
from curate.generate.engines.config import OpenAIParams, Structured
from curate.generate.engines.endpoint import Fault
from curate.generate.requests import Call, Completion, Finish, Request

FINISHES: Mapping[str | None, Finish] = {
    "stop": "ok",
    "length": "truncated",
    "content_filter": "filtered",
    "repetition": "repetition",
}
INSTRUCTION = "Answer with JSON alone, without a code fence, that fits this JSON schema:\n"
CHAT, RAW = "/chat/completions", "/completions"


def body_of(call: Call, params: OpenAIParams, structured: Structured) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a call.

    Raises:
        UserError: the request opens the answer and the server is not said to go on from there.
    """
    request, sampling = call.request, call.sampling
    body: dict[str, Any] = {
        "model": params.model,
        params.max_tokens_field: sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if params.send_seed and sampling.temperature > 0:
        body["seed"] = call.server_seed
    if request.schema is not None:
        body |= _response_format(request.schema, structured)
    if request.prompt is not None:
        # The older protocol, whose limit has one name only and whose log-probabilities are a number.
        body["max_tokens"] = body.pop(params.max_tokens_field)
        wanted = {"logprobs": 1} if sampling.logprobs else {}
        return RAW, body | {"prompt": _raw_prompt(request, structured)} | wanted | params.extra
    if sampling.logprobs:
        body["logprobs"] = True
    return CHAT, body | _messages(request, params, structured) | params.extra


def _response_format(schema: Mapping[str, Any], structured: Structured) -> dict[str, Any]:
    if structured == "none":
        return {}
    if structured == "json_object":
        return {"response_format": {"type": "json_object"}}
    named = {"name": "answer", "schema": dict(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _needs_words(request: Request, structured: Structured) -> bool:
    """Return whether the server does not enforce the schema, so that the prompt has to tell it."""
    return request.schema is not None and structured != "json_schema"


def _instruction(request: Request) -> str:
    return INSTRUCTION + orjson.dumps(request.schema).decode()


def _raw_prompt(request: Request, structured: Structured) -> str:
    prompt = request.prompt or ""
    return f"{_instruction(request)}\n\n{prompt}" if _needs_words(request, structured) else prompt


def _messages(request: Request, params: OpenAIParams, structured: Structured) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [dict(message) for message in request.messages]
    if _needs_words(request, structured):
        messages[-1]["content"] += f"\n\n{_instruction(request)}"
    if not request.prefix:
        return {"messages": messages}
    if params.prefix == "unsupported":
        raise UserError(
            "this method opens the model's answers, which plain OpenAI servers do not allow; set "
            "engine.prefix to continue for vLLM's server, or to plain where a last assistant turn is "
            "continued"
        )
    messages.append({"role": "assistant", "content": request.prefix})
    if params.prefix == "plain":
        return {"messages": messages}
    return {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}


def read_reply(
    reply: Mapping[str, Any], call: Call, count: Callable[[str], int], count_prompt: int
) -> Completion:
    """Return a reply as a completion, its cost not yet set.

    Token counts that the server does not give are estimated by `count` and `count_prompt`.

    Raises:
        Fault: this is no reply of the protocol.
    """
    try:
        choice = reply["choices"][0]
        message = choice["message"] if call.request.prompt is None else choice
        told = message.get("content") if call.request.prompt is None else message["text"]
        refusal = message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Fault(f"the answer has no choice in it: {str(reply)[:200]}") from None
    if not isinstance(told, str | None):
        raise Fault("the answer's text is no text")
    text = told or ""
    usage = _usage(reply)
    finish = "refused" if refusal else _finish(choice.get("finish_reason"), text)
    return Completion(
        text=str(refusal) if refusal else text,
        finish=finish,
        prompt_tokens=usage[0] if usage else count_prompt,
        completion_tokens=usage[1] if usage else count(text),
        logprobs=_logprobs(choice) if call.sampling.logprobs else None,
        estimated=usage is None,
    )


def _finish(told: Any, text: str) -> Finish:
    if told not in FINISHES:
        raise Fault(f"the answer ended for an unknown reason ({told!r})")
    finish = FINISHES[told]
    return "empty" if finish == "ok" and not text.strip() else finish


def _usage(reply: Mapping[str, Any]) -> tuple[int, int] | None:
    usage = reply.get("usage")
    try:
        return int(usage["prompt_tokens"]), int(usage["completion_tokens"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None


def _logprobs(choice: Mapping[str, Any]) -> tuple[float, ...] | None:
    told = choice.get("logprobs") or {}
    if told.get("token_logprobs") is not None:
        found = told["token_logprobs"]
    elif told.get("content") is not None:
        found = [token["logprob"] for token in told["content"]]
    else:
        return None
    return tuple(float(value) if value is not None else math.nan for value in found)
