"""The wheel: what is in it, and that it works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.system
REPO = Path(__file__).parents[1]
CHANGES = ("stages=[exact]", "select={method: random, budget: 9}", "prove=null")
PLAIN = [part for change in CHANGES for part in ("--set", change)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPO, check=True, capture_output=True, timeout=1_800)
    (path,) = folder.glob("curate_data-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of an environment with the wheel and this one's packages but its curate."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=False)
    (site,) = root.glob("lib/python*/site-packages")
    # Path files are not read in a folder that is named in one, and so not that of the checkout.
    (site / "packages.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(root / "bin" / "python"), "install"]
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, *options, str(wheel)], check=True, capture_output=True, timeout=1_800)
    return root / "bin"


def run(program: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what a program did in a folder, with no variable of this checkout."""
    dropped = ("PREFECT_", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return subprocess.run(
        [str(program), *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=1_800,
    )


def test_it_has_every_file_of_the_package_and_of_the_rest_the_quickstart_alone(wheel: Path) -> None:
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {
        path.relative_to(REPO).as_posix()
        for path in (REPO / "curate").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert package <= names
    added = {name.removeprefix("curate/quickstart/") for name in names - package}
    pool = {path.relative_to(REPO).as_posix() for path in (REPO / "data" / "pool").iterdir()}
    examples = {"configs/quickstart.yaml", "data/target.jsonl", "data/eval.jsonl"}
    assert added == pool | examples


def test_its_metadata_have_extras_and_a_core_without_an_orchestrator(wheel: Path) -> None:
    archive = ZipFile(wheel)
    (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    lines = archive.read(path).decode().splitlines()
    assert "Name: curate-data" in lines
    extras = {line.partition(": ")[2] for line in lines if line.startswith("Provides-Extra: ")}
    drivers, engines = {"s3", "gcs", "azure"}, {"prefect", "ray", "dask", "vllm"}
    trackers = {"mlflow", "wandb", "trackio"}
    assert extras == {"trl", "eval", "names", "dev", "docs", "lint"} | drivers | engines | trackers
    core = [line for line in lines if line.startswith("Requires-Dist: ") and "extra ==" not in line]
    assert core
    assert not [line for line in core if any(name in line for name in ("prefect", "ray>", "dask"))]


def test_a_new_folder_is_checked_and_run_as_a_flow_from_it(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", tmp_path, "-c", "import curate; print(curate.__file__)")
    assert where.stdout.startswith(str(installed.parent)), where.stderr
    begun = run(installed / "curate", tmp_path, "init", "demo")
    assert begun.returncode == 0, begun.stderr
    assert "curate run quickstart.yaml" in begun.stdout
    checked = run(installed / "curate", tmp_path / "demo", "check", "quickstart.yaml", *PLAIN)
    assert checked.returncode == 0, checked.stderr
    assert "quickstart.yaml is sound" in checked.stdout
    arguments = ["run", "quickstart.yaml", "--prefect", *PLAIN]
    done = run(installed / "curate", tmp_path / "demo", *arguments)
    assert done.returncode == 0, done.stderr
    assert "the run goes on without it" not in done.stderr
    assert (tmp_path / "demo" / "runs" / "quickstart" / "report" / "index.html").is_file()
