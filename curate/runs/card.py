"""The card of a run's training files: proof, funnel, sources with licences, leaks, and how to use them.

    # quickstart
    **Verdict: better.** The selection is better than random: loss lower by +0.373 ...
    ## From records to rows, ## Sources, ## Leaks, ## Load, ## Train, ## Reproduce, ## Files

It is Markdown with a head of YAML, as the Hugging Face Hub shows it (README.md of a data set).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.config.recipe import Config
from curate.core.escape import code, markdown
from curate.core.jsontypes import JSON
from curate.core.selector import Selector
from curate.pool.export import rewrite_card
from curate.runs.alternative import Alternative
from curate.runs.card_use import load_lines, reproduce_lines, train_lines
from curate.runs.folder import RunFolder
from curate.runs.funnel import Funnel, FunnelStep, gather_funnel
from curate.runs.licences import licence_head, source_lines
from curate.runs.public_paths import public_path
from curate.runs.rehearsed import exported_rows, rehearsed_count
from curate.runs.verdict_text import leak_lines, read_verdict, verdict_lines
from curate.selectors.race import RaceParams


@dataclass(frozen=True)
class CardSubject:
    """The rows that a card is of.

    rows: source, origin, content_hash, rejected. splits: how many rows each has. recipe: what makes
    them. own: whether they are the run's own selection, which alone a proof has judged. funnel: None
    where the run's counts do not hold for them. rehearsed: rows of earlier training among them.
    """

    rows: pl.DataFrame
    splits: Mapping[str, int]
    recipe: Config
    select: Selector
    funnel: Funnel | None
    own: bool = True
    rehearsed: int = 0


def own_subject(run: RunFolder, splits: Mapping[str, int]) -> CardSubject:
    """Return the run's own selection."""
    rows = exported_rows(run)
    rehearsed = rehearsed_count(run)
    return CardSubject(
        rows, splits, run.config, run.select, gather_funnel(run), rehearsed=rehearsed
    )


def alternative_subject(
    run: RunFolder, alternative: Alternative, rows: pl.DataFrame, splits: Mapping[str, int]
) -> CardSubject:
    """Return another selection than the run's own, which no proof has judged."""
    recipe = alternative.recipe(run, run.config.name)
    select = run.select if isinstance(recipe.select, RaceParams) else recipe.select
    judged_anew = "stages" in alternative.changes
    funnel = None if judged_anew else replaced_selection(gather_funnel(run), alternative.ranking)
    return CardSubject(rows, splits, recipe, select, funnel, own=False)


def write_card(run: RunFolder, out: Path, subject: CardSubject) -> Path:
    """Write the card of training files that were just written; return it.

    Args:
        run: whose evidence the rows were chosen by.
        out: the folder of the training files.
        subject: what they hold.
    """
    head: dict[str, JSON] = {
        "pretty_name": subject.recipe.name,
        **licence_head(subject.recipe, subject.rows),
        "size_categories": [_size_category(subject.rows.height)],
        "task_categories": ["text-generation"],
        "tags": ["instruction-tuning", "curate"],
    }
    return rewrite_card(out, head, "\n".join(_lines(run, out, subject)))


def _lines(run: RunFolder, out: Path, subject: CardSubject) -> Iterator[str]:
    proof = read_verdict(run) if subject.own else None
    yield f"# {markdown(subject.recipe.name)}"
    yield from ("", f"{subject.rows.height:,} instruction rows, {_choice(subject)}", "")
    yield from verdict_lines(proof, own=subject.own)
    if subject.funnel is not None:
        yield from _section("From records to rows", funnel_lines(subject.funnel))
    yield from _section("Sources", source_lines(subject.recipe, subject.rows))
    yield from _section("Leaks", leak_lines(run, proof, subject.funnel))
    yield from _section("Load", load_lines(out, subject.splits, subject.recipe))
    yield from _section("Train", train_lines(out, subject.recipe))
    yield from _section("Reproduce", reproduce_lines(run, subject.recipe, subject.rows))


def _section(title: str, lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    body = list(lines)
    if body:
        yield from ("", f"## {title}", "", *body)


def _choice(subject: CardSubject) -> str:
    """Return how the rows were chosen, in words."""
    stages = ", ".join(stage.method for stage in subject.recipe.stages) or "none"
    select = subject.select
    if select.method == "all" and select.budget.fraction == 1:
        return f"all that were kept by the stages {stages}."
    base = (
        f", base model {code(public_path(subject.recipe.models.base))}"
        if subject.recipe.reads_base
        else ""
    )
    return (
        f"selected with `{select.method}` (budget {select.budget}, seed {subject.recipe.seed}{base}) "
        f"after the stages {stages}{_rehearsal(subject)}."
    )


def _rehearsal(subject: CardSubject) -> str:
    if not subject.rehearsed:
        return ""
    rows = (
        f"{subject.rehearsed:,} of them are rows of earlier training, mixed in against forgetting"
    )
    return f"; {rows}{', without which the verdict is' if subject.recipe.prove else ''}"


def funnel_lines(funnel: Funnel) -> Iterator[str]:
    """Yield a table: how many rows leave at each step and why, and how many remain."""
    yield "| step | leave | remain | why |"
    yield "|---|--:|--:|---|"
    yield f"| records | | {funnel.records:,} | |"
    for step in funnel.steps:
        why = "; ".join(
            f"{markdown(reason.replace('_', ' '))} {count:,}" for reason, count in step.left
        )
        name = {"pool": "reading", "select": "selection"}.get(step.stage, step.stage)
        leave = f"{step.removed:,}" if step.removed else ""
        remarks = [f"{step.added:,} rows made here"] if step.added else []
        if step.stage == "pool" and funnel.generated:
            remarks.append(f"with {funnel.generated:,} rows that models wrote")
        cell = "; ".join(part for part in (why, *remarks) if part)
        yield f"| {markdown(name)} | {leave} | {step.remaining:,} | {cell} |"


def _size_category(rows: int) -> str:
    limits = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
    return next((name for limit, name in limits if rows < limit), "n>1M")


def replaced_selection(funnel: Funnel, ranking: pl.DataFrame) -> Funnel:
    """Return a run's funnel with another selection from the same kept rows as its last step."""
    left = (
        ranking.filter(~pl.col("selected"))
        .group_by("reason")
        .len()
        .sort("len", "reason", descending=[True, False])
    )
    last = FunnelStep("select", tuple(left.iter_rows()), int(ranking["selected"].sum()))
    return Funnel(funnel.records, (*funnel.steps[:-1], last), funnel.generated)
