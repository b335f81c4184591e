"""What a run says at its end: the funnel, what to look at, the verdict, and where everything lies."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict

from curate.pipeline.run import RunResult
from curate.proof.watch import watched_sentences
from curate.report.funneltext import funnel_lines
from curate.runs.dropwarnings import drop_warnings
from curate.runs.folder import open_run
from curate.runs.funnel import gather_funnel

NO_PROOF = "no proof was asked for"


def closing_lines(result: RunResult, width: int | None = None) -> Iterator[str]:
    """Yield the lines for a terminal of a width, to which the funnel is cut, or for a file."""
    run = open_run(result.folder)
    funnel = gather_funnel(run)
    yield ""
    yield from funnel_lines(funnel, width)
    yield ""
    for warning in drop_warnings(run, funnel):
        yield f"warning  {warning.sentence}"
        yield from (f"         {command}" for command in warning.commands)
    yield from (f"made     {line}" for line in result.generated)
    yield from (f"compare  {line}" for line in result.compared)
    yield f"verdict  {_sentence(result)}"
    yield from (f"watch    {sentence}" for sentence in watched_sentences(result.proof or {}))
    yield from (f"stage    {line}" for line in result.ablated)
    yield from (f"marks    {line}" for line in result.marked)
    yield f"report   {result.report}"
    yield f"export   {result.folder / 'export'}"
    yield f"look     curate view {shlex.quote(str(result.folder))}"
    yield f"steps    {_reuse(result)}"


def result_record(result: RunResult) -> dict[str, object]:
    """Return the result by names, for JSON."""
    run = open_run(result.folder)
    funnel, proof = gather_funnel(run), result.proof or {}
    return {
        "run": str(result.folder),
        "report": str(result.report),
        "export": str(result.folder / "export"),
        "verdict": proof.get("verdict"),
        "sentence": _sentence(result),
        "watch": watched_sentences(proof),
        "stages": result.ablated,
        "marks": result.marked,
        "compared": result.compared,
        "generated": result.generated,
        "warnings": [warning.sentence for warning in drop_warnings(run, funnel)],
        "selected": funnel.selected,
        "funnel": [{**asdict(step), "left": dict(step.left)} for step in funnel.steps],
    }


def _sentence(result: RunResult) -> str:
    return str(result.proof["sentence"]) if result.proof else NO_PROOF


def _reuse(result: RunResult) -> str:
    """Return how many steps there were, and how many of their results were stored before."""
    stages = result.manifest["stages"]
    steps, reused = (sum(stage[name] for stage in stages) for name in ("steps", "cached"))
    return f"{steps:,}, {reused:,} of them reused"
