"""Sections of the page that are no stage's: made and rehearsed rows, answers, what tuning taught."""

import orjson

from curate.core.methods import read_method
from curate.core.section import Section
from curate.generate.generation import Generator
from curate.generate.generation_section import generation_sections
from curate.generate.outcome import CANDIDATES, outcomes_of, read_bill, writer_of
from curate.proof import novelty_section as novelty
from curate.proof import rehearsal_section as rehearsal
from curate.proof.rehearsed_arms import read_rehearsed
from curate.proof.written_section import TABLE, WrittenSummary, written_section
from curate.report.wording import stage_label
from curate.runs.folder import RunFolder, inside


def generated_sections(run: RunFolder) -> tuple[Section, ...]:
    """Return what the generation methods say of a run, none where it made no rows."""
    bill = read_bill(run.path)
    if bill is None or not run.has(CANDIDATES):
        return ()
    config = run.manifest["config"]
    methods = {p["method"]: read_method(Generator, p) for p in config["generate"]["methods"]}
    outcomes = outcomes_of(bill, list(methods))
    own = bill.get("own_engines", [])
    return generation_sections(run, writer_of(bill, config), outcomes, methods, stage_label, own)


def written_sections(run: RunFolder) -> tuple[Section, ...]:
    """Return what models wrote to eval examples, nothing where that was not asked for."""
    if not run.has(TABLE):
        return ()
    proof = orjson.loads(inside(run.path, "proof.json").read_bytes())
    metrics = dict.fromkeys([proof["metric"], *(c["metric"] for c in proof["comparisons"])])
    counts = proof["written"]
    longest = counts["longest"] or 0
    summary = WrittenSummary(tuple(metrics), counts["selected_against"], counts["cut"], longest)
    return (written_section(run, summary),)


def taught_sections(run: RunFolder) -> tuple[Section, ...]:
    """Return what tuning taught, nothing where that was not asked for."""
    if not run.has(novelty.TEXTS):
        return ()
    iterative = bool(run.manifest["config"]["prove"]["novelty"]["iterative"])
    return (novelty.novelty_section(run, iterative=iterative),)


def rehearsed_sections(run: RunFolder) -> tuple[Section, ...]:
    """Return which rows of earlier training were mixed in, nothing where that was not asked for."""
    if not run.has(rehearsal.TABLE):
        return ()
    proof = inside(run.path, "proof.json")
    watch = orjson.loads(proof.read_bytes()).get("watch", []) if proof.is_file() else []
    verdicts = [(line["source"], one) for line in watch for one in read_rehearsed(line)]
    return (rehearsal.rehearsal_section(run, verdicts),)
