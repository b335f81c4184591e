"""`curate push`: what the hub stores is the export, and every fault is a sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation
from curate.runs.folder import open_run
from curate.runs.training_files import export_run
from tests.commandline import curate
from tests.hubclient import hub_client
from tests.runs.hub_server import HubServer, serve_repos

pytestmark = pytest.mark.system


def small_run(folder: Path, rows: int) -> Path:
    lines = [
        json.dumps({"prompt": f"What is {n} and {n}?", "response": f"{2 * n}"}) for n in range(30)
    ]
    folder.mkdir()
    (folder / "pool.jsonl").write_text("\n".join(lines))
    recipe = {
        "name": "demo",
        "pool": str(folder / "pool.jsonl"),
        "select": {"method": "random", "budget": {"rows": rows}},
        "store": str(folder / "store"),
    }
    return run_curation(Config.model_validate(recipe), folder / "run").folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("push") / "one", 8)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serve_repos() as server:
        yield server


def push(hub: HubServer, home: Path, *arguments: object, **env: str) -> tuple[int, str]:
    """Return exit status and output of the command, with a token that may write."""
    url, token = env.get("HF_ENDPOINT", hub.url), env.get("HF_TOKEN", "writer")
    with hub_client(url, home / "hf", token=token, offline="HF_HUB_OFFLINE" in env):
        done = curate("push", *map(str, arguments))
    return done.returncode, done.stdout + done.stderr


def push_elsewhere(hub: HubServer, home: Path, *arguments: object) -> tuple[int, str]:
    """Do it in a process of its own, by the variables that users set."""
    settings = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home / "hf"),
        "HF_TOKEN": "writer",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-m", "curate", "push", *map(str, arguments)]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_hub_holds_the_export_and_nothing_else(
    run: Path, hub: HubServer, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    expected = files_below(run / "export")
    (tmp_path / "run" / "export" / "secret.env").write_text("KEY=1")
    status, output = push_elsewhere(hub, tmp_path, tmp_path / "run", "me/demo")
    assert status == 0, output
    assert hub.repos["me/demo"].branches["main"] == expected
    assert hub.commits == 1 and not hub.repos["me/demo"].private
    assert f"{len(expected)} files are pushed" in output and f"{hub.url}/datasets/me/demo" in output
    assert "not pushed, no files of the export: secret.env" in output


def test_another_push_replaces_data_files_and_keeps_the_users(
    run: Path, hub: HubServer, tmp_path: Path
) -> None:
    other = small_run(tmp_path / "two", 5)
    assert push(hub, tmp_path, run, "me/demo")[0] == 0
    files = hub.repos["me/demo"].branches["main"]
    files["notes/train.txt"] = b"mine"
    status, output = push(hub, tmp_path, other, "me/demo")
    assert status == 0, output
    assert "data files of an earlier push are removed" in output
    assert files == {**files_below(other / "export"), "notes/train.txt": b"mine"}


def test_a_private_data_set_on_a_branch_of_an_organisation(
    run: Path, hub: HubServer, tmp_path: Path
) -> None:
    status, output = push(hub, tmp_path, run, "team/demo", "--private", "--revision", "v2")
    assert status == 0, output
    assert hub.repos["team/demo"].private
    assert hub.repos["team/demo"].branches["main"] == {}
    assert hub.repos["team/demo"].branches["v2"] == files_below(run / "export")
    assert f"{hub.url}/datasets/team/demo/tree/v2" in output
    assert push(hub, tmp_path, run, "team/demo", "--private", "--revision", "v2")[0] == 0


def test_a_public_data_set_does_not_take_what_is_to_be_private(
    run: Path, hub: HubServer, tmp_path: Path
) -> None:
    assert push(hub, tmp_path, run, "me/demo")[0] == 0
    status, output = push(hub, tmp_path, run, "me/demo", "--private")
    assert status == 2 and "me/demo is there already and is public" in output
    assert hub.commits == 1


def test_an_exported_folder_is_pushed_with_its_edited_card(
    run: Path, hub: HubServer, tmp_path: Path
) -> None:
    out = tmp_path / "train"
    export_run(open_run(run), None, out)
    card = out / "README.md"
    card.write_text(card.read_text().replace("# demo", "# My data"))
    (out / "link.jsonl").symlink_to(tmp_path / "two")
    assert push(hub, tmp_path, out, "me/demo")[0] == 0
    (out / "link.jsonl").unlink()
    assert hub.repos["me/demo"].branches["main"] == files_below(out)


@pytest.mark.parametrize(
    ("repo", "env", "problem"),
    [
        ("me/demo", {"HF_TOKEN": ""}, "there is no token of the hub: run `hf auth login`"),
        ("me/demo", {"HF_TOKEN": "wrong"}, "the hub does not take the token"),
        ("me/demo", {"HF_TOKEN": "reader"}, "take one with the role write"),
        ("who/demo", {}, "the token is of me, who is not who and no member"),
        ("demo", {}, "'demo' is no name of a data set"),
        ("me/a b", {}, "that is no name of a hub data set"),
        ("me/demo", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set; unset it to push"),
        ("me/demo", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    run: Path, hub: HubServer, tmp_path: Path, repo: str, env: dict[str, str], problem: str
) -> None:
    status, output = push(hub, tmp_path, run, repo, **env)
    assert status == 2 and problem in output
    assert "Traceback" not in output and "Internal error" not in output
    assert hub.commits == 0


def test_a_card_that_the_hub_refuses_is_told(run: Path, hub: HubServer, tmp_path: Path) -> None:
    out = tmp_path / "train"
    export_run(open_run(run), None, out)
    card = out / "README.md"
    card.write_text(card.read_text().replace("---\n", "---\nlicense: bad\n", 1))
    status, output = push(hub, tmp_path, out, "me/demo")
    assert status == 2 and '"license" must be one of' in output and hub.commits == 0


def test_a_folder_without_an_export_is_refused(hub: HubServer, tmp_path: Path) -> None:
    status, output = push(hub, tmp_path, tmp_path, "me/demo")
    assert status == 2 and "holds no export" in output
