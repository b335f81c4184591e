"""The page of a bundle: verdict, funnel, recipe, rows and map of a run in one file."""

from dataclasses import dataclass

import orjson
import yaml
from markupsafe import Markup

from curate.proof.contamination import leaks_clause
from curate.proof.outcome import HEADS
from curate.report.embedded_rows import EmbeddedRows, RowLimits, gather_embedded_rows
from curate.report.wording import NO_PROOF
from curate.runs.folder import RunFolder
from curate.runs.funnel import Funnel, gather_funnel
from curate.runs.public_paths import with_public_paths
from curate.runs.vectors import find_vectors
from curate.runs.verdict_text import ProofFigures, read_verdict
from curate.view.comparepage import interval_lines
from curate.view.context import ViewContext
from curate.view.inlined import inline_parts
from curate.view.mapbrush import MapQuery
from curate.view.mapfigures import categories, points_columns
from curate.view.maptable import RowMap, lay_out

# Rows and points together stay below ten million bytes.
LIMITS = RowLimits(most_bytes=8_500_000, following=10**9, prompt=4_000, response=4_000)
MOST_POINTS = 20_000
# What only the machine knows that made the run.
OWN = ("store", "out", "run", "track")


@dataclass(frozen=True)
class BundleContent:
    """What a bundle shows of a run."""

    run: RunFolder
    funnel: Funnel
    rows: EmbeddedRows
    row_map: RowMap | None


def gather_bundle(run: RunFolder) -> BundleContent:
    """Return what a bundle shows of a run; no map where it stored no vectors or lost its rows."""
    row_map = None
    if run.rows("pool") is not None:
        stored = find_vectors(run)
        if stored.spaces:
            row_map = lay_out(run, stored, stored.spaces[0], MOST_POINTS)
    return BundleContent(run, gather_funnel(run), gather_embedded_rows(run, LIMITS), row_map)


def render_bundle(content: BundleContent) -> str:
    """Return the page."""
    run, row_map = content.run, content.row_map
    proof = read_verdict(run)
    page = ViewContext(run).templates.get_template("bundle.html.j2")
    return page.render(
        run=run,
        name=run.manifest["name"],
        ended=str(run.manifest.get("run", {}).get("ended", ""))[:10],
        versions=run.manifest.get("versions", {}),
        funnel=content.funnel,
        proof=proof,
        leaking=_is_leaking(proof),
        heading=_heading(proof),
        intervals=interval_lines(proof) if proof else [],
        recipe=public_recipe(run),
        rows=content.rows,
        whole=all(one.held == one.rows for one in content.rows.counts),
        data=Markup(content.rows.data),
        row_map=row_map,
        categories=categories(row_map.points, MapQuery()) if row_map else [],
        points=Markup(_points(row_map)) if row_map else "",
        parts=inline_parts(),
    )


def _is_leaking(proof: ProofFigures | None) -> bool:
    return proof is not None and "leaks" in proof and any(proof["leaks"]["leaking_rows"].values())


def _heading(proof: ProofFigures | None) -> str:
    """Return the verdict in a few words."""
    if proof is None:
        return NO_PROOF
    verdict = HEADS.get(proof["verdict"], proof["verdict"].capitalize())
    return f"{verdict}, but {leaks_clause(proof['leaks'])}" if _is_leaking(proof) else verdict


def public_recipe(run: RunFolder) -> str:
    """Return the recipe as YAML, without the folders of the machine that the run was made on."""
    settings = {key: value for key, value in run.manifest["config"].items() if key not in OWN}
    settings = with_public_paths({k: v for k, v in settings.items() if v not in (None, [], {})})
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _points(row_map: RowMap) -> str:
    """Return the points as JSON that may stand within a script element."""
    points = row_map.points
    columns = {
        **points_columns(points, "fate"),
        "id": points["row_id"].to_list(),
        "source": points["source"].fill_null("").to_list(),
    }
    data = orjson.dumps(columns, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
