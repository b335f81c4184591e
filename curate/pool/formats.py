"""Turn a foreign record into turns: which fields are the prompt and which the response.

{"messages": [{"role": "user", "content": "..."}, ...]}       messages
{"instruction": "...", "input": "...", "output": "..."}       alpaca
{"prompt": "...", "completion": "..."}                        prompt_completion
{"question": "...", "answer": "..."}                          question_answer
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from curate.errors import UserError
from curate.reasons import Reason
from curate.rows import Message

ORIGIN_FIELDS = ("origin", "task", "task_name", "template", "source", "dataset", "category")


TURN_FIELDS = ("role", "content")


@dataclass(frozen=True)
class Format:
    """Names of the fields that hold the turns; `context` is put below the prompt."""

    name: str
    messages: str | None = None
    prompt: str | None = None
    context: str | None = None
    response: str | None = None
    system: str | None = None
    origin: str | None = None

    @property
    def required(self) -> tuple[str, ...]:
        """Return the fields without which a record cannot be read."""
        return tuple(f for f in (self.messages, self.prompt, self.response) if f)


KNOWN = (
    Format("messages", messages="messages"),
    Format("alpaca", prompt="instruction", context="input", response="output", system="system"),
    Format("alpaca", prompt="instruction", context="input", response="response", system="system"),
    Format("prompt_completion", prompt="prompt", response="completion", system="system"),
    Format("prompt_completion", prompt="prompt", response="response", system="system"),
    Format("question_answer", prompt="question", response="answer", system="system"),
)


class Fault(Exception):
    """A record that makes no row: the reason and the field at fault."""

    def __init__(self, reason: Reason, field: str) -> None:
        super().__init__(f"{reason}: {field}")
        self.reason = reason
        self.field = field


def detect_format(values: Iterable[Any], where: str) -> Format:
    """Return the known format that fits most of the values, the first named one on a tie.

    Raises:
        UserError: no value fits any known format.
    """
    values = list(values)
    fits = [sum(_fits(form, value) for value in values) for form in KNOWN]
    if not values:
        raise UserError(f"{where}: holds no record that is valid JSON")
    if max(fits, default=0) == 0:
        seen = sorted({str(key) for value in values if isinstance(value, dict) for key in value})
        raise UserError(
            f"{where}: no known format (messages, alpaca, prompt/completion, question/answer) in "
            f"its first {len(values)} records; fields seen: {', '.join(seen[:12]) or 'none'}. "
            "Name yours in the config, e.g. fields: {prompt: query, response: reply}"
        )
    return KNOWN[fits.index(max(fits))]


def _fits(form: Format, value: Any) -> bool:
    return isinstance(value, dict) and all(field in value for field in form.required)


def read_turns(value: Any, form: Format) -> list[Message]:
    """Return the turns of a parsed record.

    Raises:
        Fault: the record lacks a field or holds something that is not text.
    """
    if not isinstance(value, dict):
        raise Fault(Reason.NOT_OBJECT, type(value).__name__)
    for field in form.required:
        if value.get(field) is None:
            raise Fault(Reason.MISSING_FIELD, field)
    if form.messages:
        return _listed_turns(value[form.messages], form.messages)
    turns: list[Message] = []
    if form.system and value.get(form.system):
        turns.append({"role": "system", "content": _text(value, form.system)})
    prompt = _text(value, form.prompt or "")
    if form.context and value.get(form.context):
        prompt = f"{prompt}\n\n{_text(value, form.context)}"
    turns.append({"role": "user", "content": prompt})
    response = _text(value, form.response or "", numbers=True)
    turns.append({"role": "assistant", "content": response})
    return turns


def _listed_turns(value: Any, field: str) -> list[Message]:
    if not isinstance(value, list):
        raise Fault(Reason.WRONG_TYPE, field)
    if not value:
        raise Fault(Reason.NO_USER_TURN, field)
    turns: list[Message] = []
    for i, turn in enumerate(value):
        if not isinstance(turn, dict):
            raise Fault(Reason.WRONG_TYPE, f"{field}[{i}]")
        for part in ("role", "content"):
            if turn.get(part) is None:
                raise Fault(Reason.MISSING_FIELD, f"{field}[{i}].{part}")
        if not isinstance(turn["role"], str):
            raise Fault(Reason.WRONG_TYPE, f"{field}[{i}].role")
        if turn.get("tool_calls"):
            raise Fault(Reason.UNSUPPORTED_CONTENT, f"{field}[{i}].tool_calls")
        turns.append({"role": turn["role"], "content": _content(turn["content"], f"{field}[{i}]")})
    return turns


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [p.get("text") if isinstance(p, dict) and "text" in p else None for p in content]
        texts = [p for p in parts if isinstance(p, str)]
        if len(texts) == len(content):
            return "".join(texts)
        raise Fault(Reason.UNSUPPORTED_CONTENT, f"{where}.content")
    raise Fault(Reason.WRONG_TYPE, f"{where}.content")


def _text(value: Mapping[str, Any], field: str, *, numbers: bool = False) -> str:
    """Return a field's text; an answer may be a number, a prompt may not."""
    text = value[field]
    if isinstance(text, str):
        return text
    if numbers and isinstance(text, int | float) and not isinstance(text, bool):
        return str(text)
    raise Fault(Reason.WRONG_TYPE, field)


def find_origin(value: Mapping[str, Any], form: Format) -> tuple[str | None, str | None]:
    """Return the upstream task of a record and the field that named it, where there is one."""
    turns = {form.messages, form.prompt, form.context, form.response, form.system}
    for field in (form.origin,) if form.origin else ORIGIN_FIELDS:
        name = value.get(field) if field not in turns else None
        if isinstance(name, str) and name:
            return name, field
    return None, None


def leftover_fields(value: Mapping[str, Any], form: Format, origin: str | None) -> dict[str, Any]:
    """Return the upstream fields that have no column of their own."""
    used = {form.messages, form.prompt, form.response, origin}
    used |= {f for f in (form.context, form.system) if f and isinstance(value.get(f), str)}
    left = {key: held for key, held in value.items() if key not in used}
    if form.messages:
        extras = [
            {k: v for k, v in t.items() if k not in TURN_FIELDS} for t in value[form.messages]
        ]
        if any(extras):
            left[form.messages] = extras
    return left
