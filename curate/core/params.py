"""What a recipe is read into: frozen models that know their keys."""

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError


class Params(BaseModel):
    """Base of everything in a config: frozen, unknown keys are errors, and so are NaN and infinity.

    Pydantic's own message does not repeat what was given, which may be a secret.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


def suggest_key(key: str, choices: Sequence[str]) -> str:
    """Return what to say of a key that is none of the known ones."""
    close = difflib.get_close_matches(key, choices, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(choices)}"
    return f"unknown key; {hint}"


def first_fault(error: ValidationError, root: type[Params]) -> tuple[str, str]:
    """Return the place and the problem of a model's first fault: ("budget.rowz", "unknown key; ...")."""
    fault = error.errors()[0]
    problem = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        problem = suggest_key(str(fault["loc"][-1]), keys_at(root, fault["loc"][:-1]))
    return ".".join(str(key) for key in fault["loc"]), problem


def keys_at(root: type[Params], location: Sequence[Any]) -> list[str]:
    """Return the keys that a model knows at a location as pydantic names it."""
    models: list[type[Params]] = [root]
    for part in location:
        inner = [
            submodel
            for model in models
            for key, field in model.model_fields.items()
            if part == (field.alias or key)
            for submodel in _models_in(field.annotation)
        ]
        # A part that is no key is a list position or the tag of a union's branch.
        tagged = [
            m
            for m in models
            if isinstance(part, str) and part in [f.default for f in m.model_fields.values()]
        ]
        models = inner or tagged or models
    keys = [(k, field) for model in models for k, field in model.model_fields.items()]
    return list(dict.fromkeys(field.alias or key for key, field in keys))


def _models_in(annotation: Any) -> list[type[Params]]:
    if isinstance(annotation, type) and issubclass(annotation, Params):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
