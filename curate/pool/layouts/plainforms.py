r"""Records of plain texts, read by the form that all records with the same fields have.

Most records are texts under names, {"instruction": "...", "input": "...", "output": "..."}, or one list
of turns that are a role and a text each, with a few fields beside. What becomes of such a record hangs
on the names of its fields and on which are empty, not on what the texts say. So the general reader reads
one record of marks in place of texts, and what it makes of them is the form of all others:

    {"instruction": "mark0", "input": "mark1", "output": "mark2"}
    -> user "mark0\n\nmark1", assistant "mark2"; meta {}

A record whose texts could be more than texts (JSON, a transcript) has no form: it is read as any other.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate.core.rows import find_fault
from curate.pool.layouts.choices import COLUMN
from curate.pool.layouts.example import Record, RecordFault
from curate.pool.layouts.glaive import CHAT, SAMPLE
from curate.pool.layouts.messages import STRING_FIELDS
from curate.pool.layouts.moss import PLAIN
from curate.pool.layouts.pairs import PairLayout
from curate.pool.layouts.reader import NAMED_LAYOUTS, Conversation, RecordReader
from curate.pool.layouts.registry import LAYOUTS
from curate.pool.layouts.transcript import TEXT_FIELDS
from curate.pool.layouts.unread import (
    LABEL_FIELDS,
    MESSAGE_FIELDS,
    TEMPLATE_FIELD,
    is_conversational,
)

# Fields whose texts decide how a record is read; a layout that looks into a text adds its field.
DECIDING_FIELDS = frozenset(
    {*LABEL_FIELDS, TEMPLATE_FIELD, CHAT, SAMPLE, PLAIN, *STRING_FIELDS, *TEXT_FIELDS}
)
PROBES: Mapping[type, Any] = {int: 7, bool: True, type(None): None}
PROBE_TURNS = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "welcome"}]


@dataclass(frozen=True)
class PlainForm:
    """What becomes of the texts of records with the same fields.

    turns: role and fields of each, whose texts stand below each other.
    listed: the field with a list of turns, where there is one instead.
    meta: fields that go to meta.
    origin: the field with the upstream task.
    """

    layout: str
    fields: tuple[str, ...]
    turns: tuple[tuple[str, tuple[str, ...]], ...]
    listed: str | None
    meta: tuple[str, ...]
    origin: str | None


def plain_form(reader: RecordReader, kinds: Mapping[str, object]) -> PlainForm | None:
    """Return the form of records with these fields; None if there is none.

    Args:
        reader: the general reader.
        kinds: by field, whether a text is not empty, or the type of another value.
    """
    usual = reader.layouts[: len(LAYOUTS)] == LAYOUTS and not reader.by_name
    if not usual or reader.roles or reader.origin:
        return None
    probe = _probe(kinds)
    if probe is None:
        return None
    try:
        parsed = reader.read(probe)
    except RecordFault:
        return None
    listed = next((name for name, kind in kinds.items() if kind is list), None)
    [conversation] = parsed.conversations if len(parsed.conversations) == 1 else [None]
    if conversation is None or not _is_plain(reader, probe, conversation, listed, parsed.fields):
        return None
    return _form_of(probe, parsed.layout, parsed.fields, conversation, listed)


def _probe(kinds: Mapping[str, object]) -> dict[str, Any] | None:
    """Return a record with marks for texts; None if there are values that say more than a text."""
    record: dict[str, Any] = {}
    for number, (name, kind) in enumerate(kinds.items()):
        if isinstance(kind, bool):
            record[name] = f"mark{number}" if kind else ""
        elif kind is list and name in MESSAGE_FIELDS:
            record[name] = PROBE_TURNS
        elif kind in PROBES:
            record[name] = PROBES[kind]  # type: ignore[index]
        else:
            return None
    return record if sum(kind is list for kind in kinds.values()) < 2 else None


def _is_plain(
    reader: RecordReader,
    probe: Record,
    conversation: Conversation,
    listed: str | None,
    fields: tuple[str, ...],
) -> bool:
    """Return whether a record is read as its probe is, whatever its texts say."""
    example = conversation.example
    if example is None or example.tools or example.rejected is not None or example.beside:
        return False
    lowered = {name.lower(): name for name in probe}
    others = [layout for layout in reader.layouts if isinstance(layout, NAMED_LAYOUTS)]
    named = [layout for layout in others if layout.matched_fields(lowered)]
    if any(not isinstance(layout, PairLayout) for layout in named) or (listed and named):
        return False
    # The first one has it. Where it fails, it does so for what a text says.
    if named and tuple(lowered[name] for name in named[0].matched_fields(lowered)) != fields:
        return False
    return find_fault(example.turns) is None and all(
        name.lower() not in DECIDING_FIELDS
        and (name in example.used or value == "" or _is_neutral(name))
        for name, value in probe.items()
    )


@functools.lru_cache(1_000)
def _is_neutral(name: str) -> bool:
    """Return whether a field of this name is beside the conversation."""
    return not COLUMN.fullmatch(name) and not is_conversational(name)


def _form_of(
    probe: Record,
    layout: str,
    fields: tuple[str, ...],
    conversation: Conversation,
    listed: str | None,
) -> PlainForm | None:
    """Return the form that a reading of a probe shows; None if its turns are not texts of it alone."""
    assert conversation.example is not None, "it has been looked at"
    names = {value: name for name, value in probe.items() if isinstance(value, str) and value}
    turns = []
    for message in () if listed else conversation.example.turns:
        parts = message["content"].split("\n\n")
        if not names.keys() >= {*parts} or len(message) != 2:
            return None
        turns.append((message["role"], tuple(names[part] for part in parts)))
    if listed and conversation.example.turns != PROBE_TURNS:
        return None
    origin = names.get(conversation.origin or "")
    if any(probe[name] != value for name, value in conversation.meta.items()):
        return None
    return PlainForm(layout, fields, tuple(turns), listed, tuple(conversation.meta), origin)
