"""The audit against databases on this machine: with an advisory, without, broken and out of reach."""

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.audit import PROJECT, accepted_advisories, audit
from tests.httpserver import serving

pytest.importorskip("pip_audit", reason="pip-audit is of the extra `lint`, not of `dev`")
pytestmark = pytest.mark.system

ADVISORY = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "schema_version": "1.7.0",
    "summary": "A template runs code.",
    "aliases": ["CVE-2026-0001"],
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.9"}]}],
        }
    ],
}


class Database(BaseHTTPRequestHandler):
    """Answers as OSV does: one advisory on jinja2, none on other packages."""

    status = 200

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        vulnerable = query["package"]["name"] == "jinja2"
        body = json.dumps({"vulns": [ADVISORY]} if vulnerable else {}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class BrokenDatabase(Database):
    status = 503


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    path = tmp_path / "pins.txt"
    path.write_text("Jinja2==3.1.6\nnumpy==2.4.6\n")
    return path


def project(folder: Path, accepted: str = "") -> Path:
    path = folder / "pyproject.toml"
    path.write_text(f"[tool.audit.accepted]\n{accepted}\n")
    return path


def test_an_advisory_that_is_not_accepted_fails(
    pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Database) as url:
        assert audit(pins, project(pins.parent), url) == 1
    assert capsys.readouterr().out.splitlines() == [
        "jinja2 3.1.6: CVE-2026-0001 (GHSA-aaaa-bbbb-cccc); take 3.1.9",
        "1 known vulnerabilities, 1 of them not accepted",
    ]


def test_one_that_is_accepted_with_a_reason_passes_by_any_of_its_names(
    pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted = project(pins.parent, 'CVE-2026-0001 = "no template of a user is run"')
    with serving(Database) as url:
        assert audit(pins, accepted, url) == 0
    assert capsys.readouterr().out == "1 known vulnerabilities, 0 of them not accepted\n"


def test_without_an_advisory_it_passes_and_names_what_is_accepted_in_vain(
    pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pins.write_text("numpy==2.4.6\n")
    accepted = project(pins.parent, 'CVE-2026-0001 = "no template of a user is run"')
    with serving(Database) as url:
        assert audit(pins, accepted, url) == 0
    assert capsys.readouterr().out.splitlines() == [
        "pyproject.toml: tool.audit.accepted.CVE-2026-0001 is no longer needed; remove it",
        "0 known vulnerabilities, 0 of them not accepted",
    ]


@pytest.mark.parametrize("broken", [True, False], ids=["answers 503", "nobody listens"])
def test_without_a_database_it_is_skipped_loudly(
    pins: Path, capsys: pytest.CaptureFixture[str], broken: bool
) -> None:
    with serving(BrokenDatabase) as url:
        if broken:
            assert audit(pins, project(pins.parent), url) == 0
    if not broken:
        assert audit(pins, project(pins.parent), url) == 0
    assert capsys.readouterr().out.startswith("SKIPPED: the audit, because the database")


def test_a_fault_that_is_not_of_the_network_fails(pins: Path) -> None:
    pins.write_text("numpy\n")
    with serving(Database) as url, pytest.raises(RuntimeError, match="numpy"):
        audit(pins, project(pins.parent), url)


def test_an_advisory_is_accepted_for_a_reason_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"CVE-2026-0001: write why, in words"):
        accepted_advisories(project(tmp_path, 'CVE-2026-0001 = "later"'))


def test_whatever_this_repository_accepts_has_a_reason() -> None:
    accepted_advisories(PROJECT)
