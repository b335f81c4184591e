"""Jinja templates that a recipe names: they write a record's fields out as a prompt and its response.

    Is this review {{ labels.label | join(" or ") }}?
    {{ title }}: {{ record["review text"] }}
    |||
    {{ label }}

The line of three bars parts prompt and response, as in promptsource (Bach et al. 2022,
arXiv:2202.01279); of three parts the first is the system turn. White space around a part is left out.
Templates run in Jinja's sandbox, and bars in the record's own texts part nothing.
"""

import hashlib
import re
import traceback
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from curate.core.errors import UserError
from curate.core.jsontext import dump_json
from curate.core.lazy import lazy_module
from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.settings import TemplateSource, label_key

if TYPE_CHECKING:
    import jinja2
    from jinja2 import meta, nodes, sandbox
else:
    jinja2 = lazy_module("jinja2")
    meta, nodes, sandbox = (lazy_module(f"jinja2.{name}") for name in ("meta", "nodes", "sandbox"))

SEPARATOR = "|||"
# Bars of a record's own while its template is filled in; U+FDD0 is no character of any text.
ESCAPED = "|\ufdd0||"
ROLES_OF_PARTS = {1: ("user",), 2: ("user", "assistant"), 3: ("system", "user", "assistant")}
EMPTY = {"user": Reason.EMPTY_PROMPT, "assistant": Reason.EMPTY_RESPONSE}
UNDEFINED = re.compile(r"'(.*)' is undefined")
# What a template has beside the fields: all of them by name, and the names of labels.
RECORD, LABELS = "record", "labels"


@dataclass(frozen=True)
class RecordTemplate:
    """One template: its text, and the fields that it writes out."""

    text: str

    def __reduce__(self) -> tuple[type["RecordTemplate"], tuple[str]]:
        """Pickle by its text: what is compiled of it does not."""
        return RecordTemplate, (self.text,)

    @cached_property
    def compiled(self) -> "jinja2.Template":
        """Return what fills it in.

        Raises:
            jinja2.TemplateSyntaxError: it is no Jinja.
        """
        return _environment().from_string(self.text)

    @cached_property
    def names(self) -> frozenset[str] | None:
        """Return the names that it speaks of; None where it takes the record as a whole."""
        tree = _environment().parse(self.text)
        names = meta.find_undeclared_variables(tree)
        if RECORD in names:
            keys = [_key_of_record(node) for node in tree.find_all((nodes.Getattr, nodes.Getitem))]
            uses = [node for node in tree.find_all(nodes.Name) if node.name == RECORD]
            named = [key for key in keys if key is not None]
            if len(named) < len(uses):
                return None
            names = names | {*named}
        return frozenset(names)

    def parts(self, record: Record, labels: Mapping[str, Sequence[str]]) -> list[str]:
        """Return the parts, filled in.

        Raises:
            RecordFault: a field is not there, or holds what the template cannot write.
        """
        given = {field: value for field, value in record.items() if value is not None}
        try:
            text = self.compiled.render({RECORD: given, LABELS: labels, **given})
        except jinja2.UndefinedError as error:
            absent = UNDEFINED.fullmatch(str(error))
            field = absent[1] if absent else f"template{_line_of(error)}: {error}"
            raise RecordFault(Reason.MISSING_FIELD, field) from error
        except RecordFault:
            raise
        except Exception as error:
            raise RecordFault(Reason.WRONG_TYPE, f"template{_line_of(error)}: {error}") from error
        return [part.replace(ESCAPED, SEPARATOR).strip() for part in text.split(SEPARATOR)]


@dataclass(frozen=True)
class TemplateLayout:
    """The templates of a pool entry; of several, seed and content of a record tell which it gets.

    The same record gets the same one wherever it stands.
    """

    templates: tuple[RecordTemplate, ...]
    labels: Mapping[str, Mapping[str, str]]
    seed: int
    prompts: bool = False

    name = "template"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields that the record's template writes out."""
        names = self._template_of(record)[1].names
        return tuple(field for field in record if names is None or field in names) or ("no field",)

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns.

        Raises:
            RecordFault: a field is missing or cannot be written, or a part is empty.
        """
        number, template = self._template_of(record)
        names = {field: tuple(dict.fromkeys(self.labels[field].values())) for field in self.labels}
        used = {field for field in record if template.names is None or field in template.names}
        turns = self._turns(template.parts(self._with_names(record, used), names), number)
        beside = {"template_number": number} if len(self.templates) > 1 else {}
        return ConversationTurns(turns, used, beside)

    def _template_of(self, record: Record) -> tuple[int, RecordTemplate]:
        """Return number and template of a record."""
        if len(self.templates) == 1:
            return 1, self.templates[0]
        identity = f"{self.seed}\x1f{dump_json(record)}".encode()
        drawn = int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest())
        number = drawn % len(self.templates)
        return number + 1, self.templates[number]

    def _with_names(self, record: Record, used: Set[str]) -> dict[str, Any]:
        """Return the record with the names of labels for their values."""
        named = {
            field: _label_name(field, record[field], names)
            for field, names in self.labels.items()
            if field in used and record.get(field) is not None
        }
        return {**record, **named}

    def _turns(self, parts: Sequence[str], number: int) -> list[Message]:
        where = f"template {number}" if len(self.templates) > 1 else "template"
        roles = ROLES_OF_PARTS.get(len(parts), ())
        if not roles or (len(parts) == 1 and not self.prompts):
            raise RecordFault(
                Reason.WRONG_TYPE, f"{where}: {len(parts)} parts, where prompt ||| response are two"
            )
        turns: list[Message] = []
        for role, text in zip(roles, parts, strict=True):
            if text:
                turns.append({"role": role, "content": text})
            elif role in EMPTY:
                raise RecordFault(EMPTY[role], where)
        return turns


def template_layout(source: TemplateSource, *, prompts: bool) -> TemplateLayout:
    """Return the layout of the templates that a recipe names."""
    templates = tuple(map(RecordTemplate, source["texts"]))
    return TemplateLayout(templates, source["labels"], source["seed"], prompts)


def check_template(text: str, path: str, *, prompts: bool) -> None:
    """Fail if a text is no template of a prompt and its response.

    Args:
        text: of the file.
        path: of the file, for errors.
        prompts: a prompt alone will do.

    Raises:
        UserError: it is none; the line is named.
    """
    try:
        tree = _environment().parse(text)
        _environment().from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: {error.message}") from error
    if next(meta.find_referenced_templates(tree), "") != "":
        raise UserError(f"{path}: a template of records cannot include or import other files")
    if SEPARATOR not in text and not prompts:
        raise UserError(
            f"{path}: write {SEPARATOR} between prompt and response (system {SEPARATOR} prompt "
            f"{SEPARATOR} response, for a system turn)"
        )


@cache
def _environment() -> "jinja2.Environment":
    return sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        finalize=_written,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


def _written(value: Any) -> Any:
    """Return a value as a template writes it.

    Raises:
        RecordFault: it is null, a list or an object, which would stand in Python's notation.
    """
    if value is None:
        raise RecordFault(Reason.MISSING_FIELD, "template: a value is null")
    if isinstance(value, list | tuple | dict):
        kind = "an object" if isinstance(value, dict) else "a list"
        raise RecordFault(Reason.WRONG_TYPE, f"template: {kind} is no text; use join or tojson")
    return str(value).replace(SEPARATOR, ESCAPED) if isinstance(value, str) else value


def _key_of_record(node: "nodes.Node") -> str | None:
    """Return the field that a node takes from the whole record: record.title, record["title"]."""
    assert isinstance(node, nodes.Getattr | nodes.Getitem), "no other is looked for"
    if not isinstance(node.node, nodes.Name) or node.node.name != RECORD:
        return None
    if isinstance(node, nodes.Getattr):
        return node.attr
    key = node.arg.value if isinstance(node.arg, nodes.Const) else None
    return key if isinstance(key, str) else None


def _label_name(field: str, value: Any, names: Mapping[str, str]) -> Any:
    """Return the name of a label, or the names of a list of them.

    Raises:
        RecordFault: it has none.
    """
    if isinstance(value, list):
        return [_label_name(field, one, names) for one in value]
    key = label_key(value)
    if key not in names:
        raise RecordFault(Reason.WRONG_TYPE, f"{field} = {value!r:.60}: none of its labels")
    return names[key]


def _line_of(error: Exception) -> str:
    """Return the line of a template that failed."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    return f" line {lines[-1]}" if lines else ""
