"""The files of a run folder, and from which artifact each comes."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from curate.clean.nearest_drops import find_drops
from curate.core.calls import Table
from curate.core.preferences import pairs_of
from curate.core.store import Artifact
from curate.core.tables import read_table, scan_table
from curate.pipeline.run import Run
from curate.proof.keep import ADAPTER_FOLDER
from curate.selectors.languages import language_warning, read_shares
from curate.selectors.selection import SelectionResult

SELECTED, PAIRS = "selected.parquet", "pairs.parquet"


@dataclass(frozen=True)
class FinalArtifacts:
    """The last artifacts of a run (ledger, proof, export), which nothing but its folder needs."""

    ledger: Table
    proof: Artifact | None
    export: Artifact


def drop_sentences(run: Run) -> list[str]:
    """Return which stages drop many of the rows nearest to the target, in words."""
    if "nearest" not in run.findings:
        return []
    nearest = read_table(run.findings["nearest"].file("nearest.parquet"))
    tables = {name: verdicts.scan() for name, verdicts in run.evidence.items()}
    return [drops.sentence for drops in find_drops(nearest, tables)]


def language_sentences(run: Run) -> list[str]:
    """Return that the selection hardly has the target's language, if so."""
    if "languages" not in run.findings:
        return []
    table = read_table(run.findings["languages"].file("languages.parquet"))
    sentence = language_warning(read_shares(table))
    return [sentence] if sentence else []


def run_files(run: Run, results: FinalArtifacts) -> dict[str, Path]:
    """Return the files of the run folder but report and manifest: where each comes from, by place."""
    own = next(iter(run.selections.values()))
    files = {
        "ledger.parquet": results.ledger.path,
        SELECTED: own.selection.file("selected.parquet"),
        "rejects.parquet": run.rows.artifact.file("rejects.parquet"),
        "evidence/select.parquet": own.ranking.path,
        "evidence/scores.parquet": own.scores.path,
        "evidence/tokens.parquet": run.tokens.path,
    }
    own_tables = own.scores.artifact
    for file in own_tables.files:
        if file not in (own.scores.path.name, "meta.json"):
            files[f"evidence/scores-{file}"] = own_tables.file(file)
    if "imitations.parquet" in run.tokens.artifact.files:
        files["evidence/imitations.parquet"] = run.tokens.artifact.file("imitations.parquet")
    files |= _evidence_files(run) | _compared_files(run, own)
    if results.proof is not None:
        files |= {_proof_place(file): results.proof.file(file) for file in results.proof.files}
    files |= {f"export/{file}": results.export.file(file) for file in results.export.files}
    if run.generated is not None:
        files |= {f"generated/{file}": run.generated.file(file) for file in run.generated.files}
    return files


def _proof_place(file: str) -> str:
    """Return where a file of the proof goes in the run folder; a kept adapter is exported."""
    if file.startswith(f"{ADAPTER_FOLDER}/"):
        return f"export/{file}"
    return file if file == "proof.json" else f"evidence/proof-{file}"


def _evidence_files(run: Run) -> dict[str, Path]:
    """Return verdicts, tables beside them, and what the verdicts were made from, by place."""
    files = {}
    for name, verdicts in run.evidence.items():
        artifact = verdicts.artifact
        for file in artifact.files:
            target = name if file == "evidence.parquet" else f"{name}-{Path(file).stem}"
            files[f"evidence/{target}.parquet"] = artifact.file(file)
    for name, parts in run.prepared.items():
        for part, table in parts.items():
            files[f"evidence/{name}-{part}.parquet"] = table.path
    return files


def _compared_files(run: Run, own: SelectionResult) -> dict[str, Path]:
    """Return rankings and scores of compared methods, and what was found of all selections."""
    files = {}
    for name, chosen in [*run.selections.items()][1:]:
        files[f"evidence/compare/{name}.parquet"] = chosen.ranking.path
        files[f"evidence/compare/{name}-scores.parquet"] = chosen.scores.path
        if chosen.pairs is not None and chosen.pairs != own.pairs:
            files[f"evidence/compare/{name}-pairs.parquet"] = chosen.pairs.path
    if run.race is not None:
        files |= run.race.files
    for finding, artifact in run.findings.items():
        for file in artifact.files:
            target = file if file == f"{finding}.parquet" else f"{finding}-{file}"
            files[f"evidence/{target}"] = artifact.file(file)
    return files


def write_pairs(folder: Path) -> list[str]:
    """Write the table of pairs beside the selected rows; return its name, none if no row is a pair."""
    pairs = pairs_of(scan_table(folder / SELECTED)).collect()
    if not pairs.height:
        return []
    pairs.write_parquet(folder / PAIRS)
    return [PAIRS]


def copy_file(source: Path, target: Path) -> None:
    """Copy an artifact's file to its place in the run folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
