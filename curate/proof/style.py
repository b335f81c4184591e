"""Style or skill: does the loss fall on the answers, or on the words around them alone?"""

from collections.abc import Mapping, Sequence
from typing import Any

from curate.proof.metrics import ANSWER_LOSS, REST_LOSS
from curate.proof.statistics import judge


def describe_style(comparisons: Sequence[Mapping[str, Any]], control: str) -> dict[str, Any] | None:
    """Return whether the selection is better in style alone, and that in words.

    It is where the loss of the words around the answers lies above the range of random draws and that
    of the answers does not. None where either was not measured.

    Args:
        comparisons: of the proof.
        control: the one that is drawn in full.
    """
    by_metric = {c["metric"]: c for c in comparisons if c["control"] == control}
    if not {ANSWER_LOSS.name, REST_LOSS.name} <= {*by_metric}:
        return None
    answer, rest = by_metric[ANSWER_LOSS.name], by_metric[REST_LOSS.name]
    gains = {name: c["mean_difference"] for name, c in (("answer", answer), ("rest", rest))}
    moved = [judge(c["mean_difference"], c["half"]) == "better" for c in (answer, rest)]
    only_style = moved == [False, True]
    return {
        "only_style": only_style,
        **gains,
        "sentence": _sentence(gains["answer"], gains["rest"]) if only_style else None,
    }


def _sentence(answer: float, rest: float) -> str:
    return (
        "The gain is in style and not shown in the answers: the loss of the words around the answers "
        f"is lower by {rest:+.3f}, more than random draws reach, that of the answers by {answer:+.3f}, "
        "which they do reach."
    )
