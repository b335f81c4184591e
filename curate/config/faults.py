"""What is wrong with a recipe, in one sentence for each fault: file, line, key, value, choices.

Pydantic tells of every branch of a union that a value is not. Here a branch says nothing where another
one got further, and those that fail in the same place are one sentence: `an integer or 'sequential'`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from curate.core.credentials import SecretFault
from curate.core.params import Params, keys_at, suggest_key
from curate.proof.metric_choice import NO_METRIC

# What a value should be, in a user's words, by the type of pydantic's error.
SHOULD_BE = {
    "int_type": "a valid integer",
    "int_parsing": "a valid integer",
    "int_from_float": "a valid integer",
    "string_type": "a valid string",
    "list_type": "a valid list",
    "dict_type": "a mapping of keys",
    "mapping_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    # Its choices, which pydantic names.
    "literal_error": "",
}


class KeyFault(ValueError):
    """A fault at one key that shows only when the recipe is seen as a whole."""

    def __init__(self, location: Sequence[Any], sentence: str) -> None:
        self.location, self.sentence = location, sentence
        super().__init__(f"{'.'.join(map(str, location))}: {sentence}")


@dataclass(frozen=True)
class RecipeFault:
    """One error of pydantic's: the keys to its place, what should be there, what is.

    branch: whether it is about one branch of a union. whole: the value is nothing that the branch takes,
    so that any other branch which it gets further in says more.
    """

    keys: tuple[str, ...]
    message: str
    value: str
    branch: bool
    whole: bool


def fault_lines(
    path: Path, node: yaml.Node | None, data: Any, error: ValidationError, root: type[Params]
) -> list[str]:
    """Return `file:line: key: what is wrong (got ...)` for each fault of a recipe.

    Args:
        path: of the recipe.
        node: the file's YAML, for lines.
        data: what was validated, overrides included.
        error: of the validation.
        root: the recipe's model.
    """
    faults = [_read(fault, data, root) for fault in error.errors()]
    faults = [fault for fault in faults if not _says_less(fault, faults)]
    return [
        f"{path}:{_line(node, keys)}: {'.'.join(keys) or 'config'}: {sentence}"
        for keys, group in groupby(faults, key=lambda fault: fault.keys)
        for sentence in _sentences(list(group))
    ]


def _says_less(fault: RecipeFault, faults: Sequence[RecipeFault]) -> bool:
    depth = len(fault.keys)
    further = (len(f.keys) > depth and f.keys[:depth] == fault.keys for f in faults)
    return fault.branch and fault.whole and any(further)


def _sentences(faults: Sequence[RecipeFault]) -> Iterator[str]:
    """Yield what is wrong in one place; the branches of a union are one sentence."""
    branches = [fault for fault in faults if fault.branch]
    if len(branches) > 1:
        choices = dict.fromkeys(f.message.removeprefix("Input should be ") for f in branches)
        yield f"Input should be {' or '.join(choices)}{branches[0].value}"
    for fault in faults:
        if not (fault.branch and len(branches) > 1):
            yield fault.message + fault.value


def _read(fault: Any, data: Any, root: type[Params]) -> RecipeFault:
    """Return a pydantic error as a fault."""
    context, kind, location = fault.get("ctx", {}), fault["type"], list(fault["loc"])
    message, value = fault["msg"].removeprefix("Value error, "), ""
    cause = context.get("error")
    if isinstance(cause, KeyFault):
        location, message = list(cause.location), cause.sentence
    keys = _keys(data, location, absent=kind == "missing" or isinstance(cause, KeyFault))
    if kind in SHOULD_BE:
        message = f"Input should be {SHOULD_BE[kind] or context['expected']}"
    if kind == "extra_forbidden":
        message = suggest_key(keys[-1], keys_at(root, location[:-1]))
    elif kind == "union_tag_invalid":
        expected = str(context["expected_tags"]).replace("'", "")
        message = f"unknown {context['discriminator']} {context['tag']!r}; known: {expected}"
    elif kind == "union_tag_not_found":
        message = f"name its {context['discriminator']}"
    elif kind == NO_METRIC or not (
        isinstance(cause, SecretFault)
        or isinstance(fault["input"], dict | list)
        or kind == "missing"
    ):
        value = f" (got {fault['input']!r:.80})"
    return RecipeFault(tuple(keys), message, value, len(location) > len(keys), kind in SHOULD_BE)


def _keys(data: Any, location: Sequence[Any], *, absent: bool) -> list[str]:
    """Return the keys of a location; names that pydantic adds for branches of a union are none.

    Args:
        data: what was validated.
        location: as pydantic names it.
        absent: the last part is a key that is not there.
    """
    keys = []
    for number, part in enumerate(location, start=1):
        if isinstance(data, Mapping):
            if part in data:
                data = data[part]
                keys.append(str(part))
            elif absent and number == len(location):
                keys.append(str(part))
        elif isinstance(data, list) and isinstance(part, int):
            data = data[part] if part < len(data) else None
            keys.append(str(part))
    return keys


def _line(node: yaml.Node | None, keys: Sequence[str]) -> int:
    """Return the line of the deepest of the keys that stands in the file."""
    line = 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pairs = [(k, v) for k, v in node.value if str(k.value) == key]
            if not pairs:
                break
            line, node = pairs[0][0].start_mark.line + 1, pairs[0][1]
        elif isinstance(node, yaml.SequenceNode):
            if int(key) >= len(node.value):
                break
            node = node.value[int(key)]
            line = node.start_mark.line + 1
        else:
            break
    return line
