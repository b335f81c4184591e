"""What base model, selection and a random draw wrote for some eval examples, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from curate.answers.checkers import AnswerVerdict, check_answer
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
from curate.proof.metrics import GENERATED, METRICS
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
    """What an arm wrote to an eval example, None where nothing could be, and its metrics.

    right: by the metric of written answers where the proof has it, else whether it is the reference but
    for case, spaces and a full stop; None where that cannot be said.
    """

    arm: str
    text: str | None
    tokens: int
    cut: bool
    metrics: Mapping[str, float | None]
    right: bool | None = None


@dataclass(frozen=True)
class WrittenExample:
    """An eval example with the answers of each arm."""

    eval_id: str
    answers: tuple[WrittenAnswer, ...]

    @property
    def own(self) -> WrittenAnswer:
        """Return the selection's answer."""
        return next(answer for answer in self.answers if answer.arm == "selected")

    @property
    def outcome(self) -> tuple[bool | str | None, ...]:
        """Return which arms are right, and whether the selection is better than the others."""
        deciding = next(iter(self.own.metrics), None)
        changes = (
            change_of(self.own.metrics[deciding], answer.metrics[deciding], deciding)
            for answer in self.answers
            if deciding and answer is not self.own
        )
        return (*(answer.right for answer in self.answers), *changes)

    @property
    def differs(self) -> bool:
        """Return whether some arms are right and others not."""
        return len({answer.right for answer in self.answers}) > 1


def written_section(run: RunTables, summary: WrittenSummary) -> Section:
    """Return all written examples: what can come out of one takes its turn, in the eval set's order."""
    table = run.table(TABLE).collect()
    metrics = [name for name in summary.metrics if name in table.columns]
    references = _references(run, table)
    examples = [
        WrittenExample(str(eval_id), tuple(_answers(lines, metrics, references.get(str(eval_id)))))
        for (eval_id,), lines in table.group_by("eval_id", maintain_order=True)
    ]
    by_value = GENERATED.name in table.columns
    lead = paragraph(_lead(len(examples), summary), *_rights(examples, by_value=by_value))
    items = tuple(_example(one, by_value=by_value) for one in in_turns(examples))
    return Section(
        ANCHOR, "What the models wrote", (lead, note(_limits(summary)), RowList(items, SHOWN))
    )


def in_turns(examples: Sequence[WrittenExample]) -> list[WrittenExample]:
    """Return examples so that each outcome takes its turn, first those in which the arms differ."""
    groups: dict[tuple[bool | str | None, ...], list[WrittenExample]] = {}
    for example in examples:
        groups.setdefault(example.outcome, []).append(example)
    order = sorted(groups.values(), key=lambda group: (not group[0].differs, -len(group)))
    turns = ((place, at, one) for at, group in enumerate(order) for place, one in enumerate(group))
    return [one for _, _, one in sorted(turns, key=lambda turn: turn[:2])]


def _references(run: RunTables, table: pl.DataFrame) -> dict[str, str]:
    """Return the last turn of each example's row, nothing where the store has lost the eval set."""
    rows = run.rows("eval")
    if rows is None:
        return {}
    ids = table.lazy().select(row_id="eval_id").unique()
    text = pl.col("messages").list.last().struct.field("content")
    return dict(
        rows.join(ids, on="row_id", how="semi").select("row_id", text).collect().iter_rows()
    )


def _answers(
    lines: pl.DataFrame, metrics: Sequence[str], reference: str | None
) -> Iterator[WrittenAnswer]:
    for line in lines.to_dicts():
        values = {name: line[name] for name in metrics}
        right = (
            _is_one(line[GENERATED.name])
            if GENERATED.name in line
            else _is_reference(line["text"], reference)
        )
        yield WrittenAnswer(line["arm"], line["text"], line["tokens"], line["cut"], values, right)


def _is_one(value: float | None) -> bool | None:
    return None if value is None else value == 1


def _is_reference(text: str | None, reference: str | None) -> bool | None:
    if text is None or reference is None:
        return None
    return check_answer("exact", text, reference) == AnswerVerdict.CORRECT


def _rights(examples: Sequence[WrittenExample], *, by_value: bool) -> Iterator[Inline]:
    """Yield how many answers of each arm are right."""
    judged = [one for one in examples if all(a.right is not None for a in one.answers)]
    if not judged:
        return
    counts = "; ".join(
        f"{arm_label(arm).lower()} {number(sum(one.answers[at].right is True for one in judged))}"
        for at, arm in enumerate(a.arm for a in judged[0].answers)
    )
    how = "Right by value" if by_value else "As the reference, but for case, spaces and a full stop"
    yield f" {how}, of {number(len(judged))}: "
    yield Strong(counts)
    yield ". Of what can come out, each takes its turn below, first where the models differ."


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


def _example(example: WrittenExample, *, by_value: bool) -> Item:
    parts = (_passage(answer, example.own, by_value=by_value) for answer in example.answers)
    return Item((RowPart(example.eval_id, "Eval example with its reference answer"), *parts))


def _passage(answer: WrittenAnswer, own: WrittenAnswer, *, by_value: bool) -> PassagePart:
    passages = () if answer.text is None else (("wrote", answer.text),)
    facts = (*_judged(answer, by_value=by_value), *_facts(answer, own))
    return PassagePart(arm_label(answer.arm), passages, facts=facts)


def _judged(answer: WrittenAnswer, *, by_value: bool) -> Iterator[Inline]:
    if answer.right:
        yield Strong("right" if by_value else "as the reference")
    elif answer.right is False:
        yield "wrong" if by_value else "not as the reference"


def _facts(answer: WrittenAnswer, own: WrittenAnswer) -> Iterator[Inline | tuple[Inline, ...]]:
    # The one that decides; the table has them all.
    for name, value in list(answer.metrics.items())[:1]:
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
