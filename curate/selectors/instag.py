"""InsTag: rows of many tags first, and each of them for a tag that the round has not had.

    {method: tags, engine: {...}}             the stage before it
    {method: instag}                          reads tags.tags

Published (Lu et al. 2023, "#InsTag", arXiv:2308.07074, complexity-first diverse sampling): rows are
sorted by their number of tags, most first. A round goes down the rows that are left and takes a row if
it has a tag that no row of the round has; at the end of the rows the next round starts with no tags.

    rows abc, ab, bd, d, a   ->   round 1: abc, bd; round 2: ab, d; round 3: a

Score: the number of a row's tags. Ours: of equally many the smaller row_id comes first; rows without a
tag come last, and rows that were not tagged have no score. Every row has its place, so another budget
takes nothing new.

Cost: what a round takes is the first row that is left of every tag, so no round passes over the rows,
and there is one step for each tag of each row: 0.2 s of a core for 100,000 rows of 5 tags. Pitfalls: the
number of tags grows with how long an instruction is and how wordy the tagger; rows of one rare tag wait
until a round has nothing else.
"""

from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.selectors.groups import group_evidence

VERSION = 1
DIVIDER = ";"


@method
class InstagSelector(Selector):
    """Rows of many tags, each for a tag that the round has not had."""

    title: ClassVar[str] = "InsTag"
    version: ClassVar[int] = VERSION
    evidence_keys: ClassVar[tuple[str, ...]] = ("tags",)

    method: Literal["instag"] = "instag"
    tags: str = Field(
        "tags.tags",
        pattern=r"^[\w-]+\.\w+$",
        description='STAGE.COLUMN of a row\'s tags, divided by ";"',
    )

    def score_rows(self, run: ScoreRun) -> Table:
        """Store the order of all kept rows.

        Raises:
            UserError: the recipe has no such stage, or its evidence no such column.
        """
        evidence = group_evidence(run, self.tags, "tags")
        if evidence is None:
            raise UserError(f"select.tags: {self.tags} is no column of a stage: write STAGE.COLUMN")
        return run(scores, run.kept, evidence, self.tags.partition(".")[2])

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers in the order of rounds."""
        return scores["place"].arg_sort().to_numpy().astype(np.int64)


@cached(version=VERSION, name="score-instag")
def scores(kept: Table, evidence: Table, column: str) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id (null), reason, place, round (null for rows without a tag)."""
    tags = evidence.scan().select("row_id", text=pl.col(column).cast(pl.String))
    table = kept.scan().select("row_id").join(tags, on="row_id", how="left").collect()
    each = pl.col("text").str.split(DIVIDER).list.eval(pl.element().str.strip_chars())
    each = each.list.eval(pl.element().filter(pl.element() != "")).list.unique(maintain_order=True)
    table = table.with_columns(tags=each).with_columns(number=pl.col("tags").list.len())
    # Rows that were not tagged come last of all.
    table = table.sort("number", "row_id", descending=[True, False], nulls_last=True)
    rounds = deal_rounds(table["tags"])
    ordered = table.with_columns(
        round=pl.Series(rounds).set(pl.Series(rounds == 0), None).cast(pl.Int32)
    )
    frame = ordered.sort("round", nulls_last=True, maintain_order=True).select(
        "row_id",
        score=pl.col("number").cast(pl.Float64),
        nearest_id=pl.lit(None, dtype=pl.String),
        reason=pl.when(pl.col("number").is_null()).then(pl.lit(f"no {column}")),
        place=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        round="round",
    )
    counts = {
        "rounds": int(rounds.max(initial=0)),
        "tags": table["tags"].explode().drop_nulls().n_unique(),
    }
    return Counted(frame, counts)


def deal_rounds(tags: pl.Series) -> NDArray[np.int64]:
    """Return the round in which each row is taken [N], from 1; 0 for rows without a tag.

    A round takes the first row that is left of every tag, and no other: a row further down has a new tag
    only if no row before it has that tag, since one that was passed over has none that is new.

    Args:
        tags: the list of each row's, best row first.
    """
    places = pl.DataFrame({"tag": tags}).with_row_index("row").explode("tag").drop_nulls()
    places = places.select("row", tag=pl.col("tag").rank("dense")).sort("tag", "row")
    rows = places["row"].to_numpy()
    # Of each tag the place of the first row that is left, and where its rows end.
    heads = np.flatnonzero(np.diff(places["tag"].to_numpy().astype(np.int64), prepend=0))
    ends = np.append(heads[1:], [len(rows)] * min(len(heads), 1))
    rounds = np.zeros(len(tags), dtype=np.int64)
    number = 0
    while len(heads) > 1:
        number += 1
        rounds[rows[heads]] = number
        _pass_over(heads, ends, rows, rounds)
        left = heads < ends
        heads, ends = heads[left], ends[left]
    for head, end in zip(heads, ends, strict=True):
        last = rows[head:end][rounds[rows[head:end]] == 0]
        rounds[last] = number + 1 + np.arange(len(last))
    return rounds


def _pass_over(
    heads: NDArray[np.int64],
    ends: NDArray[np.int64],
    rows: NDArray[np.uint32],
    rounds: NDArray[np.int64],
) -> None:
    """Move the place of each tag to the next row that no round has taken, or to its end."""
    taken = np.arange(len(heads))
    while len(taken):
        heads[taken] += 1
        inside = taken[heads[taken] < ends[taken]]
        taken = inside[rounds[rows[heads[inside]]] > 0]
