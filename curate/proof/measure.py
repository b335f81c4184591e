"""The metrics of a model on the eval set, apart from its training: another eval set trains nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.core.calls import CachedCall, Table, cached
from curate.core.keyed import ModelSource
from curate.core.store import Artifact
from curate.core.turntext import conversations
from curate.core.wants import ONE_GPU
from curate.models.chat import IGNORED, UNLABELLED, build_examples
from curate.models.evaluation import evaluate
from curate.models.finetune import load_measured
from curate.models.head import split_model
from curate.models.load import load_tokenizer
from curate.models.responses import answer_tokens, content_example
from curate.proof.likelihood import log_likelihoods, score_options

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

VERSION = 3
CHOICES = {"gold_margin": pl.Float64, "accuracy": pl.Boolean, "raw_accuracy": pl.Boolean}


def measurement(
    eval_rows: Table,
    tuned: Artifact | None,
    max_length: int,
    model: ModelSource,
    questions: Table | None = None,
) -> CachedCall[Table]:
    """Return the call that measures a fine-tune, or the untuned base model, on the eval set.

    Args:
        eval_rows: the eval set.
        tuned: the fine-tune; None for the base model.
        max_length: tokens of an example that are read.
        model: that is or was tuned.
        questions: the options of the eval set, where it has any (curate.proof.questions).
    """
    has_options = questions is not None and questions.artifact.counts["options"]
    options = questions if has_options else None
    call = results.call(eval_rows.artifact, max_length, model, tuned, options)
    return call if tuned else call.named("base")


@cached(version=VERSION, name="measure", wants=ONE_GPU)
def results(
    eval: Artifact,
    max_length: int,
    model: ModelSource,
    tuned: Artifact | None = None,
    questions: Table | None = None,
) -> pl.DataFrame:
    """Return what the model reaches on each eval example, null where it has none.

    eval_id, loss (nats a response token), exact, response_tokens, answer_loss, answer_tokens, rest_loss,
    gold_margin, accuracy, raw_accuracy.
    """
    tokenizer = load_tokenizer(model.folder, model.trust)
    rows = Table(eval, "rows").read()
    messages = conversations(rows)
    examples = build_examples(tokenizer, messages, max_length, judges=model.judges)
    answers = [
        [] if example == UNLABELLED else answer_tokens(tokenizer, row, max_length)
        for row, example in zip(messages, examples, strict=True)
    ]
    measured = load_measured(tuned, model)
    losses = evaluate(measured, examples, answers).select(rows["row_id"].alias("eval_id"), "*")
    scores: list[dict[str, Any] | None] = [None] * rows.height
    if questions is not None:
        # What the template refuses cannot be asked.
        lines = [
            {"options": None} if example == UNLABELLED else line
            for line, example in zip(
                questions.read(["options", "gold"]).to_dicts(), examples, strict=True
            )
        ]
        scores = _measure_options(measured, tokenizer, messages, lines, max_length)
    chosen = pl.DataFrame([score or {} for score in scores], schema=CHOICES)
    return pl.concat([losses, chosen], how="horizontal")


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
