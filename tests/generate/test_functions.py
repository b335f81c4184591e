"""Files of functions: the forms that are read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.generate.functions import read_functions

BARE = {"name": "tides", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
OPENAI = {"type": "function", "function": BARE}


def written(folder: Path, value: Any) -> str:
    path = folder / "tools.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


@pytest.mark.parametrize("value", [[BARE], [OPENAI], {"tools": [OPENAI]}, BARE])
def test_functions_are_read_in_openais_form(value: Any, tmp_path: Path) -> None:
    catalogue = read_functions(written(tmp_path, value))
    assert catalogue.names == ["tides"]
    assert json.loads(catalogue.declare(["tides"])) == [OPENAI]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[", "is no JSON list of functions"),
        ("3", "is no JSON list of functions"),
        ([], "declares no function"),
        ([{"description": "x"}], "a function without a name"),
        ([BARE, OPENAI], "two of the same name"),
        ([{"name": "tides", "parameters": {"properties": {"at": {"enum": 3}}}}],
         "arguments of tides: not a JSON schema"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_functions(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_functions(written(tmp_path, value))
    with pytest.raises(UserError, match=r"the file of tools.*changed|changed"):
        read_functions(written(tmp_path, [BARE]), "0" * 32)
