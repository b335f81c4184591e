"""The row: one instruction example, never changed once it is in a pool.

{"row_id": "bundled/chat.jsonl:12",
"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}],
"content_hash": "9f...", "text_hash": "4c...", "source": "bundled", "origin": "arithmetic", ...}
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypedDict

import pyarrow as pa

from curate.core.reasons import Reason

SCHEMA_VERSION = 2
ROLES = ("system", "user", "assistant", "tool")
SCHEMA = pa.schema(
    [
        pa.field("row_id", pa.string(), nullable=False),
        pa.field(
            "messages",
            pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
            nullable=False,
        ),
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


class Message(TypedDict):
    """One turn."""

    role: str
    content: str


def normalise(text: str) -> str:
    """Return the text in Unicode NFC with runs of white space made one space; case is kept."""
    return " ".join(_compose(text).split())


def content_hash(messages: Iterable[Message]) -> str:
    """Return 32 hex digits that are equal for rows with the same roles and normalised text."""
    digest = hashlib.blake2b(digest_size=16)
    for message in messages:
        digest.update(f"{message['role']}\x1f{normalise(message['content'])}\x1e".encode())
    return digest.hexdigest()


def text_hash(messages: Iterable[Message]) -> str:
    """Return 32 hex digits that are equal for rows with the same roles and text, white space included.

    Only the kinds of line ends and the white space at the ends of a turn make no difference.
    """
    digest = hashlib.blake2b(digest_size=16)
    for message in messages:
        text = trim_ends(message["content"])
        # The length keeps a text from passing for several turns.
        digest.update(f"{message['role']}\x1f{len(text)}\x1f{text}\x1e".encode())
    return digest.hexdigest()


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
        if not message["content"].strip():
            if message["role"] == "user":
                return Reason.EMPTY_PROMPT, f"messages[{i}].content"
            if message["role"] == "assistant":
                return Reason.EMPTY_RESPONSE, f"messages[{i}].content"
    if not any(message["role"] == "user" for message in messages):
        return Reason.NO_USER_TURN, "messages"
    if messages[-1]["role"] != "assistant":
        return Reason.LAST_TURN_NOT_ASSISTANT, f"messages[{len(messages) - 1}].role"
    return None


def prompt_text(messages: Iterable[Message]) -> str:
    """Return the text of all user turns, a line break between them."""
    return "\n".join(m["content"] for m in messages if m["role"] == "user")


def response_text(messages: Sequence[Message]) -> str:
    """Return the text of the last turn, which is the assistant's."""
    return messages[-1]["content"]
