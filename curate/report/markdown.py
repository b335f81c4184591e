"""A finished run in Markdown, for a pull request: the verdict first, then what it rests on.

    curate report RUN --md | gh pr comment --body-file -

Words of other people (sources, file names, warnings) stand as code unless they are mere words, so that
they are no markup, mention nobody and refer to nothing.
"""

from collections.abc import Iterable, Iterator, Sequence

from curate.core.escape import code, markdown
from curate.core.numerals import counted, number, percent
from curate.core.reasons import explain_reason
from curate.report.data import Mix, gather_mix
from curate.report.losses import Losses, gather_losses
from curate.report.run_files import PAGE, file_links
from curate.report.wording import VERDICTS, method_label
from curate.runs.card import funnel_lines
from curate.runs.dropwarnings import drop_warnings
from curate.runs.folder import RunFolder
from curate.runs.funnel import Funnel, gather_funnel
from curate.runs.verdict_text import ProofFigures, leak_lines, read_verdict, verdict_lines

# What GitHub takes as a comment.
MOST_CHARS = 65_536
MOST_LINES = 20
CUT = "*Cut: a comment on GitHub has room for no more. `curate report RUN` has all of it.*"


def report_markdown(run: RunFolder) -> str:
    """Return what a finished run says of itself, short enough for a comment on GitHub.

    Raises:
        UserError: a table of the run is missing.
        ValueError: the run's tables contradict each other.
    """
    sections = ["\n".join(section) + "\n" for section in _sections(run)]
    text, left = "", MOST_CHARS - len(CUT) - 2
    for section in sections:
        if len(text) + len(section) > left:
            return f"{text}{CUT}\n"
        text += f"{section}\n"
    return text.rstrip("\n") + "\n"


def _sections(run: RunFolder) -> Iterator[list[str]]:
    """Yield the parts of the text, the most important first."""
    proof, funnel = read_verdict(run), gather_funnel(run)
    yield [
        f"## {_head(proof, funnel)}",
        "",
        _lead(run, funnel),
        "",
        *verdict_lines(proof, own=True),
    ]
    yield ["### Leaks", "", *leak_lines(run, proof, funnel)]
    if warnings := [markdown(one.sentence) for one in drop_warnings(run, funnel)]:
        yield ["### Warnings", "", *_first(f"- {sentence}" for sentence in warnings)]
    yield ["### From records to rows", "", *funnel_lines(funnel)]
    if losses := gather_losses(run):
        yield ["### Dropped rows", "", *_loss_lines(losses)]
    yield ["### Pool and selection", "", *_mix_lines(gather_mix(run))]
    yield ["### Files of the run", "", *_file_lines(run)]


def _head(proof: ProofFigures | None, funnel: Funnel) -> str:
    """Return the verdict, or where nothing was proved what is left and what leaks."""
    if proof is not None:
        return markdown(VERDICTS.get(proof["verdict"], proof["verdict"]))
    leaking = sum(s.removed for s in funnel.steps if s.stage.partition("-")[0] == "leaks")
    leaks = f"; {counted(leaking, 'row holds', 'rows hold')} eval prompts" if leaking else ""
    return f"{number(funnel.kept)} of {counted(funnel.rows, 'row')} kept{leaks}"


def _lead(run: RunFolder, funnel: Funnel) -> str:
    """Return which run it is, and how many rows it selected by which method."""
    joined = f", {counted(funnel.generated, 'row')} made" if funnel.generated else ""
    method, everything = str(run.own_select["method"]), funnel.selected == funnel.kept
    taken = (
        "all of them taken"
        if method == "all" and everything
        else f"{number(funnel.selected)} selected by {markdown(method_label(method))}"
    )
    return (
        f"Run {markdown(str(run.manifest['name']))}: {counted(funnel.records, 'record')} read{joined}, "
        f"{number(funnel.kept)} kept, {taken}."
    )


def _first(lines: Iterable[str]) -> list[str]:
    """Return the first lines of a list, and how many more there are."""
    every = list(lines)
    more = len(every) - MOST_LINES
    return [*every[:MOST_LINES], *([f"- and {number(more)} more"] if more > 0 else [])]


def _loss_lines(losses: Losses) -> Iterator[str]:
    """Yield a table of reasons, and the source that lost most."""
    worst = losses.worst
    if losses.count > 1:
        name = "(no origin)" if worst.name is None else worst.name
        yield (
            f"The {losses.by} that lost the largest share: {markdown(name)}, {number(worst.dropped)} of "
            f"its {counted(worst.rows, 'row')} ({percent(worst.dropped_share)})."
        )
        yield ""
    yield "| stage | reason | rows | share |"
    yield "|---|---|--:|--:|"
    for line in losses.reasons[:MOST_LINES]:
        share = percent(line.rows / losses.all_rows.rows)
        reason = f"{explain_reason(line.reason)} {code(line.reason)}"
        yield f"| {markdown(line.stage)} | {reason} | {number(line.rows)} | {share} |"
    yield from _more(losses.reasons)


def _mix_lines(mix: Mix) -> Iterator[str]:
    """Yield a table of sources, or of origins where there is one source."""
    several = len(mix.sources) > 1
    lines, name = (mix.sources, "source") if several else (mix.origins, "origin")
    yield f"| {name} | pool | selected | share of pool | share of selection |"
    yield "|---|--:|--:|--:|--:|"
    for line in lines[:MOST_LINES]:
        shares = f"{percent(line.pool_share)} | {percent(line.selected_share)}"
        cell = line.source if several else line.origin or "(no origin)"
        yield f"| {markdown(cell)} | {number(line.pool)} | {number(line.selected)} | {shares} |"
    yield from _more(lines)


def _more(lines: Sequence[object]) -> Iterator[str]:
    if len(lines) > MOST_LINES:
        yield ""
        yield f"The first {MOST_LINES} of {number(len(lines))}."


def _file_lines(run: RunFolder) -> Iterator[str]:
    """Yield the files of a run that are there, and what looks into them."""
    yield f"- `{PAGE}`: the report, with every figure and rows to look at"
    yield from (f"- `{file.name}`: {file.words}" for file in file_links(run) if file.words)
    yield "- `curate view RUN` opens every row in the browser, `curate rows RUN` lists them"
