"""What a card says of a run's proof: the verdict with its intervals, watch sets, leaks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

import orjson

from curate.core.escape import markdown
from curate.core.methods import read_method
from curate.core.stage import Stage, with_method
from curate.proof.contamination import leaks_clause
from curate.proof.watch import watched_sentences
from curate.runs.folder import RunFolder, inside
from curate.runs.funnel import Funnel

CONTROLS = {"random_rows": "as many random rows", "random_tokens": "about as many random tokens"}
LEAKING_SETS = {"eval", "protected", "watch"}
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
    """Return a sentence of our own as Markdown, in which names of users mark up and refer to nothing."""
    line = " ".join(text.split()).replace("<", "&lt;").replace("`", "'")
    line = re.sub(r"[\\\[|*]", r"\\\g<0>", line)
    # Mentions, issues and links are found even where a backslash stands before them.
    return re.sub(r"@|#|GH-|:(?=//)|www(?=\.)", "\\g<0>&#8203;", line, flags=re.IGNORECASE)


def leak_lines(run: RunFolder, proof: ProofFigures | None, funnel: Funnel | None) -> Iterator[str]:
    """Yield what stages and the proof found of eval prompts in these rows."""
    stages = (read_method(Stage, with_method(p)) for p in run.manifest["config"].get("stages", ()))
    guards = [stage for stage in stages if stage and stage.keeps_out == "eval prompts"]
    given = {role for role, name in run.manifest.get("artifacts", {}).items() if name}
    sets = ", ".join(sorted(given & LEAKING_SETS)) or "no set"
    if guards and funnel is not None:
        dropped = sum(s.removed for s in funnel.steps if s.stage.partition("-")[0] == "leaks")
        yield (
            f"The stage `leaks` dropped {dropped:,} rows that hold prompts of these sets: {sets}."
            if dropped
            else f"The stage `leaks` found no row that holds a prompt of these sets: {sets}."
        )
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
