"""Known vulnerabilities of the pinned versions: pip-audit over constraints.txt.

    python -m tests.audit       (make audit)

Fails on a vulnerability that pyproject.toml does not accept with a reason, under [tool.audit.accepted]:

    GHSA-xxxx-xxxx-xxxx = "the function at fault is never called: ..."

Prints SKIPPED and the reason where the database of advisories (OSV) does not answer. pip-audit is also
content where a database knows none of the packages; here that is skipped as well, and never a pass.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
CONSTRAINTS, PROJECT = REPO / "constraints.txt", REPO / "pyproject.toml"
OSV = "https://api.osv.dev/v1/query"
OPTIONS = (
    "--no-deps", "--disable-pip", "--format", "json", "--aliases", "on", "--desc", "off",
    "--progress-spinner", "off", "--vulnerability-service", "osv", "--osv-url",
)  # fmt: skip
# The last lines of pip-audit where a request has no answer, or not one of the database.
NO_ANSWER = re.compile(
    r"^(requests\.exceptions\.\w+|[\w.]*ServiceError|ERROR:.*(onnect|redirect)).*"
)


class NoDatabaseError(Exception):
    """The database of advisories cannot be asked."""


@dataclass(frozen=True)
class Vulnerability:
    """An advisory on a pinned version, with its other names and the versions that mend it."""

    package: str
    version: str
    id: str
    aliases: tuple[str, ...]
    fixes: tuple[str, ...]

    @property
    def names(self) -> set[str]:
        """Return all names of the advisory."""
        return {self.id, *self.aliases}

    @property
    def sentence(self) -> str:
        """Return what is wrong, and what to do."""
        remedy = f"take {' or '.join(self.fixes)}" if self.fixes else "there is no mended version"
        others = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.package} {self.version}: {self.id}{others}; {remedy}"


def accepted_advisories(project: Path) -> dict[str, str]:
    """Return the reasons of the advisories that a pyproject.toml accepts, by their names.

    Raises:
        ValueError: one has no reason.
    """
    table = tomllib.loads(project.read_text(encoding="utf-8")).get("tool", {}).get("audit", {})
    accepted: dict[str, str] = table.get("accepted", {})
    for name, reason in accepted.items():
        if not isinstance(reason, str) or len(reason.split()) < 3:
            raise ValueError(f"{project.name}: tool.audit.accepted.{name}: write why, in words")
    return accepted


def vulnerabilities(pins: Path, database: str) -> list[Vulnerability]:
    """Return the advisories on the versions of a file of pins.

    Raises:
        NoDatabaseError: the database does not answer, or knows none of them.
        RuntimeError: pip-audit fails for another reason.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), *OPTIONS, database]
    done = subprocess.run(command, capture_output=True, text=True)
    # With a vulnerability it exits with 1 as it does on a fault, but prints its findings.
    if not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or ["pip-audit says nothing"]
        if done.returncode and (answers := [line for line in lines if NO_ANSWER.match(line)]):
            raise NoDatabaseError(answers[-1])
        raise RuntimeError("\n".join(lines[-20:]))
    packages = json.loads(done.stdout)["dependencies"]
    if packages and all("skip_reason" in package for package in packages):
        raise NoDatabaseError(packages[0]["skip_reason"])
    return list(_parse(packages))


def _parse(packages: list[dict[str, Any]]) -> Iterator[Vulnerability]:
    for package in packages:
        for advisory in package.get("vulns", []):
            yield Vulnerability(
                package["name"],
                package["version"],
                advisory["id"],
                tuple(advisory["aliases"]),
                tuple(advisory["fix_versions"]),
            )


def unaccepted(
    advisories: list[Vulnerability], accepted: Mapping[str, str]
) -> tuple[list[Vulnerability], list[str]]:
    """Return the advisories that are not accepted, and the accepted names that no advisory has."""
    names = {name for advisory in advisories for name in advisory.names}
    faults = [advisory for advisory in advisories if not advisory.names & set(accepted)]
    return faults, [name for name in accepted if name not in names]


def audit(pins: Path, project: Path, database: str) -> int:
    """Print what the database knows of the pinned versions; return the exit code."""
    accepted = accepted_advisories(project)
    try:
        advisories = vulnerabilities(pins, database)
    except NoDatabaseError as error:
        print(f"SKIPPED: the audit, because the database of advisories cannot be asked: {error}")
        return 0
    faults, stale = unaccepted(advisories, accepted)
    for advisory in faults:
        print(advisory.sentence)
    for name in stale:
        print(f"{project.name}: tool.audit.accepted.{name} is no longer needed; remove it")
    print(f"{len(advisories)} known vulnerabilities, {len(faults)} of them not accepted")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(audit(CONSTRAINTS, PROJECT, OSV))
