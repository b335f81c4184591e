"""A finished run for trackers: its verdict, figures, recipe and report, without paths of this machine.

A tracker that fails changes nothing of the run, which lies in its folder by then:

    the run is finished, but mlflow did not log it: ...; once that is mended: curate track runs/x mlflow
"""

import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from curate.config.recipe import PLACES
from curate.core.errors import UserError
from curate.core.faults import explain_fault, one_line
from curate.core.jsontypes import JSON
from curate.core.methods import find_method
from curate.core.params import first_fault
from curate.core.scratch import temporary_folder
from curate.core.store import write_json
from curate.core.version import __version__
from curate.core.yamltext import load_setting
from curate.report.build import render
from curate.report.data import gather
from curate.report.proof import ProofPanel, read_proof
from curate.runs.claim import flat_settings
from curate.runs.folder import MANIFEST, RunFolder, inside, open_run
from curate.runs.funnel import Funnel, gather_funnel
from curate.runs.public_paths import public_path, with_public_paths
from curate.runs.verdict_text import read_verdict
from curate.trackers.tracker import Tracker, TrackingRecord

LOG = logging.getLogger("curate")
LONGEST_REASON = 200


def log_to_trackers(folder: Path, trackers: Sequence[Tracker]) -> None:
    """Log a finished run to the trackers of its recipe; say which did not take it, and why."""
    for tracker in trackers:
        LOG.info("logging to %s", tracker.method)
        try:
            LOG.info("logged to %s: %s", tracker.method, log_to(folder, tracker))
        except Exception as error:
            reason = (
                explain_fault(error) or f"{type(error).__name__}: {one_line(error, LONGEST_REASON)}"
            )
            LOG.warning(
                "the run is finished, but %s did not log it: %s; once that is mended: %s",
                tracker.method,
                reason,
                _command(folder, tracker),
            )


def log_to(folder: Path, tracker: Tracker) -> str:
    """Log a finished run to a tracker; return where it is to be seen.

    Raises:
        UserError: the folder is no finished run, or the tracker cannot be used.
    """
    with summarised(open_run(folder)) as summary:
        return tracker.log_run(summary)


def read_tracker(name: str, overrides: Sequence[str]) -> Tracker:
    """Return a tracker by its name, with settings as key=value.

    Raises:
        UserError: there is none of this name, or it has no such setting.
    """
    cls, settings = find_method(Tracker, name), dict[str, JSON]()
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise UserError(f"--set {override}: write it as key=value, e.g. project=curation")
        settings[key] = load_setting(override, value)
    try:
        return cls.model_validate(settings)
    except ValidationError as error:
        place, problem = first_fault(error, cls)
        raise UserError(f"{name}: {place}: {problem}") from error


def _command(folder: Path, tracker: Tracker) -> str:
    """Return the command that logs a run later."""
    settings = tracker.model_dump(mode="json", exclude={"method"}, exclude_defaults=True)
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return shlex.join(["curate", "track", str(folder), tracker.method, *options])


@contextmanager
def summarised(run: RunFolder) -> Iterator[TrackingRecord]:
    """Yield what trackers get of a run; its files go at the end.

    Raises:
        UserError: the folder is no finished run.
    """
    manifest = _public_manifest(run)
    verdict, proof = read_verdict(run), read_proof(inside(run.path, "proof.json"))
    funnel = gather_funnel(run)
    with temporary_folder() as files:
        _write_files(run, manifest, files)
        settings = flat_settings(manifest["config"])
        yield TrackingRecord(
            name=str(manifest["name"]),
            verdict=verdict["verdict"] if verdict else "none",
            sentence=verdict["sentence"]
            if verdict
            else f"{funnel.selected:,} rows selected, not proved",
            settings={key: value for key, value in settings.items() if value is not None},
            figures={**dict(_row_figures(funnel)), **_costs(run), **dict(_proof_figures(proof))},
            tags=_tags(manifest),
            files=files,
        )


def _public_manifest(run: RunFolder) -> dict[str, Any]:
    """Return a manifest without where things lie on this machine."""
    manifest = {key: value for key, value in run.manifest.items() if key not in PLACES}
    manifest["config"] = {k: v for k, v in manifest["config"].items() if k not in PLACES}
    provenance = dict(run.manifest.get("run", {}))
    if provenance.get("command"):
        words = (_public_word(word) for word in shlex.split(provenance["command"]))
        provenance["command"] = shlex.join(words)
    public: dict[str, Any] = with_public_paths({**manifest, "run": provenance})
    return public


def _public_word(word: str) -> str:
    key, separator, value = word.partition("=")
    return f"{key}={public_path(value)}" if separator else public_path(word)


def _write_files(run: RunFolder, manifest: dict[str, Any], out: Path) -> None:
    """Write report, manifest and proof for a tracker."""
    page = render(replace(gather(run.path), manifest=manifest))
    (out / "report.html").write_text(page, encoding="utf-8", errors="backslashreplace")
    write_json(out / MANIFEST, manifest)
    proof = inside(run.path, "proof.json")
    if proof.is_file():
        (out / "proof.json").write_bytes(proof.read_bytes())


def _tags(manifest: dict[str, Any]) -> dict[str, str]:
    """Return when and with what a run was made."""
    run = manifest["run"]
    tags = {key: run[key] for key in ("started", "ended", "platform", "command") if run.get(key)}
    return {"curate": __version__, **{key: str(text) for key, text in tags.items()}}


def _row_figures(funnel: Funnel) -> Iterator[tuple[str, float]]:
    """Yield how many rows each step leaves."""
    yield from (("rows/records", funnel.records), ("rows/read", funnel.rows))
    yield from ((f"dropped/{step.stage}", step.removed) for step in funnel.steps[1:-1])
    yield from (("rows/kept", funnel.kept), ("rows/selected", funnel.selected))


def _costs(run: RunFolder) -> dict[str, float]:
    """Return what making the run's steps took, also where they were reused."""
    steps = run.manifest["stages"]
    spent = {f"cost/{key}": sum(step["llm"][key] for step in steps) for key in ("calls", "tokens")}
    return {
        "cost/seconds": round(sum(step["seconds"] for step in steps), 3),
        **spent,
        "cost/price": sum(step["llm"]["cost"] for step in steps),
    }


def _proof_figures(proof: ProofPanel | None) -> Iterator[tuple[str, float]]:
    """Yield the arms' means, and how far the selection lies from each control, with its interval."""
    if proof is None:
        return
    for arm in proof.arms:
        yield from ((f"arms/{arm.name}/{metric.name}", metric.mean) for metric in arm.metrics)
    for one in proof.comparisons:
        place = f"against/{one.control}/{one.metric}"
        yield f"{place}/difference", one.mean
        yield from ((f"{place}/low", one.low), (f"{place}/high", one.high))
        yield f"{place}/random_within", one.half
