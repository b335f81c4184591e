"""What methods there are: a table of all, and one with its parameters, source, cost and pitfalls.

stage      fuzzy      Drop near copies by the n-grams that they share.
selector   rds        Nearest rows by position-weighted hidden states of the base model.
"""

import inspect
import sys
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from curate.core.errors import UserError
from curate.core.methods import Method, methods_in
from curate.core.params import suggest_key
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.generate.generation import Generator
from curate.pool.exporter import Exporter
from curate.pool.layouts import Layout
from curate.trackers.tracker import Tracker

FAMILIES: tuple[type[Method], ...] = (Stage, Selector, Generator, Layout, Exporter, Tracker)


def all_methods() -> Iterator[type[Method]]:
    """Yield every method that is registered, family by family."""
    for family in FAMILIES:
        yield from methods_in(family).values()


def method_lines() -> list[str]:
    """Return a line for each method: family, name, what it does."""
    lines = [(cls.family, _name(cls), _summary(cls)) for cls in all_methods()]
    wide = max(len(name) for _, name, _ in lines)
    return [f"{family:<10} {name:<{wide}}  {summary}" for family, name, summary in lines]


def describe_methods(name: str) -> list[str]:
    """Return what there is to know of the methods of a name: a stage and a selector may share one.

    Raises:
        UserError: there is none.
    """
    named = [cls for cls in all_methods() if _name(cls) == name]
    if not named:
        names = sorted({_name(cls) for cls in all_methods()})
        hint = suggest_key(name, names).removeprefix("unknown key; ")
        raise UserError(f"no method is called {name!r}; {hint.replace('known keys', 'there are')}")
    return [line for cls in named for line in [*_describe(cls), ""]][:-1]


def method_records(name: str | None = None) -> list[dict[str, object]]:
    """Return all methods, or those of a name, with their parameters by names, for JSON."""
    if name is not None:
        describe_methods(name)
    return [
        {
            "family": cls.family,
            "method": _name(cls),
            "version": cls.version,
            "module": cls.__module__,
            "summary": _summary(cls),
            "parameters": {
                key: info.description or ""
                for key, info in cls.model_fields.items()
                if key != "method"
            },
        }
        for cls in all_methods()
        if name in (None, _name(cls))
    ]


def _describe(cls: type[Method]) -> list[str]:
    module = inspect.getdoc(sys.modules[cls.__module__]) or ""
    fields = cls.model_fields.items()
    return [
        f"{cls.family} {_name(cls)}, version {cls.version} ({cls.__module__})",
        _summary(cls),
        "",
        "parameters:",
        *(f"  {_parameter(key, info)}" for key, info in fields if key != "method"),
        *(["", *module.splitlines()] if module else []),
    ]


def _name(cls: type[Method]) -> str:
    return str(cls.model_fields["method"].default)


def _summary(cls: type[Method]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _parameter(key: str, info: FieldInfo) -> str:
    """Return a parameter's name, default and meaning: "threshold = 0.7: similarity from which ..."."""
    value = "" if info.is_required() else f" = {info.get_default()!r}"
    return f"{key}{value}" + (f": {info.description}" if info.description else "")
