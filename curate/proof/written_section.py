"""What base model, selection and a random draw wrote for some eval examples, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from curate.core.numerals import counted, measure, number
from curate.core.runrecord import RunTables
from curate.core.section import (
    Inline,
    Item,
    PassagePart,
    RowList,
    RowPart,
    Section,
    Strong,
    note,
    paragraph,
)
from curate.proof.metrics import METRICS
from curate.proof.proof_labels import arm_label, metric_label
from curate.proof.written import MOST_TOKENS, ROOM

TABLE, ANCHOR = "evidence/proof-written", "written"
SHOWN = 4
NO_ROOM = "Nothing was written: its prompt leaves no room in the model's context."


@dataclass(frozen=True)
class WrittenSummary:
    """What proof.json says of the written answers.

    metrics: of the proof, the deciding one first. changes: for each other arm on how many examples the
    selection is better, worse and the same. cut: how many answers met the limit, by arm.
    """

    metrics: tuple[str, ...]
    changes: Mapping[str, Mapping[str, int]]
    cut: Mapping[str, int]
    longest: int


@dataclass(frozen=True)
class WrittenAnswer:
    """What an arm wrote to an eval example, None where nothing could be, and its metrics."""

    arm: str
    text: str | None
    tokens: int
    cut: bool
    metrics: Mapping[str, float | None]


def written_section(run: RunTables, summary: WrittenSummary) -> Section:
    """Return all written examples in the order of the eval set, with the answers of each arm."""
    table = run.table(TABLE).collect()
    metrics = [name for name in summary.metrics if name in table.columns]
    examples = tuple(
        _example(str(eval_id), list(_answers(lines, metrics)))
        for (eval_id,), lines in table.group_by("eval_id", maintain_order=True)
    )
    lead = paragraph(_lead(len(examples), summary))
    blocks = (lead, note(_limits(summary)), RowList(examples, SHOWN))
    return Section(ANCHOR, "What the models wrote", blocks)


def _answers(lines: pl.DataFrame, metrics: Sequence[str]) -> Iterator[WrittenAnswer]:
    for line in lines.to_dicts():
        values = {name: line[name] for name in metrics}
        yield WrittenAnswer(line["arm"], line["text"], line["tokens"], line["cut"], values)


def _lead(examples: int, summary: WrittenSummary) -> str:
    against = "; ".join(
        f"better than {arm_label(arm).lower()} on {number(change['better'])}, worse on "
        f"{number(change['worse'])}"
        + (f", the same on {number(change['same'])}" if change["same"] else "")
        for arm, change in summary.changes.items()
    )
    return (
        f"Greedy answers to {counted(examples, 'eval example')}, drawn by seed: of the base model, of "
        "the selection's first fine-tune and of that of the first random draw. By "
        f"{metric_label(summary.metrics[0]).lower()} the selection is {against}. They are single "
        "fine-tunes on few examples: an illustration, no verdict."
    )


def _limits(summary: WrittenSummary) -> str:
    cut = ", ".join(f"{arm_label(a).lower()} {number(n)}" for a, n in summary.cut.items() if n)
    longest = f"(the longest has {number(summary.longest)} tokens)"
    return (
        f"Each token is the likeliest one, to the end of the turn or to a limit of {ROOM:g} times the "
        f"longest reference, {MOST_TOKENS} tokens at most. "
        f"{f'Cut there: {cut} {longest}.' if cut else 'None was cut.'} The loss is that of the "
        "reference, not of what was written."
    )


def _example(eval_id: str, answers: Sequence[WrittenAnswer]) -> Item:
    own = next(answer for answer in answers if answer.arm == "selected")
    parts = (_passage(answer, own) for answer in answers)
    return Item((RowPart(eval_id, "Eval example with its reference answer"), *parts))


def _passage(answer: WrittenAnswer, own: WrittenAnswer) -> PassagePart:
    passages = () if answer.text is None else (("wrote", answer.text),)
    return PassagePart(arm_label(answer.arm), passages, facts=tuple(_facts(answer, own)))


def _facts(answer: WrittenAnswer, own: WrittenAnswer) -> Iterator[Inline | tuple[Inline, ...]]:
    for name, value in answer.metrics.items():
        if value is not None:
            yield f"{metric_label(name).lower()}\u00a0{measure(value)}"
    if answer.text is None:
        yield NO_ROOM
        return
    yield f"{number(answer.tokens)} tokens{', cut' if answer.cut else ''}"
    deciding = next(iter(answer.metrics), None)
    if answer is own or deciding is None:
        return
    change = change_of(own.metrics[deciding], answer.metrics[deciding], deciding)
    if change == "same":
        yield "the selection scores the same"
    elif change:
        yield "the selection is ", Strong(change)


def change_of(own: float | None, other: float | None, metric: str) -> str | None:
    """Return what a value is against another one: better, worse, same; None where one is missing."""
    if own is None or other is None:
        return None
    if own == other:
        return "same"
    return "better" if (own < other) == METRICS[metric].lower_is_better else "worse"
