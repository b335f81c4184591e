"""Metrics of what a model writes: right answers by extraction, refusals, a function of the user's own.

results.parquet     what curate.proof.measure leaves, and columns of the metric: null for examples that
                    were not drawn, whose reference holds nothing of the kind, or without an answer
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import polars as pl
import regex
from pydantic import Field, field_validator, model_validator

from curate.answers.refusals import find_declined
from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.keyed import KeyedRecord
from curate.core.params import Params
from curate.core.rows import prompt_text, response_text
from curate.proof.extraction import HOLDS, Extraction, Kind
from curate.proof.functions import KEY, load_function
from curate.proof.metrics import (
    GENERATED,
    GENERATED_ANNOUNCED,
    REFUSALS,
    UNMATCHED,
    USER_FUNCTION,
    WRITTEN,
    Metric,
    deciding_metric,
)

VERSION = 1
Examples = Annotated[int, Field(ge=2, description="eval examples that every model answers")]


class GenerateMetric(Params):
    """Right answers among those that a model generates: found in the text and compared by value."""

    generate: Kind = Field(description="how the answer is found in a text and compared")
    examples: Examples = 20
    pattern: str | None = Field(
        None,
        description="for regex: its first group, or all of it, is the answer; the last match counts",
        examples=["Answer: (\\d+)"],
    )

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, value: str | None) -> str | None:
        try:
            regex.compile(value or "")
        except regex.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _needs_pattern(self) -> "GenerateMetric":
        if (self.pattern is not None) != (self.generate == "regex"):
            raise ValueError("pattern goes with `generate: regex`, which needs one")
        return self


class FunctionMetric(Params):
    """A Python function's number for every answer that a model generates; more is better."""

    function: str = Field(
        description="FILE.py:NAME or MODULE:NAME; see docs/proof.md",
        examples=["my_metric.py:score"],
    )
    examples: Examples = 20

    @field_validator("function")
    @classmethod
    def _check_function(cls, value: str) -> str:
        if not regex.fullmatch(r"[^:]+:[A-Za-z_]\w*", value):
            raise ValueError("write it as FILE.py:NAME or MODULE:NAME")
        return value


def written_examples(setting: Any) -> int:
    """Return how many examples every model answers under a recipe's `prove.metric`; 0 for most."""
    return int(setting["examples"]) if isinstance(setting, Mapping) else 0


@dataclass(frozen=True)
class WrittenMetric(KeyedRecord):
    """A metric of written answers, identified by its setting and the source of its function.

    setting: the recipe's `prove.metric`, or that of a watch set.
    key: of the setting in the recipe, for errors.
    folder: that a function's file is relative to.
    source: digest of that file, None without a function.
    """

    setting: Mapping[str, JSON]
    key: str
    folder: Path
    source: str | None

    @property
    def identity(self) -> dict[str, Any]:
        """Return what goes into a key."""
        return {"setting": dict(self.setting), "source": self.source}


def written_metric(setting: Mapping[str, JSON], key: str = KEY) -> WrittenMetric:
    """Return a metric of written answers as it is now.

    Args:
        setting: the recipe's `prove.metric`, or that of a watch set.
        key: of the setting in the recipe, for errors.

    Raises:
        UserError: the function of the recipe cannot be loaded.
    """
    has_function = "function" in setting
    source = load_function(str(setting["function"]), key=key).digest if has_function else None
    return WrittenMetric(setting, key, Path.cwd(), source)


@cached(version=VERSION, name="scored")
def results(
    results: Table, written: Table, eval: Table, metric: WrittenMetric
) -> Counted[pl.DataFrame]:
    """Return what a model reaches on the eval set, with the columns of a metric of what it wrote.

    Raises:
        UserError: no drawn reference holds what is compared, or the user's function fails.
    """
    texts = written.read().drop_nulls("text").select("eval_id", "text")
    answers = texts.join(
        eval.read(), left_on="eval_id", right_on="row_id", maintain_order="left"
    ).rename({"eval_id": "row_id"})
    kind = next(key for key in WRITTEN if key in metric.setting)
    scores = SCORES[kind](answers, metric)
    table = results.read().join(scores, on="eval_id", how="left", maintain_order="left")
    return Counted(table, {"rows_in": texts.height, "rows_out": scores.height})


def _by_function(answers: pl.DataFrame, metric: WrittenMetric) -> pl.DataFrame:
    function = load_function(str(metric.setting["function"]), metric.folder, metric.key)
    lines = []
    for row in answers.to_dicts():
        text = row.pop("text")
        value = function.score(row["row_id"], prompt_text(row["messages"]), text, row)
        lines.append({"eval_id": row["row_id"], USER_FUNCTION.column: value})
    return pl.DataFrame(lines, schema={"eval_id": pl.String, USER_FUNCTION.column: pl.Float64})


def _extraction(setting: Mapping[str, JSON]) -> Extraction:
    kind, pattern = setting["generate"], setting["pattern"]
    return Extraction(cast(Kind, kind), None if pattern is None else str(pattern))


def _by_extraction(answers: pl.DataFrame, metric: WrittenMetric) -> pl.DataFrame:
    extraction = _extraction(metric.setting)
    metrics = [
        GENERATED,
        UNMATCHED,
        *([GENERATED_ANNOUNCED] if extraction.kind == "number" else []),
    ]
    lines = []
    for row in answers.iter_rows(named=True):
        prompt = prompt_text(row["messages"])
        gold = extraction.find_gold(prompt, response_text(row["messages"]))
        if gold is None:
            continue
        finding = extraction.check(prompt, row["text"], gold)
        values = {
            GENERATED.column: finding.right,
            UNMATCHED.column: not finding.matched,
            GENERATED_ANNOUNCED.column: finding.announced,
        }
        lines.append({"eval_id": row["row_id"], **{m.column: values[m.column] for m in metrics}})
    if not lines:
        raise _without_gold(extraction.kind, answers.height, metric.key)
    columns = {m.column: pl.Boolean for m in metrics}
    return pl.DataFrame(lines, schema={"eval_id": pl.String, **columns})


def _by_refusal(answers: pl.DataFrame, metric: WrittenMetric) -> pl.DataFrame:
    prompts = [prompt_text(messages) for messages in answers["messages"]]
    texts = pl.DataFrame(
        {"prompt": prompts, "response": answers["text"]}, schema_overrides={"prompt": pl.String}
    )
    refused = find_declined(texts).is_not_null()
    return answers.select(eval_id="row_id").with_columns(refused.alias(REFUSALS.column))


SCORES = {"generate": _by_extraction, "function": _by_function, "refusal": _by_refusal}


def check_metric(setting: Any, drawn: pl.DataFrame, key: str = KEY) -> str:
    """Return what can be said of a metric of written answers before anything runs; "" of others.

    Args:
        setting: the recipe's `prove.metric`, or that of a watch set.
        drawn: the examples that are to be answered.
        key: of the setting in the recipe, for errors.

    Raises:
        UserError: the function cannot be loaded, or no reference holds what is compared.
    """
    if not isinstance(setting, Mapping):
        return ""
    if "function" in setting:
        load_function(setting["function"], key=key)
        return f"{drawn.height} answers are scored by {setting['function']}"
    if "refusal" in setting:
        return f"{drawn.height} answers are read for refusals"
    extraction = _extraction(setting)
    rows = drawn["messages"].to_list()
    golds = [extraction.find_gold(prompt_text(row), response_text(row)) for row in rows]
    count = sum(gold is not None for gold in golds)
    if not count:
        raise _without_gold(extraction.kind, drawn.height, key)
    return (
        f"{count} of {drawn.height} references have {HOLDS[extraction.kind]}: no difference below "
        f"{1 / count:.3f} can show, and none at all where the base model solves none, which the log "
        "says before anything is tuned"
    )


def _without_gold(kind: Kind, drawn: int, key: str) -> UserError:
    return UserError(
        f"{key}.generate: none of the {drawn} examples that were drawn has {HOLDS[kind]} in its "
        "reference; choose another kind, more examples or another set"
    )


def generation_sentence(scored: pl.DataFrame, setting: Any) -> str | None:
    """Return how many examples every model answered and how many can be judged; None if it did not.

    Args:
        scored: a line for each arm, seed and eval example.
        setting: the recipe's `prove.metric`.
    """
    examples = written_examples(setting)
    if not examples:
        return None
    metric = deciding_metric(setting)
    base = scored.filter(arm="base")
    judged = base[metric.name].drop_nulls().len()
    return (
        f"Every model answered {min(examples, base.height)} eval examples greedily; {judged} of them "
        f"count, judged by {setting.get('function') or setting['generate']}."
    )


def base_warning(results: pl.DataFrame, metric: Metric) -> str | None:
    """Return what is to be told where the base model gets next to nothing right.

    Args:
        results: of the base model.
        metric: the one that decides.
    """
    if metric != GENERATED:
        return None
    values = results[metric.column].drop_nulls()
    right = int(values.sum())
    if right > 1:
        return None
    return (
        f"the base model writes the right answer to {right} of {len(values)} examples: unless tuning "
        "changes that, generated answers cannot show a difference between rows to train on; the loss can"
    )
