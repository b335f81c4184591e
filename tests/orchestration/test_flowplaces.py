"""A flow without the server, or the Prefect, that it needs: told in a sentence, before any work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.orchestration.listeners import listener, refusing_port, web_server
from tests.orchestration.workplace import REPO, environment, light

pytestmark = pytest.mark.system
# What `python -m flows.curation` does, with a server that is not there and with none named.
SERVED_TWICE = """
import os, runpy
for url in (os.environ["PREFECT_API_URL"], ""):
    os.environ["PREFECT_API_URL"] = url
    try:
        runpy.run_module("flows.curation", run_name="__main__")
    except SystemExit as end:
        print(end.code)
"""
# What a run asks before any work, of one URL after the other.
CHECKED = """
import os, sys
from curate.core.errors import UserError
from curate.orchestration.client import check_api
from prefect.settings import PREFECT_API_URL, temporary_settings
for url in sys.argv[1:]:
    os.environ["PREFECT_API_URL"] = url
    try:
        with temporary_settings({PREFECT_API_URL: url}):
            check_api()
    except UserError as error:
        print(error)
"""


def test_an_api_url_that_leads_nowhere_is_told_before_any_work(tiny: Path, tmp_path: Path) -> None:
    workplace = light(tmp_path / "place", tiny)
    with refusing_port() as port:
        done = workplace.run(env={"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"})
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"Error: PREFECT_API_URL=http://127.0.0.1:{port}/api: ")
    assert not workplace.store.exists()


def test_it_is_told_of_every_kind_of_url_that_leads_nowhere(tmp_path: Path) -> None:
    with listener() as (silent, _), web_server(tmp_path) as other:
        places = [f"127.0.0.1:{silent}/api", f"127.0.0.1:{other}/api", "no-such-host.invalid/api"]
        urls = ["nonsense", *(f"http://user:geheim@{place}" for place in places)]
        done = subprocess.run(
            [sys.executable, "-c", CHECKED, *urls], cwd=REPO, env=environment(),
            capture_output=True, text=True, timeout=1_800,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "geheim" not in done.stdout
    for url, line in zip(urls, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"PREFECT_API_URL={url.replace('user:geheim@', '')}: ")
        assert "no Prefect API there that lets us in" in line


def test_a_served_flow_needs_a_server() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVED_TWICE], cwd=REPO,
        env={**environment(), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert done.stdout.split() == ["2", "2"], done.stderr
    refused, nowhere = done.stderr.splitlines()
    assert refused.startswith("Error: PREFECT_API_URL=http://127.0.0.1:9/api: ")
    assert nowhere.startswith("Error: ")
    assert "set PREFECT_API_URL" in nowhere


def test_a_machine_without_prefect_says_so(tiny: Path, tmp_path: Path) -> None:
    workplace = light(tmp_path / "place", tiny)
    (tmp_path / "hidden").mkdir()
    # To an import, an environment without the package.
    (tmp_path / "hidden" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['prefect'] = None\n"
    )
    path = os.pathsep.join([str(tmp_path / "hidden"), str(REPO)])
    done = workplace.run("--prefect", env={"PYTHONPATH": path})
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "Error: a run as a flow (--prefect, PREFECT_API_URL) needs Prefect, which is not installed: "
        "pip install 'curate-data[prefect]'\n"
    )
