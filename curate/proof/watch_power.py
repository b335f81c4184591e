"""What the verdicts on watch sets could show, told before a run."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.core.jsontypes import JSON
from curate.proof.described import CountedSet
from curate.proof.harm import fewest_examples
from curate.proof.metrics import deciding_metric
from curate.proof.spread import last_result
from curate.proof.watch import FILE, NAME, NOT_MEASURED


def watch_power(
    store: Path,
    setting: Mapping[str, JSON],
    rows_key: str,
    sets: Sequence[CountedSet],
    alpha: float,
) -> list[str]:
    """Return a sentence for each watch set of which something is known.

    Args:
        store: the folder with the verdicts of earlier runs.
        setting: what the verdicts may be quoted for (see curate.proof.spread.setting_of).
        rows_key: key of the rows of all watch sets.
        sets: source, margin, metric and number of examples of each.
        alpha: of the proof, which the sets divide among them.
    """
    last = last_result(store, f"{NAME}/{FILE}", setting, rows_key) or []
    return [s for line in sets for s in _sentences(line, last, alpha / len(sets))]


def _sentences(
    watched: CountedSet, last: Sequence[Mapping[str, Any]], alpha: float
) -> Iterator[str]:
    name, margin = watched["source"], watched["margin"]
    needed = fewest_examples(margin, alpha) if deciding_metric(watched["metric"]).counted else 0
    if watched["examples"] < needed:
        yield (
            f"{name} cannot be shown to be kept within {margin:g}: that takes {needed:,} examples, "
            f"not {watched['examples']:,}, or a wider margin"
        )
    for line in last:
        same = (line["source"], line["setting"]) == (name, watched["metric"])
        if same and line["verdict"] != NOT_MEASURED:
            half = (line["high"] - line["low"]) / 2
            yield (
                f"last time the rise on {name} was {line['rise']:+.3f} ±{half:.3f}, against a margin "
                f"of {margin:g}"
            )
