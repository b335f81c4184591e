"""Which of similar rows stays: from pairs with similarities to a verdict on every row.

All levels of deduplication end here. A row is dropped only for a row that is itself kept and that is
at least as similar to it as the threshold, so chains (A~B, B~C, A and C unlike) lose B or nothing more.
Pairs are stored from a floor below the threshold on: another threshold, policy or number of rows is
decided anew from them, without comparing a text again.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from curate.core.errors import UserError
from curate.core.params import Params
from curate.core.preferences import is_pair
from curate.core.reasons import Reason
from curate.core.stage import StageData, StageResult
from curate.core.tables import TableFile, with_current_names
from curate.core.turntext import text_of_turn
from curate.text.compared import Compared
from curate.text.pairs import DuplicateGroups, DuplicateVerdicts, Pairs, judge_to_size, number_pairs


class FirstSource(Params):
    """Rows of sources named earlier survive; unnamed sources come last."""

    sources: list[str] = Field(
        min_length=1,
        description="the source whose rows survive first, then the next",
        examples=[["gold", "web"]],
    )


class HighestScore(Params):
    """Rows with a higher value in an earlier stage's evidence survive; rows without one come last."""

    highest: str = Field(
        description="STAGE or STAGE.COLUMN; the column is score if not given",
        examples=["exact.score"],
    )

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
    threshold: float = Field(
        0.7, gt=0, le=1, description="similarity from which a row is a duplicate"
    )
    floor: float = Field(
        0.6,
        gt=0,
        le=1,
        description="pairs are stored from here on, so a threshold can go down to it",
    )
    rows: int | None = Field(
        None,
        gt=0,
        description="keep exactly this many rows, dropping the most similar first",
        examples=[50000],
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
    facts = _facts(data, params.keep, pairs)
    rank = survival_rank(facts, params.keep, data.evidence)
    size = data.rows.select(pl.len()).collect().item()
    verdicts = decide(size, number_pairs(facts["row_id"], pairs), rank, params)
    return StageResult(_evidence(data.rows, facts["row_id"], verdicts, reason))


def read_pairs(pairs: TableFile) -> pl.DataFrame:
    """Return the pairs that a run stored (PAIR_SCHEMA)."""
    return with_current_names(pairs.scan()).collect()


def count_drops(
    data: StageData, pairs: pl.DataFrame, keep: Policy, thresholds: Sequence[float]
) -> list[int]:
    """Return how many rows each threshold drops, as `judge_duplicates` would, from groups built once."""
    facts = _facts(data, keep, pairs)
    rank = survival_rank(facts, keep, data.evidence)
    groups = DuplicateGroups(facts.height, number_pairs(facts["row_id"], pairs), rank)
    return [int((groups.judge(threshold).duplicate_of >= 0).sum()) for threshold in thresholds]


def _facts(data: StageData, keep: Policy, pairs: pl.DataFrame) -> pl.DataFrame:
    """Return row_id and what the policy looks at of the rows with a pair, in pool order.

    The others stay whatever the policy is, and are most.
    """
    pair = is_pair() if "rejected" in data.rows.collect_schema() else pl.lit(False)
    columns: list[pl.Expr] = [pl.col("row_id"), pair.alias("pair")]
    if keep == "longest":
        length = text_of_turn().str.len_chars()
        columns.append(pl.col("messages").list.eval(length).list.sum().alias("length"))
    if isinstance(keep, FirstSource):
        columns.append(pl.col("source"))
    paired = pl.concat([pairs["row_id"], pairs["other_id"].rename("row_id")]).unique().to_frame()
    rows = data.rows.join(paired.lazy(), on="row_id", how="semi", maintain_order="left")
    return rows.select(columns).collect()


def survival_rank(
    facts: pl.DataFrame, keep: Policy, evidence: Mapping[str, pl.LazyFrame]
) -> NDArray[np.int64]:
    """Return each row's place in the order of survival, 0 first; ties go to the earlier row.

    Preference pairs come first under any policy: a row without a rejected answer says less.

    Raises:
        UserError: no earlier stage has the named evidence, or it is no number.
    """
    if keep == "earliest":
        value = np.zeros(facts.height)
    elif keep == "longest":
        value = facts["length"].to_numpy().astype(np.float64)
    elif isinstance(keep, FirstSource):
        named = list(dict.fromkeys(keep.sources))
        places = {source: -place for place, source in enumerate(named)}
        value = (
            facts["source"].replace_strict(places, default=-len(places), return_dtype=pl.Float64)
        ).to_numpy()
    else:
        value = _evidence_values(facts["row_id"], keep, evidence)
    order = np.lexsort((-value, ~facts["pair"].to_numpy()))
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


def decide(
    size: int, pairs: Pairs, rank: NDArray[np.int64], params: DedupParams
) -> DuplicateVerdicts:
    """Return which of the ranked rows stay, at the threshold or down to the number of rows asked for.

    Args:
        size: of the pool; rows that have no rank have no pair, and stay.
        pairs: of ranked rows.
        rank: of each row its place in the order of survival.
        params: threshold or number of rows.

    Raises:
        UserError: so few rows cannot be reached with the pairs that are stored.
    """
    groups = DuplicateGroups(len(rank), pairs, rank)
    if params.rows is None:
        return groups.judge(params.threshold)
    return judge_to_size(groups, rank, params.rows, params.floor, size - len(rank))


def _evidence(
    rows: pl.LazyFrame, ids: pl.Series, verdicts: DuplicateVerdicts, reason: Reason
) -> pl.LazyFrame:
    """Return the verdicts on all rows, of which those with these ids were compared."""
    dropped = verdicts.duplicate_of >= 0
    names = ids.gather(np.where(dropped, verdicts.duplicate_of, 0)) if len(ids) else ids
    judged = pl.DataFrame(
        {"row_id": ids, "drop": dropped, "score": verdicts.similarity, "name": names}
    )
    drop = pl.col("drop").fill_null(value=False)
    return (
        rows.select("row_id")
        .join(judged.lazy(), on="row_id", how="left", maintain_order="left")
        .select(
            "row_id",
            keep=~drop,
            reason=pl.when(drop).then(pl.lit(reason.value)),
            score=pl.col("score").fill_null(0.0),
            threshold=pl.lit(verdicts.threshold),
            duplicate_of=pl.when(drop).then("name"),
        )
    )
