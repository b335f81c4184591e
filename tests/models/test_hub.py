"""Every fault of the hub, of credentials for it and of its cache is one sentence with what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import __version__, constants, file_download
from huggingface_hub.utils import _http

from curate.core.errors import UserError
from curate.models.load import find_model, load_tokenizer, prepare
from curate.models.weights import load_trunk
from tests.core.test_faults import curate
from tests.hub import COMMIT, Hub, Reply, error, serve_hub

pytestmark = pytest.mark.system

REPO = Path(__file__).parents[2]
CLIENT = int(__version__.split(".")[0])
RECIPE = "name: r\npool: pool.jsonl\nselect: length\nbudget: 2\nstore: store\nmodels: {base: o/n}\n"
HTML = Reply(body=b"<html>sign in to the network</html>", headers={"Content-Type": "text/html"})
GATED = error(403, "GatedRepo", "Access to model o/n is restricted")
HOUR = {"Retry-After": "3600"}
ANY, FILE, TREE, WEIGHTS = "/", "/resolve/", "/tree/", "model.safetensors"


def answer(piece: str, reply: Reply) -> Callable[[Hub], object]:
    """Return what lets the hub send this to every request whose path holds the piece."""
    return lambda hub: hub.faults.update({piece: reply})


def cut_weights(hub: Hub) -> None:
    """Let the hub break off in the middle of the weights, each time."""
    body = hub.files[WEIGHTS]
    headers = {"ETag": '"w"', "X-Repo-Commit": COMMIT}
    hub.faults[WEIGHTS] = Reply(body=body, headers=headers, cut=len(body) // 2)


def set_constant(name: str, value: object) -> Callable[[Hub], object]:
    return lambda hub: setattr(constants, name, value)


def set_token(token: str) -> Callable[[Hub], object]:
    return lambda hub: os.environ.update({"HF_TOKEN": token})


def fill_cache_path(hub: Hub) -> None:
    Path(constants.HF_HUB_CACHE).write_text("no folder")


FAULTS: dict[str, tuple[Callable[[Hub], object], str]] = {
    "nobody there": (set_constant("ENDPOINT", "http://127.0.0.1:9"), "127.0.0.1:9 cannot be reached"),
    "offline": (set_constant("HF_HUB_OFFLINE", True), "HF_HUB_OFFLINE is set"),
    "no such model": (answer(ANY, error(404, "RepoNotFound")), "no model of that name"),
    "private": (answer(ANY, error(401, "RepoNotFound")), "set HF_TOKEN to a token that may"),
    "wrong token": (answer(ANY, error(401, "", "Invalid credentials")), "wants a valid token"),
    "odd token": (set_token("hf_S3cret\xe9"), "HF_TOKEN has letters"),
    "gated": (answer(ANY, GATED), "accept them on http://127.0.0.1:"),
    "gated files": (answer(FILE, GATED), "accept them on http://127.0.0.1:"),
    "forbidden": (answer(ANY, error(403)), "forbids it to this account"),
    "disabled": (
        answer(ANY, error(403, "", "Access to this resource is disabled.")), "take another model",
    ),
    "no branch": (answer(ANY, error(404, "RevisionNotFound")), "nothing on its main branch"),
    "no file": (answer(FILE, error(404, "EntryNotFound")), "a file that the hub lists is not there"),
    "no files": (lambda hub: setattr(hub, "files", {}), "the hub has no files of it"),
    "too many": (answer(ANY, error(429, **HOUR)), "too many requests"),
    "too many files": (answer(FILE, error(429, **HOUR)), "too many requests"),
    "down": (answer(ANY, error(500)), "HTTP 500); run again later"),
    "storage down": (answer(FILE, error(503)), "HTTP 503); run again later"),
    "another server": (answer(ANY, HTML), "is not what the hub sends"),
    "another tree": (answer(TREE, HTML), "is not what the hub sends"),
    "another file": (answer(WEIGHTS, HTML), "is not what the hub sends"),
    "odd JSON": (answer(ANY, Reply(body=b"[1]")), "is not what the hub sends"),
    "cut off": (cut_weights, "the connection broke"),
    "cache is a file": (fill_cache_path, "a part of the path is no folder"),
}  # fmt: skip


@pytest.fixture
def hub(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the tiny model, which the client takes for the only one, and never waits for."""
    patient = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", patient)
    monkeypatch.setenv("HF_TOKEN", "hf_S3cret")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve_hub(tiny) as served:
        files = f"{served.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        yield served


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe whose base model is on the hub."""
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"{n} + 1 = ?", "completion": str(n + 1)} for n in range(4)]
    Path("pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Path("recipe.yaml").write_text(RECIPE)
    return tmp_path


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_hub_is_one_sentence_before_any_work(
    hub: Hub,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    fault: str,
) -> None:
    harm, words = FAULTS[fault]
    if CLIENT < 2 and fault in ("another tree", "no files"):
        pytest.skip("huggingface_hub below 2 asks for no tree of files")
    harm(hub)
    assert curate(monkeypatch, "run", "recipe.yaml") == 2
    stderr = capfd.readouterr().err
    sentence = stderr.splitlines()[-1]
    assert sentence.startswith("Error: model 'o/n'") and words in sentence
    assert (
        "Traceback" not in stderr and stderr.count("Error: model") == 1 and "S3cret" not in stderr
    )
    assert not [*(work / "store").glob("ingest-*")], "found before the pool is read"


@pytest.mark.parametrize("name", ["o/n/x y", "o/..", "https://hub/o/n", "o/n@main"])
def test_what_is_no_name_of_a_model_is_told(hub: Hub, name: str) -> None:
    with pytest.raises(UserError, match="no name of a hub model, which is owner/name"):
        find_model(name)


def test_a_model_is_fetched_once_and_used_offline(
    hub: Hub, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert curate(monkeypatch, "run", "recipe.yaml") == 0
    assert sum(WEIGHTS in path for path in hub.paths) == 2, "its size, then its bytes"
    constants.HF_HUB_OFFLINE = True
    assert curate(monkeypatch, "run", "recipe.yaml", "--out", "again") == 0


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json"])
@pytest.mark.parametrize("left", ["half", "nothing", "gone"])
def test_a_damaged_cache_is_told_with_the_folder_to_remove(hub: Hub, name: str, left: str) -> None:
    blob = (find_model("o/n").path / name).resolve()
    whole = blob.read_bytes()
    blob.unlink() if left == "gone" else blob.write_bytes(
        whole[: len(whole) // 2 * (left == "half")]
    )
    constants.HF_HUB_OFFLINE = True
    with pytest.raises(
        UserError, match=r"remove .*models--o--n and they are|does not hold all of it"
    ):
        load(find_model("o/n").path)
    constants.HF_HUB_OFFLINE = False
    if left == "gone":
        load(find_model("o/n").path)


def load(folder: Path) -> None:
    """Load all of a model as a run does."""
    load_tokenizer(folder)
    load_trunk(folder, "float32")


def test_a_full_disk_of_the_cache_is_told_with_the_cache(hub: Hub, tmp_path: Path) -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
        "from curate.models.load import find_model; find_model('o/n')"
    )
    home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "PYTHONPATH": str(REPO)}
    # -B: Python would leave byte code that is cut off at the limit.
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], env=os.environ | home, capture_output=True, text=True
    )
    sentence = done.stderr.splitlines()[-1]
    assert "UserError: model 'o/n'" in sentence and "the file may not get that large" in sentence
    assert f"its cache is {tmp_path}/home/hub" in sentence


def test_a_folder_that_only_looks_like_one_of_the_hub_is_the_users(tiny: Path) -> None:
    assert prepare(find_model(str(tiny))) == tiny
