"""Where a made row comes from: its parents, theirs, and how each was made."""

from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class LineageNode:
    """A row, how it was made (nothing if it was read), and what it was made from.

    `repeated` if the tree has it further up already; then its parents are left out here.
    """

    row_id: str
    text: str
    method: str = ""
    hop: int | None = None
    notes: str = ""
    parents: "tuple[LineageNode, ...]" = ()
    repeated: bool = False


def lineage_tree(run: RunFolder, row_id: str) -> LineageNode | None:
    """Return a made row with all that it goes back to; None for rows that were read."""
    generation = find_generation(run, row_id)
    return _node(run, row_id, generation, set()) if generation else None


def _node(
    run: RunFolder, row_id: str, generation: dict[str, Any] | None, listed_ids: set[str]
) -> LineageNode:
    repeated = row_id in listed_ids
    listed_ids.add(row_id)
    if generation is None:
        messages = next((m for role in ROLES if (m := run.messages(role, row_id))), None)
        return LineageNode(row_id, messages[0]["content"] if messages else "", repeated=repeated)
    notes = ", ".join(
        f"{name}: {value}"
        for name, value in orjson.loads(generation["notes"]).items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    )
    parents = () if repeated else generation["parents"]
    return LineageNode(
        row_id,
        generation["prompt"],
        generation["method"],
        generation["hop"],
        notes,
        tuple(_node(run, one, find_generation(run, one), listed_ids) for one in parents),
        repeated,
    )


def lineage_lines(run: RunFolder, row_id: str) -> list[str]:
    """Return lines that lead from a made row to what it was made from; none for rows that were read."""
    tree = lineage_tree(run, row_id)
    return ["", "Lineage", *_ancestors(tree, 1)] if tree else []


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


def _ancestors(node: LineageNode, depth: int) -> Iterator[str]:
    """Yield a line on how a row was made, then one on each parent and what that came from."""
    indent = "  " * depth
    notes = f" ({node.notes})" if node.notes else ""
    yield f"{indent}made by {node.method}, hop {node.hop}{notes}"
    for parent in node.parents:
        line = " ".join(parent.text.split())
        excerpt = line if len(line) <= EXCERPT else f"{line[: EXCERPT - 4]} ..."
        said = excerpt and not parent.repeated
        yield f"{indent}from {parent.row_id}" + (f": {excerpt}" if said else "")
        if parent.method and not parent.repeated:
            yield from _ancestors(parent, depth + 1)
