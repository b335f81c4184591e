"""The metrics of a model on the eval set, apart from its training: another eval set trains nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table
from curate.models.chat import IGNORED, UNLABELLED, build_examples
from curate.models.evaluation import evaluate
from curate.models.finetune import load_measured
from curate.models.head import split_model
from curate.models.load import load_tokenizer
from curate.models.responses import answer_tokens, content_example
from curate.prove.likelihood import log_likelihoods, score_options
from curate.prove.questions import FILE

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

VERSION = 3
CHOICES = {"gold_margin": pl.Float64, "accuracy": pl.Boolean, "raw_accuracy": pl.Boolean}


def measure_step(
    eval_rows: Artifact,
    tuned: Artifact | None,
    *,
    max_length: int,
    identity: Mapping[str, Any],
    runtime: Mapping[str, Any],
    questions: Artifact | None = None,
) -> Step:
    """Return the step that measures a fine-tune, or the untuned base model, on the eval set.

    Args:
        eval_rows: the eval set.
        tuned: the fine-tune; None for the base model.
        max_length: tokens of an example that are read.
        identity: of the base model.
        runtime: where it lies.
        questions: the options of the eval set, where it has any (curate.prove.questions).
    """
    inputs = {"eval": eval_rows} | ({"tuned": tuned} if tuned else {})
    if questions is not None and questions.counts["options"]:
        inputs["questions"] = questions
    params = {"max_length": max_length, "model": dict(identity)}
    return Step("measure" if tuned else "base", VERSION, measure, inputs, params, runtime)


def measure(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write results.parquet: what the model reaches on each eval example, null where it has none.

    eval_id, loss (nats a response token), exact, response_tokens, answer_loss, answer_tokens, rest_loss,
    gold_margin, accuracy, raw_accuracy.
    """
    tokenizer = load_tokenizer(Path(runtime["folder"]), runtime["trust"])
    rows = read_table(inputs["eval"].file("rows.parquet"))
    messages, limit = rows["messages"].to_list(), params["max_length"]
    judges = bool(runtime.get("judges"))
    examples = build_examples(tokenizer, messages, limit, judges=judges)
    answers = [
        [] if example == UNLABELLED else answer_tokens(tokenizer, row, limit)
        for row, example in zip(messages, examples, strict=True)
    ]
    model = load_measured(inputs.get("tuned"), params, runtime)
    results = evaluate(model, examples, answers).select(rows["row_id"].alias("eval_id"), "*")
    scores: list[dict[str, Any] | None] = [None] * rows.height
    if "questions" in inputs:
        table = read_table(inputs["questions"].file(FILE)).select("options", "gold")
        # What the template refuses cannot be asked.
        questions = [
            {"options": None} if example == UNLABELLED else line
            for line, example in zip(table.to_dicts(), examples, strict=True)
        ]
        scores = _measure_options(model, tokenizer, messages, questions, limit)
    chosen = pl.DataFrame([score or {} for score in scores], schema=CHOICES)
    pl.concat([results, chosen], how="horizontal").write_parquet(out / "results.parquet")
    return {"rows_in": rows.height, "rows_out": rows.height}


def _measure_options(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[Sequence[Any]],
    questions: Sequence[Mapping[str, Any]],
    max_length: int,
) -> list[dict[str, Any] | None]:
    """Return the scores of each example's options; None without any, or if one is too long."""
    split = split_model(model)
    scores: list[dict[str, Any] | None] = []
    for messages, question in zip(rows, questions, strict=True):
        options = question["options"] or []
        answered = [[*messages[:-1], {"role": "assistant", "content": o}] for o in options]
        examples = [content_example(tokenizer, row, max_length) for row in answered]
        read = [example for example in examples if example is not None]
        if not read or len(read) < len(options):
            scores.append(None)
            continue
        tokens = [sum(label != IGNORED for label in example.labels) for example in read]
        likelihoods = log_likelihoods(split, read)
        scores.append(
            asdict(score_options(likelihoods, tokens, [len(o) for o in options], question["gold"]))
        )
    return scores
