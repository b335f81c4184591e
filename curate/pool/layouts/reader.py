"""Read a record: find its layout, read its turns, and let no field of the conversation go unread."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.pool.layouts.calls import add_tools
from curate.pool.layouts.compared import ComparedLayout
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.fields import FieldsLayout, find_value
from curate.pool.layouts.pairs import PairLayout
from curate.pool.layouts.preference import PreferenceLayout
from curate.pool.layouts.prompts import PromptLayout
from curate.pool.layouts.reasoning import add_reasoning
from curate.pool.layouts.registry import LAYOUTS, LayoutReader, all_layouts
from curate.pool.layouts.rejected import add_rejected_beside
from curate.pool.layouts.system import add_system
from curate.pool.layouts.template import template_layout
from curate.pool.layouts.unfit import UNKNOWN, describe_unfit
from curate.pool.layouts.unfold import unfolded
from curate.pool.layouts.unread import check_fields
from curate.pool.settings import FieldNames, TemplateSource

ORIGIN_FIELDS = ("origin", "task", "task_name", "template", "source", "dataset", "category")
MAX_LISTED_FIELDS = 12
# A longer text under such a name is none: `template` may hold the whole conversation.
MAX_ORIGIN_CHARS = 200
# Layouts that look at the names of fields alone, and not at what they hold.
NAMED_LAYOUTS = (PairLayout, ComparedLayout, PreferenceLayout)
MAX_FIELD_SETS = 1_000


@dataclass(frozen=True)
class Conversation:
    """One conversation of a record, or why there is none: its turns, origin and upstream fields."""

    example: ConversationTurns | None
    fault: RecordFault | None = None
    origin: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ParsedRecord:
    """A record as read: its layout, the fields that identify it, and its conversations."""

    layout: str
    fields: tuple[str, ...]
    conversations: Sequence[Conversation]


@dataclass(frozen=True)
class RecordReader:
    """Reads the records of a file.

    layouts: what a record may be in.
    roles: names of roles beside the usual ones.
    origin: the field with the upstream task; one of the usual ones if there is none.
    usual: the fields by which most records of the file are told.
    by_name: the recipe names the fields, and what it does not name goes to meta.
    """

    layouts: Sequence[LayoutReader] = LAYOUTS
    roles: Roles = field(default_factory=dict)
    origin: str | None = None
    usual: tuple[str, ...] = ()
    by_name: bool = False
    _by_fields: dict[tuple[str, ...], Sequence[LayoutReader]] = field(default_factory=dict)

    def read(self, value: Any) -> ParsedRecord:
        """Return the conversations of a parsed record.

        Raises:
            RecordFault: it makes none at all.
        """
        if _is_listed_turns(value):
            value = {"messages": value}
        if not isinstance(value, dict):
            raise RecordFault(Reason.NOT_OBJECT, type(value).__name__)
        inner = None if self.by_name else unfolded(value)
        if inner is None:
            name, fields, conversation = self._read_plain(value)
            return ParsedRecord(name, fields, [conversation])
        name, fields = inner[0], (inner[1],)
        conversations = [self._read_conversation(record, name) for record in inner[2]]
        return ParsedRecord(name, fields, conversations)

    def _read_conversation(self, record: Record, layout: str) -> Conversation:
        try:
            _, _, conversation = self._read_plain(
                record, ("name",) if layout == "instances" else ()
            )
        except RecordFault as fault:
            return Conversation(None, fault)
        return conversation

    def _read_plain(
        self, record: Record, origins: Sequence[str] = ()
    ) -> tuple[str, tuple[str, ...], Conversation]:
        """Return the layout of a record, the fields that tell it, and the conversation.

        Of the faults that the layouts find, that of the file's usual one is raised, or else the first.
        """
        faults: list[tuple[tuple[str, ...], RecordFault]] = []
        for layout in self._candidates(record):
            fields = layout.matched_fields(record)
            if not fields:
                continue
            try:
                example = layout.read(record, self.roles)
                if not self.by_name:
                    add_system(example, record)
                    add_tools(example, record)
                    add_reasoning(example, record)
                    add_rejected_beside(example, record, self.roles)
                    check_fields(example, record)
            except RecordFault as fault:
                faults.append((fields, fault))
                continue
            return layout.name, fields, self._part(example, record, origins)
        if not faults and (names := lower_names(record)):
            lowered = {name: record[names[name]] for name in names}
            layout_name, fields, conversation = self._read_plain(lowered, origins)
            meta = {names.get(name, name): value for name, value in conversation.meta.items()}
            fields = tuple(names.get(name, name) for name in fields)
            return layout_name, fields, replace(conversation, meta=meta)
        if not faults:
            missing = (f for f in self.usual if record.get(f) is None)
            raise RecordFault(Reason.MISSING_FIELD, next(missing, "of any known layout"))
        raise next((fault for fields, fault in faults if fields == self.usual), faults[0][1])

    def _candidates(self, record: Record) -> Sequence[LayoutReader]:
        """Return the layouts that a record with these fields may be in.

        Pairs and preferences are told by names alone, and they are most of the layouts.
        """
        names = tuple(record)
        layouts = self._by_fields.get(names)
        if layouts is None:
            if len(self._by_fields) >= MAX_FIELD_SETS:
                self._by_fields.clear()
            layouts = [
                layout
                for layout in self.layouts
                if not isinstance(layout, NAMED_LAYOUTS) or layout.matched_fields(record)
            ]
            self._by_fields[names] = layouts
        return layouts

    def _part(
        self, example: ConversationTurns, record: Record, origins: Sequence[str]
    ) -> Conversation:
        meta = example.left(record)
        values = {self.origin: find_value(record, self.origin)} if self.origin else meta
        for name in (self.origin,) if self.origin else (*origins, *ORIGIN_FIELDS):
            value = values.get(name)
            if self.origin and type(value) is int:
                value = str(value)
            if not isinstance(value, str) or name in example.used:
                continue
            if value and (self.origin or len(value) <= MAX_ORIGIN_CHARS):
                meta.pop(name, None)
                return Conversation(example, None, value, meta)
        return Conversation(example, None, None, meta)


def file_reader(
    values: Iterable[Any],
    fields: FieldNames | None,
    where: str,
    *,
    prompts: bool = False,
    template: TemplateSource | None = None,
    unanswered: bool = False,
) -> RecordReader:
    """Return the reader of a file, given its first records and the fields that a recipe names.

    Args:
        values: the first records.
        fields: what the recipe names.
        where: what the file is called in errors.
        prompts: read prompts without an answer as well.
        template: the templates that a recipe names, by which all records are read.
        unanswered: the response that the recipe names may be missing.

    Raises:
        UserError: not one of the records is in a known layout.
    """
    named: FieldNames = fields or {}
    roles, origin = named.get("roles") or {}, named.get("origin")
    if template:
        written = template_layout(template, prompts=prompts)
        return RecordReader((written,), roles, origin, by_name=True)
    if named.get("messages") or named.get("prompt"):
        layout = FieldsLayout(
            named.get("messages"),
            named.get("prompt"),
            named.get("context"),
            named.get("response"),
            named.get("system"),
            origin,
            named.get("tools"),
            named.get("rejected"),
            unanswered,
        )
        return RecordReader((layout,), roles, origin, by_name=True)
    layouts = (*all_layouts(), *([PromptLayout()] if prompts else []))
    reader = RecordReader(layouts, roles, origin)
    values = list(values)
    usual = Counter(names for value in values if (names := _matched(reader, value)))
    if not usual:
        raise UserError(_no_layout(values, where))
    return RecordReader(layouts, roles, origin, usual.most_common(1)[0][0])


def _matched(reader: RecordReader, value: Any) -> tuple[str, ...]:
    """Return the fields by which a record is told; none if it is in no layout."""
    if _is_listed_turns(value):
        return ("messages",)
    if not isinstance(value, dict):
        return ()
    try:
        inner = unfolded(value)
    except RecordFault:
        return ()
    if inner is not None:
        return (inner[1],)
    matched = (layout.matched_fields(value) for layout in reader.layouts)
    fields = next((fields for fields in matched if fields), ())
    names = {} if fields else lower_names(value)
    lowered = _matched(reader, {name: value[names[name]] for name in names}) if names else ()
    return fields or tuple(names.get(name, name) for name in lowered)


def lower_names(record: Record) -> dict[str, str]:
    """Return the fields of a record by their names in small letters; none if all are so, or two alike.

    {"Question": "...", "Answer": "..."}
    """
    names = {field.lower(): field for field in record}
    return names if len(names) == len(record) and names.keys() != record.keys() else {}


def _is_listed_turns(value: Any) -> bool:
    """Return whether a record is a bare list of turns."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in value)
    )


def _no_layout(values: Sequence[Any], where: str) -> str:
    if not values:
        return f"{where}: holds no record that is valid JSON"
    records = [value for value in values if isinstance(value, dict)]
    seen = sorted({str(key) for record in records for key in record})
    hint = next(map(describe_unfit, records), UNKNOWN)
    return (
        f"{where}: no known layout (messages, alpaca, prompt/completion, question/answer ...; "
        f"docs/bring-your-own.md lists them) in its first {len(values)} records; fields seen: "
        f"{', '.join(seen[:MAX_LISTED_FIELDS]) or 'none'}. {hint}"
    )
