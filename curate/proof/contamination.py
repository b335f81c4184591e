"""Leaks of eval and watch sets into what a proof trains on: good scores would show memory, not skill."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.core.calls import Table, cached_files
from curate.core.preferences import turns_with_rejected
from curate.core.run import ScoreRun
from curate.core.store import Artifact, Counts, write_json
from curate.core.tables import read_table
from curate.overlap.index import LeakIndex
from curate.proof.others import POOL, TARGET, ArmSources
from curate.proof.values import ProofValues, learns_pairs

VERSION = 9
REFUSED = "refused"
MOST_EXAMPLES = 20


@cached_files(version=VERSION, name="proof-leaks")
def write_leaks(
    out: Path,
    sources: ArmSources,
    arms: Table,
    eval: Table,
    others: Table | None = None,
    watch: Table | None = None,
    pairs: bool | None = None,
) -> Counts:
    """Write hits.parquet: leaks of the eval and the watch sets into the target examples and the arms.

    Args:
        out: the folder.
        sources: what rows of arms are read from.
        arms: row ids of arms of pool rows.
        eval: the eval set, as it was given.
        others: the rows of further arms.
        watch: the watch sets, as they were given.
        pairs: whether rejected answers are trained on, and looked through, too.
    """
    ids = arms.scan().select("row_id").unique()
    if others is not None:
        ids = pl.concat([ids, others.scan().filter(place=POOL).select("row_id")]).unique()
    rows = _learned_texts(sources.rows, pairs=pairs)
    suspects = [("arm", rows.join(ids, on="row_id", how="semi", maintain_order="left"))]
    suspects += [(place, table.scan()) for place, table in sources.files.items()]
    if sources.target is not None:
        suspects.append((TARGET, sources.target.scan()))
    held_out = {"eval": eval} | ({"watch": watch} if watch else {})
    hits = pl.concat(
        _find_hits(table.read(), rows, suspects).with_columns(role=pl.lit(name))
        for name, table in held_out.items()
    )
    hits.write_parquet(out / "hits.parquet")
    counted = {place: hits.filter(place=place)["row_id"].n_unique() for place, _ in suspects}
    return {"hits": hits.height, "leaking_rows": counted, "leaking_sets": _leaking_sets(hits)}


def _learned_texts(rows: Table, *, pairs: bool | None) -> pl.LazyFrame:
    """Return row_id and the turns that may be trained on; of pairs those of both answers."""
    return rows.scan().select("row_id", messages=turns_with_rejected() if pairs else "messages")


def leaks_into(
    run: ScoreRun,
    arms: Table,
    held_out: tuple[Table, Table | None],
    name: str,
    prove: ProofValues,
) -> pl.DataFrame:
    """Return the leaks of the eval set and the watch sets into pool rows of further arms.

    Args:
        run: has the pool.
        arms: row ids of the arms.
        held_out: the eval set and the watch sets, as they were given.
        name: of the step.
        prove: whether pairs are trained on.
    """
    eval_rows, watch = held_out
    pairs = learns_pairs(prove)
    call = write_leaks.call(ArmSources(run.rows), arms, eval_rows, watch=watch, pairs=pairs)
    return read_hits(run.result(call.named(name)))


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


@cached_files(version=VERSION, name="proof-refused")
def write_refusal(out: Path, leaks: Artifact, prove: ProofValues) -> Counts:
    """Write a proof.json that says why nothing was measured."""
    described = describe_leaks(leaks, prove["allow_leaks"])
    places = {TARGET: "target examples", "arm": "training rows"}
    contaminated = [
        f"{n} {places.get(p, f'rows of {p}')}" for p, n in described["leaking_rows"].items() if n
    ]
    sentence = (
        f"No proof: {leaks_clause(described)} into {' and '.join(contaminated)}, so a good score would"
        " show memory, not skill. Add the stage {method: leaks}, choose other target examples, or set"
        " prove.allow_leaks: true."
    )
    proof = {"verdict": REFUSED, "sentence": sentence, "leaks": described, "settings": prove}
    write_json(out / "proof.json", proof)
    return {"verdict": REFUSED, "sentence": sentence}


def describe_leaks(leaks: Artifact, allowed: bool) -> dict[str, Any]:
    """Return what proof.json says of leaks: how many rows of which place, and the first of them."""
    return {
        "allowed": allowed,
        "leaking_rows": leaks.counts["leaking_rows"],
        "leaking_sets": leaks.counts["leaking_sets"],
        "examples": read_hits(leaks).head(MOST_EXAMPLES).to_dicts(),
    }


def read_hits(leaks: Artifact) -> pl.DataFrame:
    """Return the leaks: row_id, eval_id, place, role and more."""
    return read_table(leaks.file("hits.parquet"))


def leaks_clause(leaks: Mapping[str, Any]) -> str:
    """Return which sets leak, as the beginning of a sentence: "the eval set leaks"."""
    sets = leaks.get("leaking_sets") or "the eval set"
    return f"{sets} {'leak' if ' and ' in sets or 'sets' in sets else 'leaks'}"
