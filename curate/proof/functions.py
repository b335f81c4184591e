"""A metric of the user's own: a Python function that a recipe names, called for each generated answer.

    prove: {metric: {function: "my_metric.py:score"}}

    def score(prompt, reference, generated, row):     the texts, and the eval row as a dict
        return float(reference in generated)          more is better

What stands before the colon is a file, relative to the working directory, or a module. The source of
that file is part of the metric's key; what it imports is not.
"""

import hashlib
import importlib
import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from curate.core.errors import UserError
from curate.core.faults import one_line
from curate.core.rows import response_text

KEY = "prove.metric"


@dataclass(frozen=True)
class MetricFunction:
    """A loaded function: how the recipe names it, its file, the digest of that, the recipe's key."""

    name: str
    file: Path
    digest: str
    function: Callable[..., Any]
    key: str = KEY

    def score(self, eval_id: str, prompt: str, generated: str, row: Mapping[str, Any]) -> float:
        """Return the function's number for an answer.

        Args:
            eval_id: of the example.
            prompt: its user turns.
            generated: what the model wrote.
            row: the eval row; its last turn is the reference.

        Raises:
            UserError: the function fails, or returns no finite number.
        """
        place = f"{self.key}.function: {self.name} ({self.file}), example {eval_id}"
        reference = response_text(row["messages"])
        try:
            value = self.function(prompt, reference, generated, dict(row))
        except Exception as error:
            raise UserError(f"{place}: {type(error).__name__}: {one_line(error)}") from error
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise UserError(f"{place}: it returned {value!r:.80}; a finite number is needed")
        return float(value)


def load_function(name: str, folder: Path | None = None, key: str = KEY) -> MetricFunction:
    """Return the function that a recipe names as FILE.py:NAME or MODULE:NAME.

    Args:
        name: in the recipe.
        folder: that files are relative to; the working directory if not given.
        key: of the recipe, for errors.

    Raises:
        UserError: there is no such file, module or function, or loading it fails.
    """
    place, _, attribute = name.rpartition(":")
    path = (folder or Path.cwd()) / place
    if place.endswith(".py") and not path.is_file():
        raise UserError(f"{key}.function: there is no file {path}")
    try:
        if place.endswith(".py"):
            source = path.read_bytes()
            module = _run_source(path, source)
        else:
            module = importlib.import_module(place)
            path = Path(inspect.getsourcefile(module) or str(module.__file__))
            source = path.read_bytes()
    except Exception as error:
        raise UserError(
            f"{key}.function: {place} cannot be loaded: {type(error).__name__}: {one_line(error)}"
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise UserError(f"{key}.function: {place} has no function {attribute!r}")
    return MetricFunction(name, path, hashlib.sha256(source).hexdigest(), function, key)


def _run_source(path: Path, source: bytes) -> ModuleType:
    """Return a file as a module; compiled anew, since byte code may be that of an earlier source."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(source, path, "exec"), module.__dict__)
    return module
