"""Where a made row comes from: its parents, theirs, and how each was made."""

from collections.abc import Iterator
from typing import Any

import orjson
import polars as pl

from curate.generate.candidates import explain_reject
from curate.generate.outcome import CANDIDATES
from curate.runs.folder import RunFolder

ROLES = ("target", "prompts", "pool")
EXCERPT = 160


def find_candidate(run: RunFolder, row_id: str) -> dict[str, Any] | None:
    """Return what was written down when a row was made, kept or not; None if it was not made here."""
    if not run.has(CANDIDATES):
        return None
    candidates = run.table(CANDIDATES).filter(pl.col("row_id") == row_id).collect()
    return candidates.row(0, named=True) if candidates.height else None


def find_generation(run: RunFolder, row_id: str) -> dict[str, Any] | None:
    """Return how a row was made, by a generation method or a stage; None if it was read."""
    rows = run.rows("pool")
    candidate = find_candidate(run, row_id)
    if candidate is not None or rows is None:
        return candidate
    own = (pl.col("row_id") == row_id) & (pl.col("parents").list.len() > 0)
    generated_rows = rows.filter(own).select("messages", "parents", "method", "hop").collect()
    if not generated_rows.height:
        return None
    generation = generated_rows.row(0, named=True)
    return {**generation, "notes": "{}", "prompt": generation["messages"][0]["content"]}


def lineage_lines(run: RunFolder, row_id: str) -> list[str]:
    """Return lines that lead from a made row to what it was made from; none for rows that were read."""
    generation = find_generation(run, row_id)
    return ["", "Lineage", *_ancestors(run, generation, 1, set())] if generation else []


def explain_candidate(run: RunFolder, row_id: str) -> list[str] | None:
    """Return why a candidate never became a row; None if there is no such candidate."""
    candidate = find_candidate(run, row_id)
    if candidate is None or candidate["flaw"] is None:
        return None
    detail = f" ({candidate['detail']})" if candidate["detail"] else ""
    return [
        f"{row_id}  (generated, {candidate['method']})",
        "",
        f"dropped as it was made: it {explain_reject(candidate['flaw'])}{detail}.",
        *lineage_lines(run, row_id),
        "",
        "Text",
        f"  [user] {candidate['prompt']}".replace("\n", "\n      "),
        f"  [assistant] {candidate['response']}".replace("\n", "\n      "),
    ]


def _ancestors(
    run: RunFolder, generation: dict[str, Any], depth: int, listed_ids: set[str]
) -> Iterator[str]:
    """Yield a line on how a row was made, then one on each parent and what that came from."""
    indent = "  " * depth
    notes = ", ".join(
        f"{name}: {value}"
        for name, value in orjson.loads(generation["notes"]).items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    )
    yield f"{indent}made by {generation['method']}, hop {generation['hop']}" + (
        f" ({notes})" if notes else ""
    )
    for parent in generation["parents"]:
        again = parent in listed_ids
        listed_ids.add(parent)
        above = find_generation(run, parent)
        messages = next((m for role in ROLES if (m := run.messages(role, parent))), None)
        text = above["prompt"] if above else messages[0]["content"] if messages else ""
        line = " ".join(text.split())
        excerpt = line if len(line) <= EXCERPT else f"{line[: EXCERPT - 4]} ..."
        yield f"{indent}from {parent}" + (f": {excerpt}" if excerpt and not again else "")
        if above and not again:
            yield from _ancestors(run, above, depth + 1, listed_ids)
