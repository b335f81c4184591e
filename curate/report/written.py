"""What base model, selection and a random draw wrote for some eval examples, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from curate.proof.metrics import METRICS
from curate.report.texts import RowText, TextView, excerpt, show_row, whole
from curate.runs.folder import RunFolder, inside

TABLE = "evidence/proof-written"


@dataclass(frozen=True)
class WrittenAnswer:
    """An arm's text, None where nothing could be written, and its metrics, the deciding one first.

    change: what the selection's answer is against this one by the deciding metric: better, worse, same;
    None for its own.
    """

    arm: str
    text: TextView | None
    rest: TextView | None
    tokens: int
    cut: bool
    metrics: tuple[tuple[str, float], ...]
    change: str | None


@dataclass(frozen=True)
class WrittenExample:
    """An eval example with the answers of all arms; `row` is None if the store no longer has it."""

    eval_id: str
    row: RowText | None
    answers: tuple[WrittenAnswer, ...]


@dataclass(frozen=True)
class WrittenTexts:
    """All written examples in the order of the eval set, and how many answers were cut, by arm.

    changes: for each other arm on how many examples the selection is better, worse and the same.
    """

    metric: str
    examples: tuple[WrittenExample, ...]
    changes: Mapping[str, Mapping[str, int]]
    cut: Mapping[str, int]
    longest: int


def gather_written(run: RunFolder) -> WrittenTexts | None:
    """Return what models wrote, None where nobody asked."""
    if not run.has(TABLE):
        return None
    proof = orjson.loads(inside(run.path, "proof.json").read_bytes())
    table = run.table(TABLE).collect()
    metric, summary = proof["metric"], proof["written"]
    scored = [metric, *(c["metric"] for c in proof["comparisons"])]
    names = [name for name in dict.fromkeys(scored) if name in table.columns]
    return WrittenTexts(
        metric=metric,
        examples=tuple(
            _example(run, str(eval_id), lines.to_dicts(), names)
            for (eval_id,), lines in table.group_by("eval_id", maintain_order=True)
        ),
        changes=summary["selected_against"],
        cut=summary["cut"],
        longest=summary["longest"] or 0,
    )


def _example(
    run: RunFolder, eval_id: str, lines: list[dict[str, Any]], names: list[str]
) -> WrittenExample:
    messages = run.messages("eval", eval_id)
    own = next(line for line in lines if line["arm"] == "selected")
    return WrittenExample(
        eval_id,
        show_row(messages) if messages else None,
        tuple(_answer(line, own, names) for line in lines),
    )


def _answer(line: Mapping[str, Any], own: Mapping[str, Any], names: list[str]) -> WrittenAnswer:
    text = None if line["text"] is None else excerpt(line["text"])
    return WrittenAnswer(
        arm=line["arm"],
        text=text,
        rest=whole(line["text"]) if text is not None and not text.whole else None,
        tokens=line["tokens"],
        cut=line["cut"],
        metrics=tuple((name, line[name]) for name in names if line[name] is not None),
        change=None if line is own else _change(own.get(names[0]), line.get(names[0]), names[0]),
    )


def _change(own: float | None, other: float | None, metric: str) -> str | None:
    """Return what a value is against another one; None where one of them is missing."""
    if own is None or other is None:
        return None
    if own == other:
        return "same"
    return "better" if (own < other) == METRICS[metric].lower_is_better else "worse"
