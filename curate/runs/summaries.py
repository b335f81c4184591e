"""What a plan and a rethreshold come to, as the lines that the terminal shows."""

import polars as pl

from curate.core.rows import turn_text
from curate.core.stage import EVAL_SETS
from curate.runs.folder import RunFolder
from curate.runs.plan import Plan
from curate.runs.rethreshold import RethresholdResult

BORDER = 3
EXCERPT = 110
MOST_ORIGINS = 15


def plan_lines(planned: Plan) -> list[str]:
    """Return the size of a planned selection, and what it is made of."""
    share = planned.shared / max(planned.rows, 1)
    tokens = "" if planned.tokens is None else f", {planned.tokens:,} tokens"
    lines = [
        f"{planned.rows:,} rows{tokens} ({planned.params.budget})",
        *planned.remarks,
        f"{planned.shared:,} of them ({share:.0%}) are among the {planned.run_rows:,} of the run",
    ]
    for source, origin, rows in planned.mix.head(MOST_ORIGINS).iter_rows():
        lines.append(f"  {rows:>6,}  {source} / {origin}")
    if planned.mix.height > MOST_ORIGINS:
        lines.append(f"  ... and {planned.mix.height - MOST_ORIGINS} more origins")
    return lines


def plan_record(planned: Plan) -> dict[str, object]:
    """Return what a plan comes to by names, for JSON."""
    return {
        "rows": planned.rows,
        "tokens": planned.tokens,
        "budget": str(planned.params.budget),
        "shared": planned.shared,
        "run_rows": planned.run_rows,
        "remarks": planned.remarks,
        "mix": planned.mix.to_dicts(),
    }


def rethreshold_record(result: RethresholdResult) -> dict[str, object]:
    """Return what another threshold comes to by names, for JSON."""
    return {
        "stage": result.stage,
        "rows": result.evidence.height,
        "dropped": result.evidence.filter(keep=False).height,
        "dropped_before": result.before.filter(keep=False).height,
        "back": result.back,
        "gone": result.gone,
        "sweep": result.sweep.to_dicts(),
    }


def rethreshold_lines(run: RunFolder, result: RethresholdResult) -> list[str]:
    """Return what another threshold drops, and the rows that it drops by the smallest margin."""
    now, before = (int((~e["keep"]).sum()) for e in (result.evidence, result.before))
    # Verdicts that no threshold decided have none.
    # `leaks` asks for more of some eval prompts.
    threshold = result.evidence["threshold"].min()
    lines = [
        f"{result.stage}: {now:,} of {result.evidence.height:,} rows dropped"
        + (f" at the threshold {threshold:.4g}" if isinstance(threshold, float) else ""),
        f"in the run: {before:,}; {result.back:,} of them come back, {result.gone:,} others go",
    ]
    if result.sweep.height:
        lines += ["", f"{'threshold':>10}  {'dropped':>9}"]
    lines += [f"{t:>10.4g}  {n:>9,}" for t, n in result.sweep.iter_rows()]
    margin = (pl.col("score") - pl.col("threshold")).abs()
    order = [margin, pl.col("score"), pl.col("row_id")]
    border = result.evidence.filter(keep=False).sort(order, nulls_last=True).head(BORDER)
    if border.height:
        lines += ["", "Dropped by the smallest margin"]
    for row_id, duplicate_of, score in border.select("row_id", "duplicate_of", "score").iter_rows():
        lines.append(
            f"  {score:.4f}  {row_id}" + (f"  for  {duplicate_of}" if duplicate_of else "")
        )
        lines += [f"    {_excerpt(run, one)}" for one in (row_id, duplicate_of) if one]
    return lines


def _excerpt(run: RunFolder, row_id: str) -> str:
    places = (run.messages(role, row_id) for role in ("pool", *EVAL_SETS))
    messages = next((turns for turns in places if turns), [])
    text = " ".join(" | ".join(map(turn_text, messages)).split())
    return text if len(text) <= EXCERPT else f"{text[: EXCERPT - 4]} ..."
