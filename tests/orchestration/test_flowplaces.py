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


@pytest.mark.parametrize("kind", ["refused", "silent", "other", "no url", "no host"])
def test_an_api_url_that_leads_nowhere_is_told_before_any_work(
    tiny: Path, tmp_path: Path, kind: str
) -> None:
    workplace = light(tmp_path / "place", tiny)
    with refusing_port() as refused, listener() as (port, _), web_server(tmp_path) as other:
        url = {
            "refused": f"http://127.0.0.1:{refused}/api",
            "silent": f"http://127.0.0.1:{port}/api",
            "other": f"http://user:geheim@127.0.0.1:{other}/api",
            "no url": "nonsense",
            "no host": "http://no-such-host.invalid/api",
        }[kind]
        done = workplace.run(env={"PREFECT_API_URL": url})
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"Error: PREFECT_API_URL={url.replace('user:geheim@', '')}: ")
    assert "geheim" not in done.stderr
    assert not workplace.store.exists()


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
