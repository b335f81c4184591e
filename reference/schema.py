"""What the JSON schema of recipes says of a key: its type, default, meaning and an example.

"threshold": {"type": "number", "default": 0.7, "exclusiveMinimum": 0, "maximum": 1, "description": ...}
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

JsonSchema = Mapping[str, Any]
Link = Callable[[str], str]
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
NUMBERS = ("integer", "number")
# What is too long to stand in a table is in the section of its own.
LONGEST = 60
# Bounds of the numbers that JSON can hold are none of a key's own.
LARGEST = 1e15


class MissingTextError(LookupError):
    """A key without a description, or of which no example can be given: add it to its field."""


def model_names(schema: Any) -> Iterator[str]:
    """Yield the names of the models that a part of a schema refers to, in order."""
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for name, part in schema.items():
            if name != "discriminator":
                yield from model_names(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from model_names(part)


def options_of(schema: JsonSchema) -> list[JsonSchema]:
    """Return the alternatives that a schema allows, itself if it has none; null comes last."""
    options = schema.get("anyOf") or schema.get("oneOf")
    if options is None:
        return [schema]
    flat = [inner for option in options for inner in options_of(option)]
    return sorted(flat, key=lambda option: option.get("type") == "null")


def type_text(schema: JsonSchema, link: Link) -> str:
    """Return the type as text: "number > 0, ≤ 1", "list of text", a link to a model."""
    texts = list(dict.fromkeys(_type(option, link) for option in options_of(schema)))
    # What may stand alone or in a list.
    others = " or ".join(text for text in texts if not text.startswith("list of "))
    if (several := _list_of(others)) in texts:
        texts = [*(text for text in texts if text != several), "a list of these"]
    return " or ".join(texts)


def _type(schema: JsonSchema, link: Link) -> str:
    if "$ref" in schema:
        return link(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type")
    if kind == "array" and "prefixItems" in schema:
        return "[" + ", ".join(type_text(item, link) for item in schema["prefixItems"]) + "]"
    if kind == "array":
        return _list_of(type_text(schema.get("items", {}), link))
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"names with {type_text(values, link)}" if isinstance(values, Mapping) else "mapping"
    bounds = ", ".join(
        f"{sign} {schema[name]:g}"
        for name, sign in BOUNDS.items()
        if name in schema and abs(schema[name]) < LARGEST
    )
    names = {"string": "text", "boolean": "true or false", "null": "null", None: "anything"}
    return f"{names.get(kind, kind)} {bounds}".strip()


def _list_of(items: str) -> str:
    return f"list of ({items})" if " or " in items else f"list of {items}"


def default_text(schema: JsonSchema) -> str:
    """Return the default as a recipe has it, nothing for a key that has to be given."""
    if "default" not in schema:
        return "required"
    text = yaml_text(schema["default"])
    return f"`{text}`" if len(text) <= LONGEST else "see there"


def meaning(schema: JsonSchema, models: Mapping[str, JsonSchema]) -> str:
    """Return a key's description, or else what the models are that it holds.

    Raises:
        MissingTextError: there is neither.
    """
    if "description" in schema:
        return str(schema["description"])
    if "const" in schema:
        return "which of them it is"
    texts = [models[name].get("description", "") for name in model_names(schema)]
    summaries = [
        text[0].lower() + text[1:].partition("\n")[0].rstrip(".") for text in texts if text
    ]
    if not summaries:
        raise MissingTextError("it has no description; give its field `description=`")
    return "; ".join(dict.fromkeys(summaries))


def example(schema: JsonSchema, models: Mapping[str, JsonSchema]) -> Any:
    """Return a value that the schema allows, another than the default where that is easy to say.

    Raises:
        MissingTextError: only a person can think of one, and no `examples` has it.
    """
    if "examples" in schema:
        return schema["examples"][0]
    default = schema.get("default")
    option = options_of(schema)[0]
    if "enum" in option:
        return next(value for value in option["enum"] if value != default)
    if option.get("type") == "boolean":
        return not default
    if default not in (None, "", [], {}) and not isinstance(default, Mapping):
        return default
    if "$ref" in option:
        return model_example(models[option["$ref"].rpartition("/")[2]], models)
    if option.get("type") == "array" and option.get("items"):
        return [example(option["items"], models)]
    if "const" in option:
        return option["const"]
    raise MissingTextError("it has no example; give its field `examples=[...]`")


def model_example(model: JsonSchema, models: Mapping[str, JsonSchema]) -> dict[str, Any]:
    """Return a model with its name and what has to be given, or with its first key."""
    if "examples" in model:
        return dict(model["examples"][0])
    keys = model.get("properties", {})
    name = next((key for key in ("method", "kind") if "const" in keys.get(key, {})), None)
    needed = [key for key in keys if key == name or key in model.get("required", ())]
    return {key: example(keys[key], models) for key in needed or list(keys)[:1]}


def yaml_text(value: Any) -> str:
    """Return a value as a recipe has it, on one line."""
    text = yaml.safe_dump(
        json.loads(json.dumps(value)),
        default_flow_style=True,
        width=10**9,
        allow_unicode=True,
        sort_keys=False,
    )
    return text.removesuffix("...\n").strip()
