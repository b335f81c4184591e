"""The manifest of a run: recipe, versions, artifacts, and what each step took."""

from collections.abc import Mapping, Sequence
from typing import Any

from curate.config.names import stage_names
from curate.core.jsontypes import JSON
from curate.core.store import Artifact
from curate.core.versions import changed_versions, installed_versions
from curate.pipeline.ablation import stage_bill
from curate.pipeline.race import PART as RACE
from curate.pipeline.race import RaceResult
from curate.pipeline.run import Run
from curate.pipeline.sbom import ModelComponent, bill_of_materials
from curate.runs.provenance import model_names


def describe_run(
    run: Run, provenance: Mapping[str, JSON], files: Sequence[str], warnings: Sequence[str]
) -> dict[str, Any]:
    """Return the manifest: config as resolved, versions, artifacts, and what each stage cost."""
    roles = {
        "pool": run.rows,
        "kept": run.kept,
        "prompts": run.prompts,
        "target": run.target,
        "eval": run.eval,
        "protected": run.protected,
        "watch": run.watch,
        "prior": run.prior,
    }
    return {
        "name": run.config.name,
        "run": {**provenance, "models": model_names(run.config)},
        "files": list(files),
        # Where it is logged is no part of what it is, and readers may lack a tracker of another package.
        "config": run.config.model_dump(mode="json", exclude={"track"}),
        "store": run.store.address,
        "versions": installed_versions(),
        **({"model": run.base.identity} if run.uses_base else {}),
        **({RACE: _describe_race(run, run.race)} if run.race else {}),
        **({"ablation": _describe_bill(run)} if run.config.ablates else {}),
        "artifacts": {
            name: table.artifact.path.name for name, table in roles.items() if table is not None
        },
        "warnings": list(warnings),
        "stages": summarise(run.artifacts, run.parts),
    }


def describe_materials(run: Run) -> dict[str, Any]:
    """Return the software bill of materials (SBOM) of a run."""
    if not run.uses_base:
        return bill_of_materials()
    return bill_of_materials(ModelComponent(run.find_base()[0].name, run.base.identity))


def _describe_bill(run: Run) -> dict[str, Any]:
    return stage_bill(run, stage_names(run.config.stages))


def _describe_race(run: Run, race: RaceResult) -> dict[str, Any]:
    return race.describe(list(zip(run.artifacts, run.parts, strict=True)))


def summarise(artifacts: Sequence[Artifact], parts: Sequence[str]) -> list[dict[str, Any]]:
    """Return one entry per step of the recipe; the blocks or arms of one step are added up.

    Steps of one name in several parts of a recipe (the pairs of two `fuzzy` stages) have entries of
    their own, which from the second on name the part: "fuzzy-pairs (fuzzy-2)". seconds and peak
    memory are those of the making, also where a later run found the artifact; `other_versions` has
    the libraries of the making that are not those of the run, of one artifact where several differ.
    """
    stages: dict[tuple[str, str], dict[str, Any]] = {}
    names: set[str] = set()
    for artifact, part in zip(artifacts, parts, strict=True):
        place = artifact.name, part
        if place not in stages:
            label = f"{artifact.name} ({part})" if artifact.name in names else artifact.name
            names.add(artifact.name)
            stages[place] = {
                "stage": label, "steps": 0, "cached": 0, "seconds": 0.0, "peak_memory_mb": 0.0,
                "llm": {"calls": 0, "tokens": 0, "cost": 0.0}, "keys": [],
                "other_versions": {},
            }  # fmt: skip
        entry = stages[place]
        entry["steps"] += 1
        entry["cached"] += artifact.cached
        entry["seconds"] = round(entry["seconds"] + artifact.seconds, 3)
        entry["peak_memory_mb"] = max(entry["peak_memory_mb"], artifact.peak_memory_mb)
        entry["keys"].append(artifact.key)
        entry["other_versions"] |= changed_versions(artifact.versions)
        for name in ("rows_in", "rows_out", "tokens", "not_comparable"):
            if name in artifact.counts:
                entry[name] = entry.get(name, 0) + artifact.counts[name]
        for name in (
            "rejected", "dropped", "fates", "not_selected", "passed_over", "unscored", "methods",
            "stopped", "failed", "added", "merged",
        ):  # fmt: skip
            if name in artifact.counts:
                entry[name] = artifact.counts[name]
        for name, spent in artifact.counts.get("llm", {}).items():
            entry["llm"][name] = entry["llm"].get(name, 0) + spent
    return list(stages.values())
