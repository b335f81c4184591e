"""Leaks of eval and watch sets into what a proof trains on: good scores would show memory, not skill."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.core.store import Artifact, Counts, write_json
from curate.core.tables import read_table, scan_table
from curate.overlap.index import LeakIndex
from curate.prove.others import FILE_PART, POOL

REFUSED = "refused"
MOST_EXAMPLES = 20
HELD_OUT = ("eval", "watch")


def write_leaks(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write hits.parquet: leaks of the eval and the watch sets into the target examples and the arms."""
    arms = scan_table(inputs["arms"].file("arms.parquet")).select("row_id").unique()
    if "others" in inputs:
        others = scan_table(inputs["others"].file("others.parquet")).filter(place=POOL)
        arms = pl.concat([arms, others.select("row_id")]).unique()
    rows = scan_table(inputs["rows"].file("rows.parquet"))
    suspects = [("arm", rows.join(arms, on="row_id", how="semi", maintain_order="left"))]
    for name in (n for n in inputs if n.startswith(FILE_PART)):
        place = name.removeprefix(FILE_PART)
        suspects.append((place, scan_table(inputs[name].file("rows.parquet"))))
    if "target" in inputs:
        suspects.append(("target", scan_table(inputs["target"].file("rows.parquet"))))
    held_out = {name: inputs[name] for name in HELD_OUT if name in inputs}
    hits = pl.concat(
        _find_hits(read_table(artifact.file("rows.parquet")), rows, suspects).with_columns(
            role=pl.lit(name)
        )
        for name, artifact in held_out.items()
    )
    hits.write_parquet(out / "hits.parquet")
    counted = {place: hits.filter(place=place)["row_id"].n_unique() for place, _ in suspects}
    return {"hits": hits.height, "leaking_rows": counted, "leaking_sets": _leaking_sets(hits)}


def _find_hits(
    eval_rows: pl.DataFrame, rows: pl.LazyFrame, suspects: Sequence[tuple[str, pl.LazyFrame]]
) -> pl.DataFrame:
    """Return the leaks of held-out rows into each suspect, with the place and the set's source."""
    index = LeakIndex(eval_rows)
    counts = index.count(rows)
    hits = pl.concat(
        index.find(suspect, counts=counts).with_columns(place=pl.lit(place))
        for place, suspect in suspects
    )
    sources = eval_rows.select("source", eval_id=pl.col("row_id"))
    return hits.join(sources, on="eval_id", how="left", maintain_order="left")


def _leaking_sets(hits: pl.DataFrame) -> str:
    """Return which sets leak, in words: the eval set and the watch set 'general'."""
    watched = hits.filter(role="watch")["source"].unique(maintain_order=True).to_list()
    names = ["the eval set"] * (hits.filter(role="eval").height > 0)
    if watched:
        quoted = ", ".join(map(repr, watched))
        names.append(f"the watch set{'s' if len(watched) > 1 else ''} {quoted}")
    return " and ".join(names)


def write_refusal(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write a proof.json that says why nothing was measured."""
    leaks = describe_leaks(inputs["leaks"], params["prove"]["allow_leaks"])
    places = {"target": "target examples", "arm": "training rows"}
    contaminated = [
        f"{n} {places.get(p, f'rows of {p}')}" for p, n in leaks["leaking_rows"].items() if n
    ]
    sentence = (
        f"No proof: {leaks_clause(leaks)} into {' and '.join(contaminated)}, so a good score would show"
        " memory, not skill. Add the stage {kind: leaks}, choose other target examples, or set"
        " prove.allow_leaks: true."
    )
    write_json(
        out / "proof.json",
        {"verdict": REFUSED, "sentence": sentence, "leaks": leaks, "settings": params["prove"]},
    )
    return {"verdict": REFUSED, "sentence": sentence}


def describe_leaks(artifact: Artifact, allowed: bool) -> dict[str, Any]:
    """Return what proof.json says of leaks: how many rows of which place, and the first of them."""
    hits = read_table(artifact.file("hits.parquet"))
    return {
        "allowed": allowed,
        "leaking_rows": artifact.counts["leaking_rows"],
        "leaking_sets": artifact.counts["leaking_sets"],
        "examples": hits.head(MOST_EXAMPLES).to_dicts(),
    }


def leaks_clause(leaks: Mapping[str, Any]) -> str:
    """Return which sets leak, as the beginning of a sentence: "the eval set leaks"."""
    sets = leaks.get("leaking_sets") or "the eval set"
    return f"{sets} {'leak' if ' and ' in sets or 'sets' in sets else 'leaks'}"
