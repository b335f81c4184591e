"""Records of plain texts, those of one form together: field by field, and not record by record."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple

from curate.core.jsontext import dump_json
from curate.pool.layouts.lineshapes import TURN_FORMS
from curate.pool.layouts.messages import JSON_STARTS
from curate.pool.layouts.plainforms import PlainForm, plain_form
from curate.pool.layouts.reader import MAX_ORIGIN_CHARS, RecordReader
from curate.pool.layouts.roles import ROLE_MAP
from curate.pool.layouts.transcript import find_marks
from curate.pool.layouts.turn import TURN_KEYS

MAX_FORMS = 1_000
# What the marks of a transcript begin with.
MARK_STARTS = frozenset("<[#SHAU")
# The names of a record's fields, and for each whether a text is not empty, or the type of another value.
FormKey = tuple[tuple[str, ...], tuple[object, ...]]
Values = dict[str, Any]


class TextTurns(NamedTuple):
    """Turns that are a role and a text each."""

    roles: Sequence[str]
    texts: Sequence[str]


class PlainRecord(NamedTuple):
    """A record as read: its layout, the fields that identify it, turns, origin, meta as JSON."""

    layout: str
    fields: tuple[str, ...]
    turns: TextTurns
    origin: str | None
    meta: str


@dataclass
class PlainReader:
    """Reads records of plain texts as a general reader would, many times as fast.

    Records of one form are read together, field by field.
    """

    reader: RecordReader
    _forms: dict[FormKey, PlainForm | None] = field(default_factory=dict)

    def read(self, records: Sequence[Any]) -> list[PlainRecord | None]:
        """Return what becomes of each record; None if it takes the general reader to tell."""
        read: list[PlainRecord | None] = [None] * len(records)
        for key, numbers in _by_key(records).items():
            form = self.form(key)
            if form is not None:
                of_form = _filled(form, [records[number] for number in numbers])
                for number, record in zip(numbers, of_form, strict=True):
                    read[number] = record
        return read

    def form(self, key: FormKey) -> PlainForm | None:
        """Return the form of records with these fields; None if there is none."""
        if key not in self._forms:
            if len(self._forms) >= MAX_FORMS:
                self._forms.clear()
            self._forms[key] = plain_form(self.reader, dict(zip(*key, strict=True)))
        return self._forms[key]


def _by_key(records: Sequence[Any]) -> dict[FormKey, list[int]]:
    """Return by names of fields, and which texts are not empty, the numbers of records."""
    numbers = defaultdict[FormKey, list[int]](list)
    for number, record in enumerate(records):
        if type(record) is dict:
            kinds = [bool(v) if type(v) is str else type(v) for v in record.values()]
            numbers[tuple(record), tuple(kinds)].append(number)
    return numbers


def _filled(form: PlainForm, records: Sequence[Values]) -> Sequence[PlainRecord | None]:
    """Return what becomes of records of a form; those that are not plain are found by halving."""
    filled = _all_filled(form, records)
    if filled is not None:
        return filled
    if len(records) == 1:
        return [None]
    half = len(records) // 2
    return [*_filled(form, records[:half]), *_filled(form, records[half:])]


def _all_filled(form: PlainForm, records: Sequence[Values]) -> list[PlainRecord] | None:
    """Return what becomes of records of a form; None if it takes the general reader for one of them."""
    layout, turns = form.layout, _joined_turns(form, records) if form.listed is None else None
    if form.listed is not None:
        layout, turns = _listed_turns([record[form.listed] for record in records])
    if turns is None:
        return None
    origins = [record[form.origin] if form.origin else None for record in records]
    if any(origin and len(origin) > MAX_ORIGIN_CHARS for origin in origins):
        return None
    metas = ["{}"] * len(records)
    if form.meta:
        metas = [dump_json({name: record[name] for name in form.meta}) for record in records]
    return [
        PlainRecord(layout, form.fields, *each) for each in zip(turns, origins, metas, strict=True)
    ]


def _joined_turns(form: PlainForm, records: Sequence[Values]) -> list[TextTurns] | None:
    """Return the turns that a form makes of records' texts; None if a text may be more than that."""
    roles = [role for role, _ in form.turns]
    columns: list[list[str]] = []
    for _, names in form.turns:
        texts = [[record[name] for record in records] for name in names]
        if any(map(_may_hold_more, texts)):
            return None
        columns.append(
            texts[0] if len(names) == 1 else [*map("\n\n".join, zip(*texts, strict=True))]
        )
    return [TextTurns(roles, texts) for texts in zip(*columns, strict=True)]


def _may_hold_more(texts: Sequence[str]) -> bool:
    """Return whether one of several texts may be JSON or a transcript, or opens with white space."""
    firsts = {text[0] for text in texts}
    if not firsts.isdisjoint(JSON_STARTS) or any(first.isspace() for first in firsts):
        return True
    return not firsts.isdisjoint(MARK_STARTS) and any(
        text[0] in MARK_STARTS and find_marks(text) is not None for text in texts
    )


def _listed_turns(lists: Sequence[Sequence[Any]]) -> tuple[str, list[TextTurns] | None]:
    """Return the layout and the turns of lists; no turns if one is more than a role and a text."""
    listed = [*chain.from_iterable(lists)]
    role_key = _role_key(listed[0]) if all(lists) else None
    if role_key is None or {*map(type, listed)} != {dict} or {*map(len, listed)} != {2}:
        return "", None
    names = [turn.get(role_key) for turn in listed]
    texts = [turn.get(TURN_KEYS[role_key]) for turn in listed]
    if {*map(type, names), *map(type, texts)} != {str} or not ROLE_MAP.keys() >= {*names}:
        return "", None
    if not all(texts) or any(first.isspace() for first in {text[0] for text in texts}):
        return "", None
    roles = [ROLE_MAP[name] for name in names]
    ends = accumulate(map(len, lists), initial=0)
    turns = [TextTurns(roles[start:end], texts[start:end]) for start, end in pairwise(ends)]
    whole = all([each.roles[-1] == "assistant" and "user" in each.roles for each in turns])
    return TURN_FORMS[role_key], turns if whole else None


def _role_key(turn: Any) -> str | None:
    return next((key for key in TURN_FORMS if type(turn) is dict and key in turn), None)
