"""OpenAI's protocol: a call as the body of a request, and the body of a reply as a completion."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.llm.engines.choices import MOST, match_choices
from curate.llm.engines.endpoint import EndpointError
from curate.llm.engines.parameters import OpenAIParams, Structured
from curate.llm.engines.redact import Redactor
from curate.llm.requests import Call, Completion, Finish, Request

FINISHES: Mapping[str, Finish] = {
    "stop": "ok",
    "length": "truncated",
    "content_filter": "filtered",
    "repetition": "repetition",
}
INSTRUCTION = "Answer with JSON alone, without a code fence, that fits this JSON schema:\n"
# No honest text is longer: few tokens have more letters than this.
LETTERS_AN_ANSWER, LETTERS_A_TOKEN = 1_024, 32
# What a server may count beyond what was sent and what was asked for.
SPARE_TOKENS = 100_000
# Where servers put reasoning: vLLM and DeepSeek, later ones, Ollama.
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
# Of a message in parts, these are its text; others are reasoning, pictures or calls.
TEXT_PARTS = (None, "text", "output_text")
NO_KEY = Redactor()
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
        if sampling.logprobs or sampling.choices:
            body["logprobs"] = MOST if sampling.choices else 1
        return RAW, body | {"prompt": _raw_prompt(request, structured)} | params.extra
    if sampling.logprobs or sampling.choices:
        body["logprobs"] = True
    if sampling.choices:
        body["top_logprobs"] = MOST
    return CHAT, body | _messages(request, params, structured) | params.extra


def _response_format(schema: Mapping[str, JSON], structured: Structured) -> dict[str, Any]:
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
    reply: Mapping[str, JSON],
    call: Call,
    count: Callable[[str], int],
    prompt_tokens: int,
    redactor: Redactor = NO_KEY,
) -> Completion:
    """Return a reply as a completion, its cost not yet set. All that stands in it is data.

    Token counts that the server does not give, or cannot mean, are estimated: `prompt_tokens`, and by
    `count`. A text far beyond max_tokens is cut and counts as truncated.

    Raises:
        Fault: there is no answer in it.
    """
    choice, message = _choice_of(reply, call.request, redactor)
    text, finish, error = _answer_of(choice, message, call.request, redactor)
    reasoning = redactor.hide(_reasoning_of(message))
    # Parsers of servers take an answer without reasoning, or in JSON, for reasoning.
    misplaced = finish == "empty" and bool(reasoning.strip())
    if misplaced:
        text, reasoning, finish = reasoning, "", "ok"
    most = LETTERS_AN_ANSWER + LETTERS_A_TOKEN * call.sampling.max_tokens
    if len(text) > most:
        text, finish, error = text[:most], "truncated", ""
    usage = _usage(reply.get("usage"), call, text, prompt_tokens)
    return Completion(
        text=text,
        finish=finish,
        prompt_tokens=usage[0] if usage else prompt_tokens,
        completion_tokens=usage[1] if usage else count(text),
        logprobs=_logprobs(choice.get("logprobs")) if call.sampling.logprobs else None,
        choice_logprobs=_choice_logprobs(call.sampling.choices, choice.get("logprobs")),
        estimated=usage is None,
        error=error,
        reasoning=reasoning[:most],
        misplaced=misplaced,
    )


def _choice_of(
    reply: Mapping[str, JSON], request: Request, redactor: Redactor
) -> tuple[Mapping[str, JSON], Mapping[str, JSON]]:
    """Return the first choice and where its text stands; servers may send more than one."""
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict):
        message = choice.get("message") if request.prompt is None else choice
        if isinstance(message, dict) and (request.prompt is None or "text" in message):
            return choice, message
    try:
        said = redactor.excerpt(orjson.dumps(reply).decode(), letters=200)
    except TypeError:
        said = "JSON nested too deep to be shown"
    raise EndpointError(f"the answer has no choice in it: {said}")


def _answer_of(
    choice: Mapping[str, JSON], message: Mapping[str, JSON], request: Request, redactor: Redactor
) -> tuple[str, Finish, str]:
    """Return an answer's text without keys, how it ended, and what is odd about that."""
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        return redactor.hide(refusal), "refused", ""
    text = redactor.hide(_text_of(message.get("content" if request.prompt is None else "text")))
    reason = choice.get("finish_reason")
    finish = FINISHES.get(reason) if isinstance(reason, str) else None
    if finish is None:
        said = (
            redactor.excerpt(reason, letters=40)
            if isinstance(reason, str)
            else type(reason).__name__
        )
        return text, "unknown", f"the answer ended for an unknown reason ({said})"
    return text, "empty" if finish == "ok" and not text.strip() else finish, ""


def _reasoning_of(message: Mapping[str, JSON]) -> str:
    """Return what a server told apart as reasoning; whatever is no text is none."""
    for name in REASONING_FIELDS:
        said = message.get(name)
        if isinstance(said, str) and said.strip():
            return said
    return ""


def _text_of(content: Any) -> str:
    """Return a message's text, which may come in parts; what calls a tool has none."""
    if isinstance(content, list):
        parts = [
            part.get("text")
            for part in content
            if isinstance(part, dict) and part.get("type") in TEXT_PARTS
        ]
        return "".join(part for part in parts if isinstance(part, str))
    if content is None or isinstance(content, str):
        return content or ""
    raise EndpointError("the answer's text is no text")


def _usage(usage: Any, call: Call, text: str, estimate: int) -> tuple[int, int] | None:
    """Return the tokens read and written as the server counts them; None if that cannot be.

    Servers add turns of their own to a prompt and may count hidden reasoning, so the bounds are wide.
    """
    if not isinstance(usage, dict):
        return None
    read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if read is None or written is None or not 1 <= read <= SPARE_TOKENS + 10 * estimate:
        return None
    most = SPARE_TOKENS + 4 * call.sampling.max_tokens
    return (read, written) if bool(text) <= written <= most else None


def _count(value: Any) -> int | None:
    """Return a whole number, None for everything else, truth values included."""
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole or (isinstance(value, int) and not isinstance(value, bool)) else None


def _logprobs(logprobs: Any) -> tuple[float, ...] | None:
    """Return log-probabilities, NaN for each that is none; None if there is no list of them."""
    if not isinstance(logprobs, dict):
        return None
    values, tokens = logprobs.get("token_logprobs"), logprobs.get("content")
    if isinstance(tokens, list) and values is None:
        values = [token.get("logprob") if isinstance(token, dict) else None for token in tokens]
    return tuple(map(_logprob, values)) if isinstance(values, list) else None


def _choice_logprobs(choices: Sequence[str], logprobs: Any) -> tuple[float, ...] | None:
    """Return what the first token's likeliest say of some words, None if that is not given."""
    if not choices or not isinstance(logprobs, dict):
        return None
    tops, content = logprobs.get("top_logprobs"), logprobs.get("content")
    pairs: list[tuple[Any, Any]] = []
    if isinstance(tops, list) and tops and isinstance(tops[0], dict):
        pairs = list(tops[0].items())
    elif isinstance(content, list) and content and isinstance(content[0], dict):
        listed = content[0].get("top_logprobs")
        parts = (
            [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
        )
        pairs = [(part.get("token"), part.get("logprob")) for part in parts]
    numbers = [(token, _logprob(value)) for token, value in pairs if isinstance(token, str)]
    given = [(token, number) for token, number in numbers if not math.isnan(number)]
    return match_choices(choices, given) if given else None


def _logprob(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool) and value <= 0
    return float(value) if number else math.nan
