"""Groups of rows: by source, origin, a field of their records, or a column of a stage's evidence.

    source | origin | meta.FIELD | STAGE.COLUMN      such as rules.response_language

A row without an origin is of its source's group; one without any other value is of the group `none`.
"""

from typing import Annotated

import polars as pl
from pydantic import StringConstraints

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.run import ScoreRun
from curate.core.tables import table_schema

By = Annotated[str, StringConstraints(pattern=r"^(source|origin|[\w-]+\.\w+)$")]
BY = "source, origin, meta.FIELD or STAGE.COLUMN; a row without origin: its source"
META = "meta."
NONE = "none"


def group_evidence(run: ScoreRun, by: str, key: str = "by") -> Table | None:
    """Return the evidence that groups are made by; None if they are made by the rows themselves.

    Args:
        run: has the evidence of its stages.
        by: what makes the groups.
        key: where the recipe says so, for errors.

    Raises:
        UserError: the recipe has no such stage, or its evidence no such column.
    """
    stage, dot, column = by.partition(".")
    if not dot or by.startswith(META):
        return None
    if stage not in run.evidence:
        stages = ", ".join(run.evidence) or "none"
        raise UserError(
            f"select.{key}: {by}: no stage {stage!r} before the selection; there are: {stages}"
        )
    columns = table_schema(run.evidence[stage].path)
    if column not in columns:
        raise UserError(
            f"select.{key}: evidence of {stage!r} has no column {column!r}; "
            f"there are: {', '.join(columns)}"
        )
    return run.evidence[stage]


def read_groups(rows: Table, kept: Table, by: str, evidence: Table | None = None) -> pl.DataFrame:
    """Return row_id and group of the kept rows, in pool order.

    Args:
        rows: the pool.
        kept: the rows to group.
        by: what makes the groups.
        evidence: that of the stage which `by` names.

    Raises:
        UserError: no row has the field.
    """
    table = rows.scan().join(
        kept.scan().select("row_id"), on="row_id", how="semi", maintain_order="left"
    )
    column = by.partition(".")[2]
    if evidence is not None:
        values = evidence.scan().select("row_id", group=pl.col(column).cast(pl.String))
        table = table.join(values, on="row_id", how="left", maintain_order="left")
        group = pl.col("group")
    elif column:
        group = pl.col("meta").str.json_path_match(f"$.{column}")
    else:
        group = pl.coalesce(by, "source")
    frame = table.select("row_id", group=group.fill_null(NONE)).collect()
    if column and frame.height and (frame["group"] == NONE).all():
        raise UserError(f"select.by: no kept row has a value of {by}")
    return frame
