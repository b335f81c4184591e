"""Software bill of materials (SBOM) of a run: CycloneDX 1.6 as JSON.

    {"type": "library", "name": "polars", "version": "2.1.0", "purl": "pkg:pypi/polars@2.1.0", ...}

It lists every distribution that is installed where the run was made, loaded or not, and the base model
if the run read it. It is written from `importlib.metadata` alone: a library for it would bring nine
packages for these few lines. It has neither a time nor a serial number, so equal environments give
equal files; the run's manifest has the time.
"""

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from typing import Any

from curate.core.jsontypes import JSON
from curate.core.version import __version__

SBOM = "sbom.cdx.json"
DISTRIBUTION = "curate-data"
FIELDS = ("Name", "Version", "License-Expression", "License")


@dataclass(frozen=True)
class ModelComponent:
    """A model as a component of a bill: its name, and the digests that identify it."""

    name: str
    identity: Mapping[str, JSON]

    def component(self) -> dict[str, Any]:
        """Return the model in CycloneDX's form."""
        properties = [
            {"name": f"curate:{name}", "value": str(value)}
            for name, value in sorted(self.identity.items())
        ]
        return {
            "type": "machine-learning-model", "bom-ref": "base-model", "name": self.name,
            "properties": properties,
        }  # fmt: skip


def bill_of_materials(base: ModelComponent | None = None) -> dict[str, Any]:
    """Return the bill of this environment, and of a base model, in CycloneDX's form."""
    python = {
        "type": "platform", "bom-ref": "python",
        "name": platform.python_implementation(), "version": platform.python_version(),
    }  # fmt: skip
    models = [base.component()] if base else []
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _library(DISTRIBUTION, __version__) | {"type": "application"}},
        "components": [python, *_libraries(), *models],
    }


@cache
def _libraries() -> list[dict[str, Any]]:
    """Return the installed distributions but curate itself, by name."""
    libraries = {}
    for fields in _fields_of_each():
        name = re.sub(r"[-_.]+", "-", fields["Name"]).lower()
        # Of two distributions of one name, the first on the path is the one that Python imports.
        if name != DISTRIBUTION and name not in libraries:
            libraries[name] = _library(name, fields["Version"]) | _licence(fields)
    return [libraries[name] for name in sorted(libraries)]


def _fields_of_each() -> Iterator[dict[str, str]]:
    """Yield some fields of every distribution, by hand: the email parser takes ten times as long."""
    for distribution in distributions():
        head, _, _ = (distribution.read_text("METADATA") or "").partition("\n\n")
        lines = (line.partition(": ") for line in head.splitlines())
        fields = {name: value.strip() for name, _, value in lines if name in FIELDS}
        if fields.get("Name") and fields.get("Version"):
            yield fields


def _library(name: str, version: str) -> dict[str, Any]:
    # A local version such as 2.13.0+cpu has a plus, which stands for a space in an address.
    address = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
    return {
        "type": "library", "bom-ref": address, "name": name, "version": version, "purl": address
    }  # fmt: skip


def _licence(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the licence: an SPDX expression, or the words of an older distribution, or nothing."""
    if expression := fields.get("License-Expression"):
        return {"licenses": [{"expression": expression}]}
    if words := fields.get("License"):
        return {"licenses": [{"license": {"name": words}}]}
    return {}
