"""The file of functions that a generator declares: OpenAI's `tools`, or the functions bare.

[{"type": "function", "function": {"name": "ferries", "description": "...", "parameters": {...}}}]

Bare functions get OpenAI's form around them, as rows of a pool do (curate.pool.layouts.calls).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from curate.answers.toolcalls import declared_functions
from curate.core.errors import UserError
from curate.core.jsontext import dump_json
from curate.core.jsontypes import JSON
from curate.core.localfiles import read_text
from curate.llm.structured import check_schema
from curate.pool.layouts.calls import read_tools
from curate.pool.layouts.example import RecordFault


@dataclass(frozen=True)
class FunctionCatalogue:
    """Functions by their names, each in OpenAI's form."""

    tools: Mapping[str, JSON]

    @property
    def names(self) -> list[str]:
        """Return the names of the functions, in the order of the file."""
        return list(self.tools)

    def declare(self, names: Sequence[str]) -> str:
        """Return some functions as the `tools` of a row."""
        return dump_json([self.tools[name] for name in names])


def read_functions(path: str, digest: str | None = None) -> FunctionCatalogue:
    """Return the functions of a file.

    Raises:
        UserError: it cannot be read, has another digest, or a function has no name, one that another
            has, or arguments by no JSON Schema.
    """
    text = read_text(Path(path), "the file of tools", digest=digest)
    try:
        value = orjson.loads(text)
        listed = read_tools(
            value.get("tools", value) if isinstance(value, dict) else value, "tools"
        )
    except (orjson.JSONDecodeError, RecordFault) as error:
        raise UserError(f"tools: {path} is no JSON list of functions: {error}") from error
    tools = orjson.loads(listed) if listed else []
    functions = declared_functions(listed)
    if not tools:
        raise UserError(f"tools: {path} declares no function")
    if len(functions) < len(tools):
        raise UserError(f"tools: {path} has a function without a name, or two of the same name")
    for name, function in functions.items():
        try:
            check_schema(function.schema)
        except UserError as error:
            raise UserError(f"tools: {path}: arguments of {name}: {error}") from error
    return FunctionCatalogue(dict(zip(functions, tools, strict=True)))
