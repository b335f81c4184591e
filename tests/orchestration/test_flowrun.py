"""A run as a flow: the same bytes as without Prefect, which shows what it does."""

import re
import subprocess
import threading
from pathlib import Path

import psutil
import pytest

from tests.orchestration.flowrecord import artifact_text, flow_runs, made_of, task_states
from tests.orchestration.listeners import listener
from tests.orchestration.workplace import (
    FAILED,
    REPO,
    Workplace,
    artifact_bytes,
    copy_of,
    environment,
    light,
    run_files,
)

pytestmark = pytest.mark.system
# Longer than is waited, twice, for an answer of a server of the user's.
HELD_SECONDS = 45.0
SECRET = "sk-0123456789abcdef"
# Prefect's keys of artifacts take neither.
NAMES = ("übung", "数据.b_c")


def succeed(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 0, done.stderr
    assert FAILED not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_without_prefect_imports_neither_it_nor_the_flows(
    finished_run: "tuple[Workplace, subprocess.CompletedProcess[str]]",
) -> None:
    assert "LOADED []" in finished_run[1].stdout


def test_both_ways_give_the_same_bytes_whatever_lies_in_the_current_folder(
    finished: Workplace, tiny: Path, cache: dict[str, str], tmp_path: Path
) -> None:
    workplace = light(tmp_path / "place", tiny)
    with listener() as (port, requests):
        here = elsewhere(tmp_path / "here", f"http://127.0.0.1:{port}/api")
        proxy = f"http://127.0.0.1:{port}"
        proxies = {n: proxy for n in ("HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY")}
        home = {"HOME": str(here), "NO_PROXY": "example.com", "OPENAI_API_KEY": SECRET, **cache}
        succeed(workplace.run("--prefect", cwd=here, env={**home, **proxies}))
    assert requests == []
    assert artifact_bytes(workplace.store) == artifact_bytes(finished.store)
    assert run_files(workplace.out) == run_files(finished.out)
    assert flow_runs(cache) == [("curate-light", "Completed")]
    behind = made_of(cache)
    assert (behind["ingest"], behind["pool"]) == (set(), {"ingest"})
    assert behind["exact"] == {"pool"}
    assert {"index", "target"} <= behind["score-rds"]
    assert behind["measure"] == {"eval", "finetune"}
    assert "| as many random rows |" in artifact_text(cache, "light-verdict")
    assert str(workplace.out.resolve()) in artifact_text(cache, "light-report")
    # Prefect keeps the recipe, and nothing of the environment.
    database = Path(cache["CURATE_CACHE"], "prefect", "prefect.db").read_bytes()
    assert b"curate-light" in database
    assert SECRET.encode() not in database


def elsewhere(folder: Path, url: str) -> Path:
    """Return a folder in which every file that Prefect by itself reads names another server."""
    (folder / ".prefect").mkdir(parents=True)
    (folder / ".env").write_text(f"PREFECT_API_URL={url}\nPREFECT_PROFILES_PATH=profiles.toml\n")
    (folder / "prefect.toml").write_text(f'[api]\nurl = "{url}"\n')
    (folder / "pyproject.toml").write_text(f'[tool.prefect.api]\nurl = "{url}"\n')
    profile = f'active = "other"\n[profiles.other]\nPREFECT_API_URL = "{url}"\n'
    for place in ("profiles.toml", ".prefect/profiles.toml"):
        (folder / place).write_text(profile)
    return folder


@pytest.fixture(scope="module")
def flown(
    finished: Workplace, cache: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Workplace:
    """Return a workplace in which two flows at once have found what a run without Prefect made."""
    folder = tmp_path_factory.mktemp("flown")
    env, copy = {**environment(), **cache}, copy_of(finished, folder)
    both = [
        subprocess.Popen(
            [*copy.command("--prefect", "--set", f"name={name}"), "--out", str(folder / name)],
            cwd=REPO, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for name in NAMES
    ]  # fmt: skip
    for process in both:
        output, _ = process.communicate(timeout=1_800)
        assert process.returncode == 0, output
        assert FAILED not in output
        assert "does not show" not in output
    return copy


def test_two_flows_at_once_do_not_hurt_each_other(flown: Workplace, finished: Workplace) -> None:
    for name in NAMES:
        flow = Workplace(flown.root, flown.base, flown.root.parent / name)
        assert flow.remade() <= {"export"}
        assert (flow.out / "proof.json").read_bytes() == (finished.out / "proof.json").read_bytes()


def test_a_flow_on_a_server_that_is_held_up_waits_and_finds_every_step_cached(
    finished: Workplace, flown: Workplace, cache: dict[str, str]
) -> None:
    before, there = len(flow_runs(cache)), artifact_bytes(flown.store)
    process = subprocess.Popen(
        flown.command("--prefect", "-v", "--set", f"name={NAMES[0]}"), cwd=REPO,
        env={**environment(), **cache}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    lines, timer = [], None
    for line in process.stderr:
        lines.append(line)
        if timer is None and re.search(r"  export-\w+: ", line):
            (server,) = psutil.Process(process.pid).children()
            server.suspend()
            timer = threading.Timer(HELD_SECONDS, server.resume)
            timer.start()
    assert process.wait(timeout=1_800) == 0, lines
    assert timer is not None
    assert "Prefect" not in "".join(lines).partition("\n")[2], lines
    assert len(flow_runs(cache)) == before + 1
    assert flow_runs(cache)[-1] == (f"curate-{NAMES[0]}", "Completed")
    assert made_of(cache)["exact"] == {"pool"}
    states = task_states(cache)
    assert len(states) >= 15
    # Prefect's own records of the steps, which the first flow has made.
    assert {state for _, state in states} == {"Cached"}, states
    assert flown.remade() == set()
    assert artifact_bytes(flown.store) == there
    assert run_files(flown.out) == run_files(flown.root.parent / NAMES[0])
