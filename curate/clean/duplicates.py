"""Which of similar rows stays: from pairs with similarities to a verdict on every row.

All levels of deduplication end here. A row is dropped only for a row that is itself kept and that is
at least as similar to it as the threshold, so chains (A~B, B~C, A and C unlike) lose B or nothing more.
Pairs are stored from a floor below the threshold on: another threshold, policy or number of rows is
decided anew from them, without comparing a text again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, ValidationError, model_validator
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate.errors import UserError
from curate.reasons import Reason
from curate.registry import Params, StageData, StageResult
from curate.tables import scan_table, with_current_names

Compared = Literal["example", "prompt", "response"]
PAIR_SCHEMA = {
    "row_id": pl.String,
    "other_id": pl.String,
    "similarity": pl.Float64,
    "same": pl.Boolean,
}


class FirstSource(Params):
    """Rows of sources named earlier survive; unnamed sources come last."""

    sources: list[str] = Field(min_length=1)


class HighestScore(Params):
    """Rows with a higher value in an earlier stage's evidence survive; rows without one come last."""

    highest: str = Field(description="STAGE or STAGE.COLUMN; the column is score if not given")

    @property
    def place(self) -> tuple[str, str]:
        """Return stage and column."""
        stage, _, column = self.highest.partition(".")
        return stage, column or "score"


POLICIES: dict[str, type[Params]] = {"sources": FirstSource, "highest": HighestScore}


def _read_policy(value: Any) -> Any:
    """Return a policy from what a recipe says, with one sentence for whatever is none."""
    try:
        if isinstance(value, Mapping) and len(value) == 1:
            return POLICIES[next(iter(value))].model_validate(value)
    except (KeyError, ValidationError):
        pass
    if value in ("earliest", "longest") or isinstance(value, FirstSource | HighestScore):
        return value
    raise ValueError(
        "write earliest, longest, {sources: [gold, web]} or {highest: STAGE.COLUMN} of an earlier stage"
    )


Policy = Literal["earliest", "longest"] | FirstSource | HighestScore
Survivor = Annotated[Policy, BeforeValidator(_read_policy, json_schema_input_type=Policy)]


# What decides on stored pairs, and has no part in finding them.
RETHRESHOLDABLE = ("threshold", "rows", "keep")


class DedupParams(Params):
    """What all stages that compare pairs of rows take."""

    compare: Compared = Field("example", description="whole rows, prompts or responses")
    threshold: float = Field(0.7, gt=0, le=1)
    floor: float = Field(
        0.6,
        gt=0,
        le=1,
        description="pairs are stored from here on, so a threshold can go down to it",
    )
    rows: int | None = Field(
        None, gt=0, description="keep exactly this many rows, dropping the most similar first"
    )
    keep: Survivor = Field("earliest", description="which of similar rows survives")

    @model_validator(mode="after")
    def _check_floor(self) -> "DedupParams":
        if self.floor > self.threshold:
            raise ValueError(
                f"the floor {self.floor} is above the threshold {self.threshold}: pairs are stored "
                "from the floor on, so a recipe needs one that is as low"
            )
        return self


@dataclass(frozen=True)
class Pairs:
    """Pairs of row numbers with their similarity; `same` pairs are equal in all that is compared."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similarity: NDArray[np.float64]
    same: NDArray[np.bool_]


@dataclass(frozen=True)
class Verdicts:
    """For each row the one that it duplicates, -1 if kept; its similarity to that or a kept row."""

    duplicate_of: NDArray[np.int64]
    similarity: NDArray[np.float64]
    threshold: float


def judge_duplicates(
    data: StageData, pairs: pl.DataFrame, params: DedupParams, reason: Reason
) -> StageResult:
    """Return the verdicts on all rows.

    Args:
        data: the stage's data.
        pairs: row_id, other_id, similarity, same (PAIR_SCHEMA), each pair once.
        params: threshold or number of rows, and who survives.
        reason: of the drops.

    Raises:
        UserError: the number of rows cannot be reached, or the policy names evidence that is not there.
    """
    facts = _facts(data, params.keep)
    rank = survival_rank(facts, params.keep, data.evidence)
    verdicts = decide(facts.height, number_pairs(facts["row_id"], pairs), rank, params)
    return StageResult(_evidence(facts["row_id"], verdicts, reason))


def read_pairs(path: Path) -> pl.DataFrame:
    """Return the pairs that a run stored (PAIR_SCHEMA)."""
    return with_current_names(scan_table(path)).collect()


def count_drops(
    data: StageData, pairs: pl.DataFrame, keep: Policy, thresholds: Sequence[float]
) -> list[int]:
    """Return how many rows each threshold drops, as `judge_duplicates` would, from groups built once."""
    facts = _facts(data, keep)
    rank = survival_rank(facts, keep, data.evidence)
    groups = _Groups(facts.height, number_pairs(facts["row_id"], pairs), rank)
    return [int((groups.judge(threshold).duplicate_of >= 0).sum()) for threshold in thresholds]


def _facts(data: StageData, keep: Policy) -> pl.DataFrame:
    """Return row_id and what the policy looks at, in pool order."""
    columns: list[pl.Expr] = [pl.col("row_id")]
    if keep == "longest":
        content = pl.element().struct.field("content")
        columns.append(
            pl.col("messages").list.eval(content.str.len_chars()).list.sum().alias("length")
        )
    if isinstance(keep, FirstSource):
        columns.append(pl.col("source"))
    return data.rows.select(columns).collect()


def survival_rank(
    facts: pl.DataFrame, keep: Policy, evidence: Mapping[str, pl.LazyFrame]
) -> NDArray[np.int64]:
    """Return each row's place in the order of survival, 0 first; ties go to the earlier row.

    Raises:
        UserError: no earlier stage has the named evidence, or it is no number.
    """
    if keep == "earliest":
        return np.arange(facts.height)
    if keep == "longest":
        value = facts["length"].to_numpy().astype(np.float64)
    elif isinstance(keep, FirstSource):
        named = list(dict.fromkeys(keep.sources))
        places = {source: -place for place, source in enumerate(named)}
        value = (
            facts["source"].replace_strict(places, default=-len(places), return_dtype=pl.Float64)
        ).to_numpy()
    else:
        value = _evidence_values(facts["row_id"], keep, evidence)
    order = np.argsort(-value, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _evidence_values(
    ids: pl.Series, keep: HighestScore, evidence: Mapping[str, pl.LazyFrame]
) -> NDArray[np.float64]:
    stage, column = keep.place
    if stage not in evidence:
        stage_names = ", ".join(evidence) or "none ran"
        raise UserError(
            f"keep.highest: no earlier stage is named {stage!r} (there is: {stage_names})"
        )
    schema = evidence[stage].collect_schema()
    if column not in schema or not schema[column].is_numeric():
        numbers = ", ".join(name for name, dtype in schema.items() if dtype.is_numeric())
        raise UserError(
            f"keep.highest: the evidence of {stage!r} has no number {column!r} (it has: {numbers})"
        )
    scores = evidence[stage].select("row_id", value=pl.col(column).cast(pl.Float64)).collect()
    joined = ids.to_frame().join(scores, on="row_id", how="left", maintain_order="left")
    return joined["value"].fill_null(-np.inf).fill_nan(-np.inf).to_numpy()


def number_pairs(ids: pl.Series, pairs: pl.DataFrame) -> Pairs:
    """Return pairs of ids as pairs of positions in `ids`; pairs with other rows are left out."""
    places = ids.to_frame("row_id").with_row_index("first").cast({"first": pl.Int64})
    numbered_pairs = pairs.join(places, on="row_id").join(
        places.rename({"row_id": "other_id", "first": "second"}), on="other_id"
    ).sort("first", "second")  # fmt: skip
    first, second, similarity, same = (
        numbered_pairs[name].to_numpy() for name in ("first", "second", "similarity", "same")
    )
    return Pairs(first, second, similarity, same)


def decide(size: int, pairs: Pairs, rank: NDArray[np.int64], params: DedupParams) -> Verdicts:
    """Return which of `size` rows stay, at the threshold or down to the number of rows asked for.

    Raises:
        UserError: so few rows cannot be reached with the pairs that are stored.
    """
    groups = _Groups(size, pairs, rank)
    if params.rows is None:
        return groups.judge(params.threshold)
    return _judge_to_size(groups, rank, params.rows, params.floor)


def dominate_pairs(pairs: Pairs, free: NDArray[np.bool_], threshold: float) -> NDArray[np.bool_]:
    """Return which of the free rows stay if each goes for a similar kept row before it.

    Args:
        pairs: of row numbers; earlier rows survive.
        free: which rows take part [N].
        threshold: similarity from which on a row goes.
    """
    # Rows without a part come last, where they drop none, but still link those that are the same.
    rank = np.arange(len(free)) + np.where(free, 0, len(free))
    duplicate_of = _Groups(len(free), pairs, rank).judge(threshold).duplicate_of
    return free & (duplicate_of < 0)


class _Groups:
    """Rows that are the same to the comparison, taken together, and the pairs between groups."""

    def __init__(self, size: int, pairs: Pairs, rank: NDArray[np.int64]) -> None:
        links = coo_array(
            (np.ones(int(pairs.same.sum())), (pairs.first[pairs.same], pairs.second[pairs.same])),
            shape=(size, size),
        )
        count, label = connected_components(links, directed=False)
        by_rank = np.argsort(rank)
        best = np.full(count, -1)
        best[label[by_rank[::-1]]] = by_rank[::-1]
        order = np.argsort(rank[best])
        place = np.empty(count, dtype=np.int64)
        place[order] = np.arange(count)
        # Groups are numbered by the survival of their best row from here on.
        self.of_row: NDArray[np.int64] = place[label]
        self.best_row: NDArray[np.int64] = best[order]
        ends = np.stack([self.of_row[pairs.first], self.of_row[pairs.second]])[:, ~pairs.same]
        between = ends[0] != ends[1]
        self.better, self.worse = ends.min(axis=0)[between], ends.max(axis=0)[between]
        self.similarity = pairs.similarity[~pairs.same][between]

    def judge(self, threshold: float) -> Verdicts:
        """Keep every group that no kept better group is similar to."""
        return self.tell(self.dominate(np.flatnonzero(self.similarity >= threshold)), threshold)

    def tell(self, kept: NDArray[np.bool_], threshold: float) -> Verdicts:
        """Return the verdicts on all rows when these groups are kept."""
        duplicate_group, similarity = self._nearest(kept)
        duplicate_of = np.where(duplicate_group >= 0, self.best_row[duplicate_group], -1)[
            self.of_row
        ]
        near = similarity[self.of_row]
        heads = self.best_row[self.of_row]
        copies = (duplicate_of < 0) & (heads != np.arange(len(duplicate_of)))
        duplicate_of[copies], near[copies] = heads[copies], 1.0
        return Verdicts(duplicate_of, near, threshold)

    def dominate(self, strong: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which groups are kept if the pairs with these numbers count as similar.

        A group without a better similar group that is undecided or kept stays; one with a kept one
        goes. Each round decides all groups that it can, so the result is that of going through the
        groups one by one, best first.
        """
        better, worse = self.better[strong], self.worse[strong]
        count = len(self.best_row)
        kept, decided = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
        while len(worse):
            waits = np.zeros(count, dtype=np.bool_)
            waits[worse] = True
            kept |= ~decided & ~waits
            decided |= kept
            decided[worse[kept[better]]] = True
            open_ = ~decided[worse] & ~decided[better]
            better, worse = better[open_], worse[open_]
        return kept | ~decided

    def _nearest(self, kept: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return for each group the kept better group most similar to it, and the similarity.

        The group is -1 where it is kept itself.
        """
        from_kept = kept[self.better]
        better, worse = self.better[from_kept], self.worse[from_kept]
        similarity = self.similarity[from_kept]
        order = np.lexsort((better, -similarity, worse))
        worse, first = np.unique(worse[order], return_index=True)
        duplicate_of = np.full(len(kept), -1, dtype=np.int64)
        near = np.zeros(len(kept))
        near[worse] = similarity[order][first]
        duplicate_of[worse] = better[order][first]
        duplicate_of[kept] = -1
        return duplicate_of, near


def _judge_to_size(groups: _Groups, rank: NDArray[np.int64], rows: int, lowest: float) -> Verdicts:
    """Let weaker and weaker pairs count until no more than `rows` stay; take back drops beyond.

    Pairs count one by one, among equal ones those of the worst group first, so that ties do not drop
    too much. Where one pair costs several rows, the least similar drops are taken back, which leaves
    all others valid: none of them duplicates such a row.
    """
    strongest = np.lexsort((groups.better, -groups.worse, -groups.similarity))
    few, many = 0, int((groups.similarity >= lowest).sum())
    kept = groups.dominate(strongest[:many])
    left = int(kept.sum())
    if left > min(rows, len(rank)):
        raise UserError(
            f"cannot go down to {rows:,} rows: {left:,} are left when every pair with a similarity "
            f"of {lowest:.4g} or more has lost a row; ask for more rows or lower `floor`"
        )
    while few < many:
        middle = (few + many) // 2
        tried = groups.dominate(strongest[:middle])
        if tried.sum() <= rows:
            many, kept = middle, tried
        else:
            few = middle + 1
    threshold = float(groups.similarity[strongest[many - 1]]) if many else 1.0
    verdicts = groups.tell(kept, threshold)
    dropped = np.flatnonzero(verdicts.duplicate_of >= 0)
    # A copy equals the best row of its group, which is therefore taken back before it.
    is_copy = groups.best_row[groups.of_row[dropped]] != dropped
    near = np.where(is_copy, 1.0, verdicts.similarity[dropped])
    order = dropped[np.lexsort((rank[dropped], near))]
    duplicate_of = verdicts.duplicate_of.copy()
    duplicate_of[order[: min(rows, len(rank)) - int(kept.sum())]] = -1
    return Verdicts(duplicate_of, verdicts.similarity, threshold)


def _evidence(ids: pl.Series, verdicts: Verdicts, reason: Reason) -> pl.DataFrame:
    dropped = verdicts.duplicate_of >= 0
    names = ids.gather(np.where(dropped, verdicts.duplicate_of, 0)) if len(ids) else ids
    drop = pl.col("drop")
    return pl.DataFrame(
        {"row_id": ids, "drop": dropped, "score": verdicts.similarity, "name": names}
    ).select(
        "row_id",
        keep=~drop,
        reason=pl.when(drop).then(pl.lit(reason.value)),
        score=pl.col("score"),
        threshold=pl.lit(verdicts.threshold),
        duplicate_of=pl.when(drop).then("name"),
    )


def compared_text(compare: Compared) -> pl.Expr:
    """Return what of a row is compared: the texts of its turns but the system's, a line break between.

    The prompt is all of them but the last, which is the response.
    """
    turn = pl.element().struct
    turn_text = pl.when(turn.field("role") != "system").then(turn.field("content")).drop_nulls()
    turns = pl.col("messages").list.eval(turn_text)
    if compare == "response":
        return turns.list.last()
    chosen = turns.list.slice(0, turns.list.len() - 1) if compare == "prompt" else turns
    return chosen.list.join("\n")


def pair_table(ids: pl.Series, pairs: Pairs) -> pl.DataFrame:
    """Return pairs of positions in `ids` as a table of ids (PAIR_SCHEMA)."""
    columns: dict[str, Any] = {
        "row_id": ids.gather(pairs.first),
        "other_id": ids.gather(pairs.second),
        "similarity": pairs.similarity,
        "same": pairs.same,
    }
    return pl.DataFrame(columns, schema=PAIR_SCHEMA)
