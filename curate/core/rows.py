"""The row: one instruction example, never changed once it is in a pool.

{"row_id": "bundled/chat.jsonl:12",
"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}],
"content_hash": "9f...", "text_hash": "4c...", "source": "bundled", "origin": "arithmetic", ...}
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NotRequired, TypedDict

import pyarrow as pa

from curate.core.reasons import Reason

SCHEMA_VERSION = 2
ROLES = ("system", "user", "assistant", "tool")
# Keys of a turn that says nothing but a text.
PLAIN_TURN = 2
CALL = pa.struct([("id", pa.string()), ("name", pa.string()), ("arguments", pa.string())])
MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("reasoning", pa.string()),
            ("tool_calls", pa.list_(CALL)),
            ("tool_call_id", pa.string()),
            ("name", pa.string()),
            ("weight", pa.int8()),
        ]
    )
)
SCHEMA = pa.schema(
    [
        pa.field("row_id", pa.string(), nullable=False),
        pa.field("messages", MESSAGES, nullable=False),
        pa.field("tools", pa.string()),
        pa.field("rejected", MESSAGES),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("text_hash", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", pa.string()),
        pa.field("meta", pa.string(), nullable=False),
        pa.field("parents", pa.list_(pa.string()), nullable=False),
        pa.field("method", pa.string()),
        pa.field("hop", pa.int32()),
    ]
)


class ToolCall(TypedDict):
    """A call of a function: arguments are the JSON text of an object."""

    id: NotRequired[str | None]
    name: str
    arguments: str


class Message(TypedDict):
    """One turn; what it has none of is absent, or None where it comes from a frame.

    reasoning: what the assistant thought before its answer.
    tool_calls: the functions that it calls.
    tool_call_id, name: the call that a tool's turn answers, and the name of its tool or speaker.
    weight: 0 if the turn is context that is never trained on.
    tools: of the first turn of a conversation that a model is to read, those of its row.
    """

    role: str
    content: str
    reasoning: NotRequired[str | None]
    tool_calls: NotRequired[list[ToolCall] | None]
    tool_call_id: NotRequired[str | None]
    name: NotRequired[str | None]
    weight: NotRequired[int | None]
    tools: NotRequired[str | None]


def normalise(text: str) -> str:
    """Return the text in Unicode NFC with runs of white space made one space; case is kept."""
    composed = _compose(text)
    # Most texts have lines and single spaces alone; to see that is faster than to split them.
    line = composed
    if "\n" in line:
        line = line.replace("\n\n", " ").replace("\n", " ")
    if line.isprintable() and "  " not in line and line[:1] != " " and line[-1:] != " ":
        return line
    return " ".join(composed.split())


def content_hash(messages: Iterable[Message], tools: str | None = None) -> str:
    """Return 32 hex digits that are equal for rows with the same roles, normalised text and tools."""
    digest = hashlib.blake2b(_tools_bytes(tools), digest_size=16)
    for message in messages:
        digest.update(f"{message['role']}\x1f{normalise(message['content'])}\x1e".encode())
        if len(message) > PLAIN_TURN:
            for kind, text in _further_texts(message):
                digest.update(f"{kind}\x1f{normalise(text)}\x1e".encode())
    return digest.hexdigest()


def text_hash(messages: Iterable[Message], tools: str | None = None) -> str:
    """Return 32 hex digits that are equal for rows with the same text, white space included, and tools.

    Only the kinds of line ends and the white space at the ends of a turn make no difference.
    """
    digest = hashlib.blake2b(_tools_bytes(tools), digest_size=16)
    for message in messages:
        text = trim_ends(message["content"])
        # The length keeps a text from passing for several turns.
        digest.update(f"{message['role']}\x1f{len(text)}\x1f{text}\x1e".encode())
        if len(message) > PLAIN_TURN:
            for kind, further in _further_texts(message):
                digest.update(f"{kind}\x1f{len(further)}\x1f{further}\x1e".encode())
    return digest.hexdigest()


def _tools_bytes(tools: str | None) -> bytes:
    return f"tools\x1f{tools}\x1e".encode() if tools else b""


def _further_texts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield what a turn says beside its content: its reasoning and its calls, whose ids say nothing."""
    if reasoning := message.get("reasoning"):
        yield "reasoning", reasoning
    for call in message.get("tool_calls") or ():
        yield "call", call_text(call)


def call_text(call: ToolCall) -> str:
    """Return a call as a line of text: the function's name and its arguments."""
    return f"{call['name']} {call['arguments']}"


def turn_text(message: Message, *, reasoning: bool = True) -> str:
    """Return all that a turn says: its reasoning if wished, its content and its calls, a line each.

    curate.core.turntext has the same for frames.
    """
    calls = message.get("tool_calls")
    thought = message.get("reasoning") if reasoning else None
    if not calls and not thought:
        return message["content"]
    texts = [thought, message["content"], *(call_text(call) for call in calls or ())]
    return "\n".join(text for text in texts if text)


def trim_ends(text: str) -> str:
    """Return the text in Unicode NFC without white space at its ends, line ends all being line feeds.

    The indentation of the first line that is not blank stays.
    """
    text = _compose(text).rstrip()
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text[:1].isspace():
        return text
    blank = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, blank) + 1 :]


def _compose(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def find_fault(messages: Sequence[Message]) -> tuple[Reason, str] | None:
    """Return why these turns make no row, with the field at fault, or None if they do."""
    for i, message in enumerate(messages):
        if message["role"] not in ROLES:
            return Reason.UNKNOWN_ROLE, f"messages[{i}].role = {message['role']!r:.80}"
        if not message["content"].strip() and not message.get("tool_calls"):
            if message["role"] == "user":
                return Reason.EMPTY_PROMPT, f"messages[{i}].content"
            if message["role"] == "assistant":
                return Reason.EMPTY_RESPONSE, f"messages[{i}].content"
    if not any(message["role"] == "user" for message in messages):
        return Reason.NO_USER_TURN, "messages"
    if messages[-1]["role"] != "assistant":
        return Reason.LAST_TURN_NOT_ASSISTANT, f"messages[{len(messages) - 1}].role"
    if messages[-1].get("weight") == 0:
        return Reason.UNTRAINED_RESPONSE, f"messages[{len(messages) - 1}].weight = 0"
    return None


def prompt_text(messages: Iterable[Message]) -> str:
    """Return the text of all user turns, a line break between them."""
    return "\n".join(m["content"] for m in messages if m["role"] == "user")


def response_text(messages: Sequence[Message]) -> str:
    """Return what the last turn answers, which is the assistant's: its content and calls."""
    return turn_text(messages[-1], reasoning=False)
