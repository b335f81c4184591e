"""The metrics that a recipe can name: one word, or how answers that a model writes are judged."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Tag

from curate.proof.written_metrics import FunctionMetric, GenerateMetric

ProofName = Literal[
    "auto",
    "loss",
    "loss_per_token",
    "answer_loss",
    "exact_match",
    "gold_margin",
    "accuracy",
    "pair_loss",
    "pair_accuracy",
    "lm_eval",
]
WatchName = Literal[
    "loss", "loss_per_token", "answer_loss", "exact_match", "gold_margin", "accuracy", "refusal"
]
# Branches of the union; as no key of a recipe, so that an error's place is told apart from them.
NAME, GENERATE, FUNCTION = "metric name", "generate metric", "function metric"
NO_METRIC = "no_metric"


def _choose_among(name: Any) -> Discriminator:
    """Return what picks the branch of a metric, so that an error is about that branch alone."""
    names = get_args(name)

    def branch(value: Any) -> str | None:
        if isinstance(value, GenerateMetric) or (
            isinstance(value, Mapping) and "generate" in value
        ):
            return GENERATE
        if isinstance(value, FunctionMetric) or (
            isinstance(value, Mapping) and "function" in value
        ):
            return FUNCTION
        return NAME if isinstance(value, str) and value in names else None

    return Discriminator(
        branch,
        custom_error_type=NO_METRIC,
        custom_error_message=f"no such metric; known: {', '.join(names)}, "
        "{generate: KIND} and {function: FILE.py:NAME}",
    )


ProofMetric = Annotated[
    Annotated[ProofName, Tag(NAME)]
    | Annotated[GenerateMetric, Tag(GENERATE)]
    | Annotated[FunctionMetric, Tag(FUNCTION)],
    _choose_among(ProofName),
]
WatchMetric = Annotated[
    Annotated[WatchName, Tag(NAME)]
    | Annotated[GenerateMetric, Tag(GENERATE)]
    | Annotated[FunctionMetric, Tag(FUNCTION)],
    _choose_among(WatchName),
]
