"""A row of the pool and the four upstream formats it may be written in."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ALPACA, CHAT, PAIRS, QA = "alpaca.jsonl.gz", "chat.jsonl", "pairs.jsonl", "qa.json"
FILES = (ALPACA, CHAT, PAIRS, QA)
# Shares of the pool; the cycle spreads every family over all files.
FILE_CYCLE = (CHAT, ALPACA, PAIRS, QA, CHAT, ALPACA, PAIRS, CHAT, ALPACA, PAIRS, QA, CHAT)

SOURCES = ("helpdesk", "classroom", "forum", "handmade")
LICENCES = ("apache-2.0", "apache-2.0", "apache-2.0", "cc-by-4.0", "cc0-1.0")

Turn = tuple[str, str]


@dataclass(eq=False)
class Row:
    """One line of the pool and all that is known about it."""

    family: str
    file: str
    turns: tuple[Turn, ...]
    extra: dict[str, Any]
    defect: str | None = None
    twin: Row | None = None
    eval_id: str | None = None
    correct: str | None = None
    reason: str | None = None
    raw: bytes | None = None
    row_id: str = ""

    @property
    def prompt(self) -> str:
        return next(content for role, content in self.turns if role == "user")

    @property
    def response(self) -> str:
        return self.turns[-1][1]

    @property
    def single(self) -> bool:
        return len(self.turns) == 2


def single_turn(prompt: str, response: str) -> tuple[Turn, ...]:
    return (("user", prompt), ("assistant", response))


def text_of(turns: Sequence[Turn]) -> str:
    return "\n".join(content for _, content in turns)


def draw_extra(rng: random.Random, file: str) -> dict[str, Any]:
    """The fields beside the text that each upstream carries."""
    if file == CHAT:
        extra: dict[str, Any] = {"source": rng.choice(SOURCES)}
        if rng.random() < 0.4:
            extra["rating"] = rng.randrange(1, 6)
        return extra
    if file == PAIRS:
        return {"licence": rng.choice(LICENCES)}
    return {}


def messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def record(row: Row) -> dict[str, Any]:
    """The row as its file's upstream would write it."""
    if row.file == CHAT:
        return {"messages": messages(row.turns), "task": row.family, **row.extra}
    if row.file == PAIRS:
        return {
            "prompt": row.prompt, "completion": row.response, "task": row.family, **row.extra,
        }  # fmt: skip
    if row.file == QA:
        return {"question": row.prompt, "answer": row.response, "task": row.family}
    instruction, mark, text = row.prompt.partition("\n\n")
    # Where the material comes first there is no separate instruction to split off.
    if not mark or len(instruction) > len(text):
        instruction, text = row.prompt, ""
    return {
        "instruction": instruction, "input": text, "output": row.response, "task": row.family,
    }  # fmt: skip


def dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def encoded(row: Row) -> bytes:
    return dumped(record(row)) if row.raw is None else row.raw


def file_bytes(name: str, rows: Sequence[Row]) -> bytes:
    lines = [encoded(row) for row in rows]
    if name == QA:
        return b"[\n" + b",\n".join(lines) + b"\n]\n"
    plain = b"".join(line + b"\n" for line in lines)
    return zipped(plain) if name == ALPACA else plain


def zipped(plain: bytes) -> bytes:
    buffer = io.BytesIO()
    # A file name or a time in the header would make every run differ.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(plain)
    return buffer.getvalue()
