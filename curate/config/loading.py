"""Read a recipe from YAML and apply overrides; every fault with its file, line and key."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from curate.config.faults import fault_lines
from curate.config.recipe import Config, recipe_model
from curate.core.errors import UserError
from curate.core.localfiles import MIB, read_text
from curate.core.params import Params
from curate.core.yamltext import DEEPEST, YamlFault, load_setting, load_yaml

P = TypeVar("P", bound=Params)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe and apply `dotted.key=value` overrides.

    Raises:
        UserError: all faults at once, each with file, line and key.
    """
    text = read_text(path, "the config", most=MIB, pipe=True)
    try:
        data, node = load_yaml(text)
    except YamlFault as error:
        raise UserError(f"{path}:{error.line}: broken YAML: {error.problem}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: the config must be a mapping of keys, e.g. `name: my-run`")
    _refuse_repeated_keys(path, node)
    for override in overrides:
        _override(data, override)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise UserError("\n".join(fault_lines(path, node, data, error, recipe_model()))) from error


def recipe_of_settings(settings: dict[str, Any], model: type[Config] = Config) -> Config:
    """Return the recipe of settings that stand in no file.

    Args:
        settings: as in a recipe's file, or parts of a recipe.
        model: recipe_model(), where no plugin that the settings name may be imported.

    Raises:
        UserError: all faults at once, each with its key.
    """
    return validated(settings, model, recipe_model())


def validated(settings: dict[str, Any], model: type[P], root: type[Params] | None = None) -> P:
    """Return settings that stand in no file as what they are settings of.

    Args:
        settings: by key.
        model: what they are settings of.
        root: where keys and their values are looked up for errors; the model itself if not given.

    Raises:
        UserError: all faults at once, each with its key.
    """
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        lines = fault_lines(Path(), None, settings, error, root or model)
        # Behind file and line, which there are none of.
        raise UserError("\n".join(line.partition(": ")[2] for line in lines)) from error


def _refuse_repeated_keys(path: Path, node: yaml.Node | None) -> None:
    """Fail where a key stands twice: YAML's reader would silently take the last one."""
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(path, value)
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                first = lines[key.value]
                raise UserError(f"{path}:{line}: {key.value}: given before, in line {first}")
            lines[key.value] = line
            _refuse_repeated_keys(path, value)


def _override(data: dict[str, Any], override: str) -> None:
    name, separator, value = override.partition("=")
    if not separator or not name:
        raise UserError(
            f"--set {override}: write it as dotted.key=value, e.g. select.budget.rows=50"
        )
    parsed = load_setting(override, value)
    *parents, last = name.split(".")
    if len(parents) > DEEPEST:
        raise UserError(f"--set {override:.80}: no key of a recipe lies {DEEPEST} levels deep")
    place: Any = data
    for part in parents:
        place = _descend(place, part, override)
    if isinstance(place, list):
        place[_index(place, last, override)] = parsed
    else:
        place[last] = parsed


def _descend(place: Any, part: str, override: str) -> Any:
    if isinstance(place, list):
        inner = place[_index(place, part, override)]
    else:
        inner = place.setdefault(part, {})
        if inner is None:
            inner = place[part] = {}
    if not isinstance(inner, dict | list):
        raise UserError(f"--set {override}: {part!r} holds a plain value, so nothing is inside it")
    return inner


def _index(place: list[Any], part: str, override: str) -> int:
    if not (part.isascii() and part.isdigit()) or int(part) >= len(place):
        raise UserError(f"--set {override}: {part!r} is no position in a list of {len(place)}")
    return int(part)
