"""Methods: classes whose fields are what a recipe gives them, registered by one decorator.

    @method
    class RdsSelector(Selector):
        method: Literal["rds"] = "rds"
        combine: Literal["round_robin", "global_max"] = "round_robin"

        def score_rows(self, run: ScoreRun) -> Table: ...

A family is a base class: Stage, Selector, Generator ... A method belongs to the family that it is a
subclass of, and has a name there. Those of the package are found by themselves; those of other
distributions by their entry points in the group "curate.methods", each naming a module; those in a file
by the recipe that names it under `plugins`.
"""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import ValidationError

from curate.core.errors import UserError
from curate.core.params import Params

ENTRY_POINTS = "curate.methods"
# How the modules of plugins are called: by their files.
PLUGIN = "curate_plugin_"


class Method(Params):
    """Base of a method: its fields are its parameters, its version that of its code.

    Results are stored under the version: raise it when they change. The title is what a report calls the
    method, its name in words if it gives none.
    """

    # The word that a family goes by, and the packages of the methods that come with curate.
    family: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    title: ClassVar[str] = ""

    method: str

    def check(self) -> None:
        """Fail, before anything is run, if what the parameters name is not there or not installed.

        Raises:
            UserError: it is not; what to do.
        """


M = TypeVar("M", bound=Method)
METHODS: dict[str, dict[str, type[Method]]] = {}


def method(cls: type[M]) -> type[M]:
    """Register a class as a method of its family, under the default of its field `method`.

    Raises:
        TypeError: it is in no family, or its field `method` has no default.
        ValueError: another class of the family has this name.
    """
    name = cls.model_fields["method"].default
    if not cls.family or not isinstance(name, str):
        raise TypeError(
            f"{cls.__name__}: a method is a subclass of Stage, Selector or another family, with a field "
            f'like `method: Literal["{cls.__name__.lower()}"] = "{cls.__name__.lower()}"`'
        )
    family = METHODS.setdefault(cls.family, {})
    other = family.get(name)
    if other is not None and (other.__module__, other.__qualname__) != (
        cls.__module__,
        cls.__qualname__,
    ):
        raise ValueError(
            f"{cls.__module__}.{cls.__qualname__}: the {cls.family} {name!r} is registered already, by "
            f"{other.__module__}.{other.__qualname__}; choose another name"
        )
    if "title" not in vars(cls):
        cls.title = name.replace("_", " ").replace("-", " ")
    family[name] = cls
    return cls


def methods_in(family: type[M]) -> dict[str, type[M]]:
    """Return the methods of a family by name, also in a process that has imported nothing else yet."""
    load_methods()
    for package in family.packages:
        _load_package(package)
    return METHODS.setdefault(family.family, {})  # type: ignore[return-value]


def find_method(family: type[M], name: str) -> type[M]:
    """Return a method of a family by its name.

    Raises:
        UserError: there is none; which there are.
    """
    methods = methods_in(family)
    if name not in methods:
        raise UserError(
            f"no {family.family} is called {name!r} here; known: {', '.join(methods)} (methods of your "
            "own stand in a recipe's `plugins`, or are brought by an installed package)"
        )
    return methods[name]


def read_method(family: type[M], params: Mapping[str, object]) -> M | None:
    """Return a method of a finished run, None if it is no longer here or takes other parameters by now.

    A run is no reason to import a plugin.
    """
    cls = methods_in(family).get(str(params["method"]))
    try:
        return cls.model_validate(params) if cls else None
    except ValidationError:
        return None


@cache
def load_methods() -> None:
    """Import the modules that other distributions name as entry points.

    Raises:
        UserError: one of them cannot be imported.
    """
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:
            raise UserError(
                f"the entry point {entry.name!r} of {ENTRY_POINTS} ({entry.value}) cannot be loaded: "
                f"{error}; repair or uninstall what brought it"
            ) from error


def loaded_plugins() -> list[Path]:
    """Return the files that load_plugin has imported."""
    modules = (m for name, m in sys.modules.items() if name.startswith(PLUGIN))
    return [Path(str(module.__file__)) for module in modules]


@cache
def load_plugin(path: Path) -> None:
    """Import a Python file whose methods a recipe uses.

    Raises:
        UserError: there is no such file, or it cannot be imported.
    """
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"plugins: {path} is no Python file")
    name = f"{PLUGIN}{path.stem}"
    other = getattr(sys.modules.get(name), "__file__", None) or path
    if Path(other).resolve() != path.resolve():
        raise UserError(f"plugins: {path} and {other} are of the same name; rename one")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"plugins: {path} cannot be imported: {error}") from error


@cache
def _load_package(package: str) -> None:
    """Import every module of a package, so that what is in it registers itself."""
    folder = importlib.import_module(package).__path__
    for module in sorted(pkgutil.iter_modules(folder), key=lambda m: m.name):
        importlib.import_module(f"{package}.{module.name}")
