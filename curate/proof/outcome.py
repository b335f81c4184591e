"""What a proof has found, in words."""

from collections.abc import Mapping
from typing import Any

from curate.proof.contamination import leaks_clause
from curate.proof.looks import look_sentence
from curate.proof.metrics import METRICS
from curate.proof.statistics import WITHIN, prediction_factor

# With fewer draws, what they cannot show is said beside the verdict.
FEW_DRAWS = 5
ENOUGH_DRAWS = 9
# With fewer eval examples, what holds for them says next to nothing of others (as of a group's).
FEW_EXAMPLES = 5
NAMES = {"random_rows": "as many random rows", "random_tokens": "about as many random tokens"}
HEADS = {
    "better": "The selection is better than random",
    "worse": "The selection is worse than random",
    WITHIN: "The selection is within the range of random draws",
}


def sentence_of(proof: Mapping[str, Any]) -> str:
    """Return verdict and detail of a proof in one sentence or two."""
    leaking = sum(proof["leaks"]["leaking_rows"].values())
    clause = leaks_clause(proof["leaks"])
    warning = f" ({clause}, which was allowed: do not trust this)" if leaking else ""
    detail = proof["detail"]
    return f"{HEADS[proof['verdict']]}{warning}: {detail[0].lower()}{detail[1:]}"


def detail_of(proof: Mapping[str, Any]) -> str:
    """Return the differences that decide, what a random draw reaches, and what few draws leave open."""
    primary = [c for c in proof["comparisons"] if c["metric"] == proof["metric"]]
    differences = " and ".join(
        f"{c['mean_difference']:+.3f} than {NAMES[c['control']]} ({_range(c['half'])})"
        for c in primary
    )
    gain = METRICS[proof["metric"]].gain_label.capitalize()
    draws, level = proof["spread"]["draws"], f"{100 * proof['alpha']:.2g} %"
    text = f"{gain} {differences}, in {primary[0]['unit']}; {draws} draws, judged at {level}"
    if proof["judged"] > 1:
        text += f" because {proof['judged']} selections share the level"
    few = few_examples(primary[0]["examples"])
    one = _against_one({c["control"]: c["verdict"] for c in primary})
    few_draws, sets = _few(draws, proof["alpha"]), few and f" {few}."
    return f"{text}.{one}{few_draws}{sets}{look_sentence(proof['look'])}"


def _against_one(verdicts: Mapping[str, str]) -> str:
    """Return against which of the controls alone the selection is better or worse.

    Args:
        verdicts: by control.
    """
    apart = {control: verdict for control, verdict in verdicts.items() if verdict != WITHIN}
    if not apart or len(set(verdicts.values())) == 1:
        return ""
    clauses = " and ".join(f"{verdict} than {NAMES[name]}" for name, verdict in apart.items())
    alone = " alone" if len(apart) == 1 else ""
    return f" It is {clauses}{alone}, and the verdict has to hold against both."


def few_examples(count: int) -> str:
    """Return what is to be told of a verdict on so few eval examples; nothing if there are enough.

    A random draw is called better as rarely on one example as on many, since all are measured on the
    same ones. Whether the verdict holds for other examples is another question, which few cannot answer.
    """
    if count >= FEW_EXAMPLES:
        return ""
    if count == 1:
        return (
            "It is measured on a single example: whether it holds for others is not known, and the "
            "interval of the estimate has no part of how they differ"
        )
    return f"It is measured on {count} examples: whether it holds for others is not known"


def _range(half: float) -> str:
    if not half:
        return "random draws all score the same, so that no spread could be estimated"
    return f"a random draw stays within ±{half:.3f}"


def _few(draws: int, alpha: float) -> str:
    if draws >= FEW_DRAWS:
        return ""
    factors = [prediction_factor(count, alpha) for count in (draws, ENOUGH_DRAWS)]
    return (
        f" {draws} draws show only differences above {factors[0]:.1f} times their spread, "
        f"{ENOUGH_DRAWS} those above {factors[1]:.1f} times: smaller ones are not shown to be absent."
    )
