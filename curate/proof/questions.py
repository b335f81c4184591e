"""What each eval example can be measured by beside its whole response: an answer span, and options.

Multiple choice needs options: a field of the record has them (`choices`, `options`, `endings`,
`answer_choices`), the prompt lists them (curate.answers.options), or the target and eval examples
together have few distinct short responses, most of them more than once. They are read from the texts
alone, before anything is trained.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import polars as pl

from curate.answers.location import answer_range, is_short
from curate.answers.options import AnswerOptions, few_answers, field_choices, prompt_choices
from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.core.rows import Message, response_text
from curate.pool.layouts.unread import OPTION_FIELDS
from curate.proof.metrics import METRICS, Metric

VERSION = 1
FIELDS = (*OPTION_FIELDS, "answer_choices")
SCHEMA: dict[str, Any] = {
    "eval_id": pl.String,
    "answer": pl.Boolean,
    "options": pl.List(pl.String),
    "gold": pl.Int64,
    "origin": pl.String,
}
ORIGINS = {
    "field": "a field of the record",
    "prompt": "a list in the prompt",
    "answers": "the few answers of the task",
}


@cached(version=VERSION, name="proof-questions")
def questions(eval: Table, target: Table | None = None) -> Counted[pl.DataFrame]:
    """Return the answer spans and options of eval examples (columns: see SCHEMA), and count them."""
    table = find_questions(eval.read(), None if target is None else target.read())
    return Counted(table, count_questions(table))


def find_questions(eval_rows: pl.DataFrame, target: pl.DataFrame | None) -> pl.DataFrame:
    """Return the answer spans and options of eval examples (columns: see SCHEMA)."""
    examples = eval_rows.select("row_id", "messages", "meta").rows()
    others = [] if target is None else target["messages"].to_list()
    task = _few_answers([*(messages for _, messages, _ in examples), *others])
    rows = []
    for row_id, messages, meta in examples:
        origin, choices = _find_choices(messages, meta, task)
        has_answer = answer_range(response_text(messages)) is not None
        options, gold = (list(choices.options), choices.gold) if choices else (None, None)
        rows.append((row_id, has_answer, options, gold, origin))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _few_answers(rows: Sequence[Sequence[Message]]) -> tuple[str, ...]:
    responses = [response_text(messages) for messages in rows]
    return few_answers(responses) if all(map(is_short, responses)) else ()


def _find_choices(
    messages: Sequence[Message], meta: str, task: Sequence[str]
) -> tuple[str | None, AnswerOptions | None]:
    """Return where an example's options come from, and the options; None if it has none."""
    response, record = response_text(messages), orjson.loads(meta)
    for field in FIELDS:
        if choices := field_choices(record.get(field), response):
            return "field", choices
    prompt = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    if choices := prompt_choices(prompt, response):
        return "prompt", choices
    if task:
        return "answers", AnswerOptions(tuple(task), task.index(response.strip()))
    return None, None


def count_questions(table: pl.DataFrame) -> dict[str, Any]:
    """Return how many examples there are, how many have an answer span, and options from where."""
    origins = table["origin"].drop_nulls().value_counts().rows()
    return {
        "examples": table.height,
        "answers": int(table["answer"].sum()),
        "options": table.height - table["options"].null_count(),
        "origins": dict(sorted(origins)),
    }


def check_measurable(
    metric: Metric, counts: Mapping[str, Any], key: str = "prove.metric", rows: str = "target.eval"
) -> None:
    """Check that the metric that is to decide can be measured on a set of examples.

    Args:
        metric: that one.
        counts: of the set, as `count_questions` gives them.
        key: of the metric in the recipe, for errors.
        rows: the set, for errors.

    Raises:
        UserError: no example has what it needs.
    """
    if metric.needs is None or counts[metric.needs]:
        return
    why = {
        "options": "has options (a field `choices`, a list in the prompt with the reference among its "
        "options, or few distinct short responses in all)",
        "answers": 'names an answer apart from other words ("#### 42", "the answer is 42", a final '
        "number or letter, a short response)",
    }[metric.needs]
    raise UserError(
        f"{key}: {metric.name} cannot be measured: none of the {counts['examples']:,} examples "
        f"of {rows} {why}; choose another metric, such as loss"
    )


def question_sentences(counts: Mapping[str, Any]) -> list[str]:
    """Return what is told of answer spans and options before anything is trained."""
    sentences = []
    if counts["answers"]:
        sentences.append(
            f"{counts['answers']:,} of {counts['examples']:,} eval examples have an answer apart from "
            "the words around it, whose loss is measured by itself"
        )
    if counts["options"]:
        origins = " and ".join(ORIGINS[origin] for origin in counts["origins"])
        sentences.append(
            f"{counts['options']:,} of {counts['examples']:,} eval examples have options, from "
            f"{origins}: multiple choice is measured by log-likelihood"
        )
    return sentences


def describe_questions(counts: Mapping[str, Any], results: pl.DataFrame) -> dict[str, Any]:
    """Return the counts, and how many examples each metric could be measured on.

    Args:
        counts: as `count_questions` gives them.
        results: of all models, examples with a response token only.
    """
    base = results.filter(arm="base")
    names = ["examples", "answers", "options", "origins"]
    return {
        **{name: counts[name] for name in names},
        "measured": {name: int(base[name].count()) for name in METRICS if name in base.columns},
    }
