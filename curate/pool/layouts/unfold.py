"""Records that hold other records: each of them is read on its own, with the fields around it.

{"name": "add", "instruction": "Add.", "instances": [{"input": "2 3", "output": "5"}]}    instances
{"examples": [{"input": "...", "target": "..."}]}                                          examples
{"title": "...", "paragraphs": [{"context": "...", "qas": [{"question": ...}]}]}           squad
{"custom_id": "1", "body": {"messages": [...]}}                                            batch
{"input": {"messages": [...]}, "preferred_output": [...]}                                  preference
"""

from collections.abc import Sequence

from curate.core.reasons import Reason
from curate.pool.layouts.example import Record, RecordFault

WRAPPERS = ("body", "params", "request", "input")
PARTS = {
    "instances": "instances",
    "Instances": "instances",
    "examples": "examples",
    "paragraphs": "squad",
    "qas": "squad",
}
HOLDING_FIELDS = frozenset({*WRAPPERS, *PARTS})


def unfolded(record: Record) -> tuple[str, str, list[Record]] | None:
    """Return what a record that holds others is, the field that holds them, and them; else None.

    Raises:
        RecordFault: it holds none, or something else.
    """
    if record.keys().isdisjoint(HOLDING_FIELDS):
        return None
    for field in WRAPPERS:
        inner = record.get(field)
        if isinstance(inner, dict) and ("messages" in inner or "contents" in inner):
            name = "preference" if "preferred_output" in record else "batch"
            return (
                name,
                f"{field}.{'messages' if 'messages' in inner else 'contents'}",
                [_merged(record, field, inner)],
            )
    for field, name in PARTS.items():
        parts = record.get(field)
        if isinstance(parts, list) and parts and all(isinstance(part, dict) for part in parts):
            outer = _renamed(record)
            merged = [_merged(outer, field, _one_output(part)) for part in parts]
            return name, field, [deep for each in merged for deep in _deeper(each)]
    return None


def _deeper(record: Record) -> Sequence[Record]:
    inner = unfolded(record) if "qas" in record else None
    return inner[2] if inner else [record]


def _merged(outer: Record, field: str, inner: Record) -> Record:
    """Return an inner record with the fields around it; of two with one name both are kept."""
    around = {k: v for k, v in outer.items() if k != field}
    kept = {(f"record.{k}" if k in inner else k): v for k, v in around.items()}
    return {**kept, **inner}


def _renamed(record: Record) -> Record:
    """Return a task of Super-NaturalInstructions with the names of other tasks."""
    if "Definition" not in record:
        return record
    definition = record["Definition"]
    texts = definition if isinstance(definition, list) else [definition]
    lines = [text for text in texts if isinstance(text, str)]
    if len(lines) < len(texts):
        raise RecordFault(Reason.WRONG_TYPE, "Definition")
    others = {k: v for k, v in record.items() if k != "Definition"}
    return {"instruction": "\n".join(lines), **others}


def _one_output(part: Record) -> Record:
    """Return an instance whose output, if it is a list of like answers, is the first of them."""
    output = part.get("output")
    if not isinstance(output, list) or not output:
        return part
    others = {"other_outputs": output[1:]} if len(output) > 1 else {}
    return {**part, "output": output[0], **others}
