"""Licences of the sources of a training set: by the recipe, and what a card says of all.

pool: [{path: forum/*.jsonl, license: cc-by-4.0}]
"""

import re
from collections.abc import Iterator

import polars as pl

from curate.config.recipe import Config
from curate.core.escape import code, markdown
from curate.core.jsontypes import JSON
from curate.runs.public_paths import public_path

UNKNOWN = "unknown"
MOST_ORIGINS = 30
# Identifiers that the Hugging Face Hub takes in a card's head; others go under `license_name`.
HUB_LICENCES = """
afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0
c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0
cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 ecl-2.0
epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gemma gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1
lgpl-3.0 llama2 llama3 llama3.1 llama3.2 llama3.3 mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1
openrail osl-3.0 pddl postgresql unlicense wtfpl zlib
"""


def licences_by_source(recipe: Config) -> dict[str, set[str]]:
    """Return the licences that a recipe's pool gives for each source; unknown where it gives none."""
    licences: dict[str, set[str]] = {}
    for entry in recipe.training_files:
        licences.setdefault(entry.source_name, set()).add(entry.license or UNKNOWN)
    return licences


def licence_head(recipe: Config, rows: pl.DataFrame) -> dict[str, JSON]:
    """Return the keys of a card's head: the licence of all sources, none where they differ."""
    given = licences_by_source(recipe)
    sources = rows["source"].unique().to_list()
    licences = {one.lower() for source in sources for one in given.get(source, {UNKNOWN})}
    if len(licences) != 1 or UNKNOWN in licences:
        return {}
    (name,) = licences
    if name in HUB_LICENCES.split():
        return {"license": name}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", name).strip("-")}


def source_lines(recipe: Config, rows: pl.DataFrame) -> Iterator[str]:
    """Yield a table of the sources that rows are from, with licence and place."""
    given = licences_by_source(recipe)
    places: dict[str, list[str]] = {}
    for entry in recipe.training_files:
        revision = f" at {entry.revision}" if entry.revision else ""
        places.setdefault(entry.source_name, []).append(f"{public_path(entry.path)}{revision}")
    counted = rows.group_by("source").len().sort("len", "source", descending=[True, False])
    yield "| source | rows | licence | from |"
    yield "|---|--:|---|---|"
    unknown = []
    for source, count in counted.iter_rows():
        licences = sorted(given.get(source, {UNKNOWN}))
        place = ", ".join(code(one) for one in places.get(source, [])) or "made in the run"
        yield f"| {markdown(source)} | {count:,} | {', '.join(map(markdown, licences))} | {place} |"
        if UNKNOWN in licences:
            unknown.append(markdown(source))
    yield ""
    if unknown:
        yield (
            f"No licence was given for {', '.join(unknown)}: look at the source before you share."
        )
    else:
        yield "Licences are those that the recipe gives for the sources."
    if rows["origin"].is_not_null().any():
        yield from ("", *_origin_lines(rows))


def _origin_lines(rows: pl.DataFrame) -> Iterator[str]:
    """Yield a table of the most frequent origins."""
    counted = rows.select(pl.col("origin").fill_null("(unknown)")).group_by("origin").len()
    counted = counted.sort("len", "origin", descending=[True, False])
    yield from ("| origin | rows |", "|---|--:|")
    for origin, count in counted.head(MOST_ORIGINS).iter_rows():
        yield f"| {markdown(origin)} | {count:,} |"
    if counted.height > MOST_ORIGINS:
        rest = counted[MOST_ORIGINS:]
        yield f"| ({rest.height:,} others) | {rest['len'].sum():,} |"
