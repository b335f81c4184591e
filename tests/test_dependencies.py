"""What pyproject.toml declares: all that is imported, from a version on that the tests ran with."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.structure import syntax_nodes

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIBRARY = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {
    extra: [Requirement(line) for line in lines]
    for extra, lines in PROJECT["optional-dependencies"].items()
}
INSTALLED = EXTRAS["dev"] + EXTRAS["prefect"]
# Not in the environment of the floors, where they would raise those of the library.
BESIDE = ("lint", "docs", "eval", "ray", "dask", "mlflow", "wandb", "trackio")
EVERY = [*LIBRARY, *(requirement for extra in EXTRAS.values() for requirement in extra)]
# Packages whose modules have another name and that are not in every environment.
MODULES = {"mlflow": ["mlflow-skinny"]}
OWN = {"curate", "flows", "tests", "data", "reference"}
# The extras that a folder may import from, beside the library's own dependencies.
ORCHESTRATION = "curate/orchestration"
USED = {
    "curate": ["vllm", "names", "eval", "mlflow", "wandb", "trackio"],
    ORCHESTRATION: ["prefect", "ray", "dask"],
    "flows": ["prefect"],
}


def floor(requirement: Requirement) -> Version | None:
    """Return the lowest version that a requirement takes."""
    versions = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
    return max(versions, default=None)


def imported_modules(folder: str) -> Iterator[tuple[str, Path]]:
    """Yield the first part of every absolute import, wherever in a file it stands."""
    apart = ROOT / ORCHESTRATION
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path.is_relative_to(apart) and folder != ORCHESTRATION:
            continue
        for node in syntax_nodes(path):
            if isinstance(node, ast.Import):
                yield from ((alias.name.split(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.split(".")[0], path


@cache
def installed_packages() -> Mapping[str, list[str]]:
    """Return the distributions that bring each module; reading those of all takes a while."""
    return packages_distributions()


def undeclared(folder: str, requirements: list[Requirement]) -> set[str]:
    """Return the imports of a folder that no requirement brings by its own name."""
    declared = {canonicalize_name(requirement.name) for requirement in requirements}
    packages = {**MODULES, **installed_packages()}
    return {
        f"{module} in {path.relative_to(ROOT)}"
        for module, path in imported_modules(folder)
        if module not in sys.stdlib_module_names | OWN
        and not declared & {canonicalize_name(name) for name in packages.get(module, [module])}
    }


@pytest.mark.parametrize(("folder", "extras"), USED.items(), ids=str)
def test_every_import_is_a_declared_dependency(folder: str, extras: list[str]) -> None:
    needed = [requirement for extra in extras for requirement in EXTRAS[extra]]
    assert undeclared(folder, LIBRARY + needed) == set()


@pytest.mark.parametrize("requirement", EVERY, ids=str)
def test_every_dependency_has_a_floor(requirement: Requirement) -> None:
    assert floor(requirement) is not None


def test_the_pinned_versions_lie_within_the_declared_ranges() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(name): pin for name, _, pin in (x.partition("==") for x in lines)}
    extras = [requirement for extra in BESIDE for requirement in EXTRAS[extra]]
    for requirement in LIBRARY + INSTALLED + extras:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), (
            requirement
        )


@pytest.mark.skipif(
    Path(sys.prefix).name != ".venv-floors", reason="not the environment of make floors"
)
@pytest.mark.parametrize("requirement", LIBRARY + INSTALLED, ids=str)
def test_the_environment_of_the_floors_holds_each_floor_itself(requirement: Requirement) -> None:
    """A floor below what another dependency asks for is a version that nobody ran."""
    assert Version(Version(version(requirement.name)).public) == floor(requirement)
