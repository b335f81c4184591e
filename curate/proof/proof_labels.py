"""Arms and metrics of a proof in words."""

from collections.abc import Mapping

from curate.core.methods import methods_in
from curate.core.selector import Selector

ARMS: Mapping[str, str] = {
    "base": "Base model, untuned",
    "selected": "Selection",
    "random_rows": "As many random rows",
    "random_tokens": "As many random tokens",
    "target_only": "Target examples alone",
    "target_plus": "Selection and target examples",
    "full": "All kept rows",
    "balanced": "As many rows, balanced by source",
    "rehearsed": "Selection and rehearsed rows",
    "rehearsed_random": "Selection and as many prior rows by chance",
}
METRICS: Mapping[str, str] = {
    "loss": "Loss",
    "exact_match": "Exact match",
    "generated": "Right answers",
    "generated_announced": "Right answers, announced",
    "unmatched": "Answers without a match",
    "function": "Score of the function",
    "refusal": "Refusals",
    "loss_per_token": "Loss per token",
    "answer_loss": "Loss of the answer",
    "rest_loss": "Loss of the rest",
    "gold_margin": "Margin of the right option",
    "accuracy": "Accuracy, options by likelihood per character",
    "raw_accuracy": "Accuracy, options by likelihood",
    "pair_loss": "Loss of held-out pairs",
    "pair_accuracy": "Accuracy on held-out pairs",
    "lm_eval": "lm-evaluation-harness",
}
METRIC_MEANINGS: Mapping[str, str] = {
    "loss": "How unlikely a model finds the reference answers, in nats per response token; lower is "
    "better. It moves with every example.",
    "loss_per_token": "The loss of all responses together over their tokens, as training sees it; lower "
    "is better. Long responses rule it.",
    "answer_loss": "The loss of the answer alone (the number, the option), where the reference names "
    "one; lower is better. Style does not move it.",
    "rest_loss": "The loss of the words around the answer and of the end; lower is better. It moves "
    "with style.",
    "exact_match": "The share of eval examples, from 0 to 1, of which every token is the very token "
    "that the model finds likeliest, up to the end; higher is better. One wrong token makes an "
    "example count nothing.",
    "generated": "The share of answered eval examples whose written answer is right, compared by value; "
    "higher is better.",
    "generated_announced": "The share of answered eval examples whose right answer stands behind #### "
    "or words that announce it; higher is better.",
    "unmatched": "The share of answered eval examples in whose text no answer is found; lower is "
    "better. Brief tuning changes the form of answers first.",
    "pair_loss": "How far a model is from preferring the chosen answers of held-out pairs: the loss of "
    "DPO, 0.693 where it prefers neither more than the untuned model does; lower is better.",
    "pair_accuracy": "The share of held-out pairs, from 0 to 1, whose chosen answer has gained more "
    "likelihood over the untuned model than the rejected one; higher is better, 0.5 if none has.",
    "lm_eval": "The mean over the items of the tasks, by the first metric of each; higher is better.",
    "function": "The mean of what the recipe's own function returns; higher is better.",
    "gold_margin": "How far the right option lies ahead: the log of its share among the options, by "
    "likelihood per token; higher is better, 0 is certainty.",
    "accuracy": "The share of examples with options, from 0 to 1, whose right option is the likeliest "
    "per character; higher is better.",
    "raw_accuracy": "The share of examples with options, from 0 to 1, whose right option is the "
    "likeliest as a whole, where short ones have it easier; higher is better.",
}


def arm_label(name: str) -> str:
    """Return an arm in words."""
    selectors = methods_in(Selector)
    return ARMS.get(name, selectors[name].title if name in selectors else name)


def metric_label(name: str) -> str:
    """Return a metric in words."""
    return METRICS.get(name, name.replace("_", " ").capitalize())


def metric_meaning(name: str) -> str:
    """Return what a metric measures and which way is better, nothing for one unknown here."""
    return METRIC_MEANINGS.get(name, "")
