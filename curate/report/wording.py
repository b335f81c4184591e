"""How the report says things: numbers, reasons, steps and verdicts in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from curate.core.calls import FUNCTIONS
from curate.core.methods import methods_in
from curate.core.numerals import percent, significant, similarity
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.proof.contamination import REFUSED
from curate.proof.outcome import HEADS
from curate.proof.verdict import NOT_MEASURED
from curate.report.proof import EARLIER_RULE

# The run's own steps, and what it names anew; those of methods and models stand with their functions.
STEPS: Mapping[str, str] = {
    "ingest": "Read files",
    "pool": "Read the pool",
    "prompts": "Read the prompts to answer",
    "target": "Read the target examples",
    "eval": "Read the eval set",
    "protected": "Read the protected eval sets",
    "watch": "Read the watch sets",
    "eval-choice": "Half of the eval set, by which a race chooses",
    "eval-verdict": "Half of the eval set, by which the winner is judged",
    "race-arms": "Rows that the candidates of a race select",
    "race-leaks": "Leaks into the rows of a race",
    "race": "Standings of a race",
    "generate": "Make rows",
    "joined": "Join made rows to the pool",
    "template": "Rows that the chat template takes",
    "template-target": "Target examples that the chat template takes",
    "template-eval": "Eval examples that the chat template takes",
    "template-watch": "Watch examples that the chat template takes",
    "joined-template": "Join merged rows to the pool",
    "leaks-target-overlaps": "Look for eval prompts in target examples",
    "nearest-drops": "Look for rows that resemble target examples",
    "kept": "List the rows that are left",
    "proof-labels": "Look for rows without a label",
    "tokens": "Count tokens",
    "tokens-of-all": "Join token counts",
    "score": "Score the rows",
    "select": "Select within the budget",
    "select-compared": "Select by the compared methods",
    "comparison": "Compare the selections",
    "coverage": "Measure nearness to the target",
    "ledger": "Join the ledger",
    "arms": "Draw the arms of the proof",
    "curve": "Draw the curve of smaller budgets",
    "set-measures": "Measure selections as sets",
    "groups": "Find the groups of the rows",
    "source-nearness": "Measure how near each source is to the target",
    "group-measures": "Measure how near each group is to the target",
    "target-losses": "Measure a trial on the target examples",
    "source-choice": "Choose groups",
    "languages": "Find the languages of target, pool and selection",
    "quantiles": "Measure the parts of the order",
    "quantile-arms": "Draw rows of each part of the order",
    "quantiles-leaks": "Check these rows for eval leaks",
    "quantiles-proof": "Say what the parts of the order show",
    "proof-look": "Look at the draws so far",
    "ablation-spared": "Leave out the drops of a stage",
    "ablation-back": "List the rows that come back",
    "ablation-scores": "Join stored scores",
    "ablation-tokens": "Join stored lengths",
    "ablation-arms": "List the selections without a stage",
    "ablation-leaks": "Check these for eval leaks",
    "ablation": "Say what each stage earned",
    "proof-leaks": "Check the arms for eval leaks",
    "base": "Evaluate the base model",
    "finetune": "Fine-tune the arms",
    "finetune-pairs": "Fine-tune the arms on pairs",
    "spread": "Measure the spread of random draws",
    "watch-verdicts": "Judge the watch sets",
    "measure": "Evaluate the arms",
    "pair-likelihoods": "Evaluate the arms on held-out pairs",
    "written": "Let the arms answer",
    "proof": "Compare the arms",
    "proof-refused": "Refuse the proof",
    "proof-unmeasured": "Say why nothing was measured",
    "proof-together": "Judge the methods together",
    "novelty": "Find what tuning taught",
    "rendered-rows": "Render the training rows",
    "export": "Write the training files",
    "prior": "Read the rows of earlier training",
    "joined-rehearse": "Join merged rows to these",
    "rehearse-exact": "Look for repeated rows among them",
    "rehearse-leaks": "Keep held-out rows out of them",
    "rehearse-allowed": "List the rows that may be rehearsed",
    "rehearse-by-value": "Find rows that are compared by value",
    "rehearse-base": "Judge the base model's answers to these",
    "rehearse-probe": "Draw the rows of a probe",
    "rehearsal": "Draw the rehearsed rows",
    "export-rows": "Mix rehearsed rows in",
}
VERDICTS: Mapping[str, str] = {
    **HEADS,
    EARLIER_RULE: "Judged by an earlier rule",
    NOT_MEASURED: "Not measured",
    REFUSED: "Proof refused: the eval set leaks",
}
# Of a list of steps.
MOST_LABELS = 2
NO_PROOF = "No proof was asked for"


def stage_label(name: str) -> str:
    """Return a stage or another step in words; repeated stages (`exact-2`) keep their number."""
    kind, _, rest = name.partition("-")
    if title := _title(name):
        return title
    if kind == "score" and rest:
        return f"{STEPS[kind]} ({method_label(rest)})"
    if rest.isdigit() and (title := _title(kind)):
        return f"{title} ({rest})"
    return name.replace("-", " ").replace("_", " ").capitalize()


def steps_label(names: Sequence[str]) -> str:
    """Return the steps of a list in words, the first ones of many."""
    labels = list(dict.fromkeys(map(stage_label, names)))
    more = f" and {len(labels) - MOST_LABELS} more" if len(labels) > MOST_LABELS else ""
    return ", ".join(labels[:MOST_LABELS]) + more


def _title(name: str) -> str:
    """Return what the run, a cached function or a stage of this name is called; "" if nothing is."""
    # Also importing a method is what registers its cached functions.
    stage, _ = methods_in(Stage).get(name), methods_in(Selector)
    function = FUNCTIONS.get(name)
    title = STEPS.get(name) or (function and function.title) or (stage.title if stage else "")
    return title[:1].upper() + title[1:]


def method_label(name: str) -> str:
    """Return a method of selection in words."""
    selectors = methods_in(Selector)
    return selectors[name].title if name in selectors else name.replace("_", " ")


def setting(value: Any) -> str:
    """Return a parameter's value in words; of a list of parts only what they are."""
    if isinstance(value, list):
        return " + ".join(setting(one) for one in value)
    if isinstance(value, Mapping):
        return str(value.get("method", ", ".join(f"{k} {v}" for k, v in value.items())))
    return str(value).replace("_", " ")


def margin(reason: str, score: float | None, threshold: float | None) -> str:
    """Return a dropped row's score and the limit in the words of its reason, nothing if it has none."""
    if score is None or (score == 1 and "exact" in reason):
        return ""
    if reason.endswith("_duplicate"):
        described, limit = f"similarity {similarity(score)}", similarity(threshold)
    elif reason.startswith("leak_"):
        described, limit = f"{percent(score)} of the eval prompt", percent(threshold)
    else:
        described, limit = f"score {significant(score)}", significant(threshold)
    return described if threshold is None else f"{described}, limit {limit}"
