"""Leaks of the eval set into what a proof trains on: a good score would show memory, not skill."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from curate.clean.leaks import count_rows, find_leaks
from curate.prove.others import FILE_PART, POOL
from curate.store import Artifact, Counts, write_json
from curate.tables import read_table, scan_table

REFUSED = "refused"
SHOWN_LEAKS = 20


def write_leaks(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write hits.parquet: leaks of the eval set into the target examples and the arms."""
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
    eval_rows = read_table(inputs["eval"].file("rows.parquet"))
    counts = count_rows(rows, eval_rows)
    hits = pl.concat(
        find_leaks(suspect, eval_rows, counts=counts).with_columns(place=pl.lit(place))
        for place, suspect in suspects
    )
    hits.write_parquet(out / "hits.parquet")
    counted = {place: hits.filter(place=place)["row_id"].n_unique() for place, _ in suspects}
    return {"hits": hits.height, "leaking_rows": counted}


def write_refusal(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write a proof.json that says why nothing was measured."""
    leaks = describe_leaks(inputs["leaks"], params["prove"]["allow_leaks"])
    places = {"target": "target examples", "arm": "training rows"}
    contaminated = [
        f"{n} {places.get(p, f'rows of {p}')}" for p, n in leaks["leaking_rows"].items() if n
    ]
    sentence = (
        f"No proof: the eval set leaks into {' and '.join(contaminated)}, so a good score would show"
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
        "examples": hits.head(SHOWN_LEAKS).to_dicts(),
    }
