"""Every fault of a user or a machine is one sentence with the path, and ends with 2; ours end with 1."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

from curate.cli import main
from curate.config.loading import load_config
from curate.core.faults import ADVICE, explain_fault
from curate.pipeline.curation import run_curation

REPO = Path(__file__).parents[2]
RECIPE = "name: r\npool: pool.jsonl\nstages: [exact]\nselect: random\nbudget: 2\nstore: store\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, its pool, its run and its store, which tests copy."""
    folder = tmp_path_factory.mktemp("finished")
    rows = [{"prompt": f"{n} + 1 = ?", "completion": str(n + 1)} for n in range(6)]
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "recipe.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_curation(load_config(Path("recipe.yaml")), Path("run"))
    return folder


@pytest.fixture
def work(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a recipe, its pool and its run."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(str(finished), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    # Each command adds a handler, which belongs to the stream of its test.
    monkeypatch.setattr(logging.getLogger("curate"), "handlers", [])
    return tmp_path


def curate(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command in this process, return its exit code."""
    monkeypatch.setattr(sys, "argv", ["curate", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return code if isinstance(code, int) else 0


def cut(name: str) -> Callable[[], object]:
    """Return a function that cuts a file off in its middle."""
    return lambda: Path(name).write_bytes(Path(name).read_bytes()[: Path(name).stat().st_size // 2])


def write(name: str, text: str | bytes) -> Callable[[], object]:
    data = text.encode() if isinstance(text, str) else text

    def write_file() -> None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(data)

    return write_file


def nothing() -> None:
    """Do no harm: the command itself is at fault."""


def write_model(marker: str) -> Callable[[], object]:
    names = ("config.json", marker, "model.safetensors")
    return lambda: [write(f"m/{name}", "{")() for name in names]


RUN = ("run", "recipe.yaml", "--out", "other")
BASE = (*RUN, "--set", "select=length", "--set", "models.base=./m")
EMBEDDER = (*RUN, "--set", "stages=[semantic]", "--set", "models.embedder=./m")
ROW = "pool/pool.jsonl:1"
LEDGER, RANKING = "run/ledger.parquet", "run/evidence/select.parquet"
OTHER = pl.DataFrame({"a": [1]})
FAULTS: dict[str, tuple[Callable[[], object], tuple[str, ...], str]] = {
    "recipe missing": (nothing, ("run", "no.yaml"), "no.yaml"),
    "recipe is a folder": (nothing, ("run", "."), "."),
    "recipe cut off": (write("recipe.yaml", "name: [a"), RUN, "recipe.yaml:1"),
    "pool missing": (lambda: Path("pool.jsonl").unlink(), RUN, "pool.jsonl"),
    "pool is Parquet": (lambda: OTHER.write_parquet("pool.jsonl"), RUN, "pool.jsonl"),
    "pool is a zip": (write("pool.jsonl", b"PK\x03\x04 and more"), RUN, "pool.jsonl"),
    "pool needs a driver": (nothing, (*RUN, "--set", "pool=smb://host/x"), "smbprotocol"),
    "pool of an unknown kind": (nothing, (*RUN, "--set", "pool=foo://x"), "foo"),
    "store is a file": (write("taken", "x"), (*RUN, "--set", "store=taken"), "taken"),
    "out below a file": (write("taken", "x"), ("run", "recipe.yaml", "--out", "taken/x"), "taken"),
    "out too long": (nothing, ("run", "recipe.yaml", "--out", "x" * 300), "too long"),
    "run missing": (nothing, ("explain", "no", ROW), "no is no finished run"),
    "manifest cut off": (cut("run/manifest.json"), ("report", "run"), "run/manifest.json:"),
    "manifest of others": (write("run/manifest.json", "[3]"), ("report", "run"), "manifest.json"),
    "manifest without keys": (write("run/manifest.json", "{}"), ("plan", "run"), "'name'"),
    "ledger cut off": (cut(LEDGER), ("explain", "run", ROW), "run: a file of this"),
    "ledger missing": (lambda: Path(LEDGER).unlink(), ("report", "run"), "ledger.parquet"),
    "ledger of others": (lambda: OTHER.write_parquet(LEDGER), ("report", "run"), "run: a file of"),
    "ranking cut off": (cut(RANKING), ("plan", "run"), "run: a file of this"),
    "selection cut off": (
        cut("run/selected.parquet"),
        ("export", "run", "--out", "x"),
        "run: a file",
    ),
    "row unknown": (nothing, ("explain", "run", "x"), "ids look like"),
    "model without weights": (write("m/a", ""), BASE, "m holds no safetensors"),
    "model damaged": (write_model("tokenizer.json"), BASE, "m: cannot be loaded"),
    "embedder damaged": (write_model("modules.json"), EMBEDDER, "m: cannot be loaded"),
    "command unknown": (nothing, ("rnu",), "rnu"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_users_and_machines_end_in_one_sentence(
    work: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    harm, arguments, place = FAULTS[fault]
    harm()
    capfd.readouterr()
    code = curate(monkeypatch, *arguments)
    stderr = capfd.readouterr().err
    assert code == 2, stderr
    assert place in stderr
    assert "Traceback" not in stderr
    assert "Internal error" not in stderr
    assert stderr.count("Error") == 1


@pytest.mark.parametrize("number", ADVICE, ids=errno.errorcode.get)
def test_errors_of_the_system_say_where_and_what_to_do(number: int) -> None:
    error = OSError(number, os.strerror(number), "some/path")
    assert explain_fault(error) == f"some/path: {ADVICE[number]}"


def test_errors_of_the_system_that_polars_puts_in_words_are_told_as_well(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    places = {errno.ENOENT: tmp_path / "no" / "x", errno.ENOTDIR: tmp_path / "file" / "x"}
    for number, place in places.items():
        with pytest.raises(OSError, match=f"os error {number}") as caught:
            OTHER.write_parquet(place)
        assert explain_fault(caught.value) == f"{place}: {ADVICE[number]}"


def test_what_a_library_made_of_a_full_disk_is_still_a_full_disk() -> None:
    for error in (
        pl.exceptions.ComputeError("No space left on device (os error 28)"),
        OSError(28, "x"),
    ):
        outer = ValueError("could not write")
        outer.__cause__ = error
        assert explain_fault(outer) is not None
        assert "the disk is full" in str(explain_fault(outer))


@pytest.mark.parametrize(
    "error", [KeyError("x"), AssertionError("x"), ValueError("x"), TypeError()]
)
def test_a_fault_of_ours_is_not_passed_off_as_the_users(error: Exception) -> None:
    assert explain_fault(error) is None


@pytest.mark.system
def test_a_full_disk_is_told_with_the_store_and_leaves_nothing(work: Path) -> None:
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "sys.argv = ['curate', 'run', 'recipe.yaml', '--out', 'other', '--set', 'store=new']; "
        "from curate.cli import main; main()"
    )
    # -B: Python would leave byte code that is cut off at the limit.
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=work, env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"{work}/new" in done.stderr.splitlines()[-1]
    assert not (work / "other").exists()
    assert not [*(work / "new" / "tmp").iterdir()]


@pytest.mark.system
def test_a_reader_that_stops_reading_is_no_fault(work: Path) -> None:
    command = f"{sys.executable} -m curate explain run {ROW} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=work, env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""


@pytest.mark.system
def test_a_limit_of_address_space_costs_the_charts_and_nothing_else(work: Path) -> None:
    run_curation(load_config(Path("recipe.yaml"), ["select=length"]), Path("charted"))
    # The process that tries whether charts can be drawn imports nothing from the current folder.
    (work / "vl_convert.py").write_text("def vegalite_to_svg(chart): pass")
    command = f"ulimit -v 8000000; {sys.executable} -P -m curate report charted"
    done = subprocess.run(
        ["bash", "-c", command], cwd=work, env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (
        "no chart: its renderer needs more address space"
        in (work / "charted" / "report" / "index.html").read_text()
    )


def test_the_version_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert curate(monkeypatch, "--version") == 0
    assert capfd.readouterr().out.startswith("curate 0.")


GPU_FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"
BROKEN: dict[str, tuple[Callable[[], Exception], str]] = {
    "GPU memory": (lambda: torch.OutOfMemoryError(GPU_FULL), "not enough memory"),
    "memory of a library": (lambda: RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), "not enough memory"),
    "memory": (MemoryError, "not enough memory"),
    "GPU": (lambda: torch.AcceleratorError("CUDA error: no kernel image", 1), "driver failed"),
    "driver": (
        lambda: RuntimeError("Found no NVIDIA driver on your system."), "CUDA_VISIBLE_DEVICES=",
    ),
}  # fmt: skip
WORK = {
    "embed": ("--set", "stages=[semantic]", "--set", "models.embedder=minilm"),
    "rds": ("--set", "select=rds", "--set", "target=pool.jsonl"),
    "fine-tune": (
        "--set",
        "prove.draws=2",
        "--set",
        "prove.seeds=1",
        "--set",
        "target.path=pool.jsonl",
        "--set",
        "target.eval=eval.jsonl",
    ),
    "loss": ("--set", "select=perplexity"),
}


@pytest.mark.system
@pytest.mark.parametrize(
    ("place", "fault"), [*((place, "GPU memory") for place in WORK), *(("rds", f) for f in BROKEN)]
)
def test_a_machine_that_fails_in_the_middle_of_a_model_is_told(
    work: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    place: str, fault: str,
) -> None:  # fmt: skip
    make, words = BROKEN[fault]

    def forward(self: object, *arguments: object) -> None:
        raise make()

    monkeypatch.setattr(torch.nn.Linear, "forward", forward)
    Path("eval.jsonl").write_text(
        "\n".join(
            json.dumps({"prompt": f"{n} plus 20?", "completion": f"{20 + n}"}) for n in range(4)
        )
    )
    code = curate(monkeypatch, *RUN, "--set", f"models.base={tiny}", *WORK[place])
    stderr = capfd.readouterr().err
    assert code == 2, stderr
    assert stderr.splitlines()[-1].startswith("Error: ") and words in stderr.splitlines()[-1]
    assert "Traceback" not in stderr and not Path("other").exists()
