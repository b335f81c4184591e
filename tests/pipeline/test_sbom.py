"""The bill of materials of a run is CycloneDX's, and complete."""

import json
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation
from curate.pipeline.sbom import SBOM, ModelComponent, bill_of_materials


def components(bill: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in bill["components"] if part["type"] == kind}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "pool.jsonl").write_text('{"prompt": "1 + 1 = ?", "completion": "2"}\n')
    recipe = {"name": "r", "pool": str(folder / "pool.jsonl"), "store": str(folder / "store")}
    return run_curation(Config.model_validate(recipe), folder / "run").folder


def test_a_run_has_a_valid_bill_of_everything_installed(run: Path) -> None:
    text = (run / SBOM).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    installed = {canonicalize_name(d.name) for d in distributions()} - {"curate-data"}
    assert set(components(bill, "library")) == installed
    assert bill["metadata"]["component"]["name"] == "curate-data"
    assert set(components(bill, "platform")) == {"CPython"}
    assert components(bill, "machine-learning-model") == {}


def test_versions_are_those_that_the_manifest_tells_too(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    libraries = components(json.loads((run / SBOM).read_text()), "library")
    versions = {n: v for n, v in manifest["versions"].items() if n not in ("curate", "python")}
    assert {name: libraries[name]["version"] for name in versions} == versions
    assert SBOM in manifest["files"]


def test_a_local_version_and_a_licence_are_written_as_their_standards_say(run: Path) -> None:
    libraries = components(json.loads((run / SBOM).read_text()), "library")
    polars = libraries["polars"]
    assert polars["purl"] == f"pkg:pypi/polars@{polars['version']}"
    assert polars["licenses"]
    for part in libraries.values():
        assert part["purl"] == f"pkg:pypi/{part['name']}@{part['version'].replace('+', '%2B')}"


def test_the_base_model_is_a_component_with_its_digests() -> None:
    base = ModelComponent("smollm2-135m", {"weights": "0f", "dtype": "float32"})
    bill = bill_of_materials(base)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    (model,) = components(bill, "machine-learning-model").values()
    assert model["name"] == "smollm2-135m"
    assert {"name": "curate:weights", "value": "0f"} in model["properties"]
