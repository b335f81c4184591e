"""What a card says of a run's proof: the verdict with its intervals, watch sets, leaks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

import orjson

from curate.core.escape import markdown
from curate.proof.contamination import leaks_clause
from curate.proof.watch import watched_sentences
from curate.runs.folder import RunFolder, inside
from curate.runs.funnel import Funnel

CONTROLS = {"random_rows": "as many random rows", "random_tokens": "about as many random tokens"}
NOT_JUDGED = (
    "**Not proved.** These rows are another selection from the evidence of a run. What a proof of that "
    "run says holds for its own selection, and not for these rows."
)


class ComparisonFigures(TypedDict):
    """Of proof.json: the selection against one control, by one metric."""

    control: str
    metric: str
    unit: str
    mean_difference: float
    half: float | None
    estimate: Mapping[str, float]


class LeakFigures(TypedDict):
    """Of proof.json: how many rows and target examples hold an eval prompt."""

    leaking_rows: Mapping[str, int]
    leaking_sets: str


class ProofFigures(TypedDict, total=False):
    """Of proof.json: what a card tells."""

    verdict: str
    sentence: str
    metric: str
    comparisons: Sequence[ComparisonFigures]
    leaks: LeakFigures


def read_verdict(run: RunFolder) -> ProofFigures | None:
    """Return a run's proof.json, None if nothing was proved."""
    path = inside(run.path, "proof.json")
    if not path.is_file():
        return None
    proof: ProofFigures = orjson.loads(path.read_bytes())
    return proof


def verdict_lines(proof: ProofFigures | None, *, own: bool) -> Iterator[str]:
    """Yield the verdict, a table of its comparisons, and the verdicts on watch sets.

    Args:
        proof: of the rows; None if there is none.
        own: whether the rows are a run's own selection.
    """
    if proof is None:
        yield "**Not proved.** No proof was asked for." if own else NOT_JUDGED
        return
    yield f"**Verdict: {markdown(proof['verdict'])}.** {markdown_sentence(proof['sentence'])}"
    rows = [one for one in proof.get("comparisons", ()) if one["metric"] == proof.get("metric")]
    if rows:
        unit = rows[0]["unit"]
        yield from (
            "",
            f"| against | difference ({unit}) | 95 % interval | a random draw stays within |",
        )
        yield "|---|--:|--:|--:|"
    for one in rows:
        estimate, half = one.get("estimate"), one.get("half")
        interval = f"{estimate['low']:+.3g} to {estimate['high']:+.3g}" if estimate else ""
        within = "" if half is None else f"±{half:.3g}"
        name = CONTROLS.get(one["control"], one["control"])
        yield f"| {name} | {one['mean_difference']:+.3g} | {interval} | {within} |"
    watched = watched_sentences(proof)
    if watched:
        yield ""
    yield from (f"- {markdown_sentence(sentence)}" for sentence in watched)


def markdown_sentence(text: str) -> str:
    """Return a sentence of the program's own, in which names of users cannot be mark-up."""
    return text.replace("<", "&lt;").replace("[", "\\[").replace("|", "\\|").replace("`", "'")


def leak_lines(run: RunFolder, proof: ProofFigures | None, funnel: Funnel | None) -> Iterator[str]:
    """Yield what stages and the proof found of eval prompts in these rows."""
    guards = [stage for stage in run.config.stages if stage.keeps_out == "eval prompts"]
    sets = ", ".join(sorted(run.config.example_sets - {"target"})) or "no set"
    if guards and funnel is not None:
        dropped = sum(s.removed for s in funnel.steps if s.stage.partition("-")[0] == "leaks")
        yield f"The stage `leaks` dropped {dropped:,} rows that hold prompts of these sets: {sets}."
    elif guards:
        yield f"The stage `leaks` keeps out rows that hold prompts of these sets: {sets}."
    else:
        yield "No stage looked for eval prompts in the rows."
    if proof is not None and "leaks" in proof:
        hits = proof["leaks"]["leaking_rows"]["arm"]
        if hits:
            yield (
                f"By the proof's own check {markdown_sentence(leaks_clause(proof['leaks']))}: {hits:,} "
                "of the rows that were trained on hold an eval prompt."
            )
        else:
            yield "By the proof's own check no row that was trained on holds an eval prompt."
        if examples := proof["leaks"]["leaking_rows"].get("target"):
            yield f"Of the target examples, {examples:,} hold an eval prompt."
