"""Sources: which groups of rows to take from, before which rows.

Groups are ranked by how near they are to the target examples (curate.selectors.group_measures), and rows
of the first ones alone are ranked, by any other method. `trial` measures what the cheap measures guess:
brief fine-tunes on the groups that rank first (curate.selectors.trials). Then the helpful ones among
these come first, by their effect on the target examples, and the neutral ones after them, as the measure
ranks them; no other group is kept, and none that is harmful.

Published: sources ranked by mean embeddings (Poth et al. 2021, arXiv:2104.08247, a regret@3 below 1 %),
and the trials (see there). Derived: `keep: coverage`, after Xu et al. 2024 (arXiv:2402.15017), who take
tasks near the target while these add to its coverage. Here groups are taken in their order until one has
no row that is nearer to some target example than all rows before it.

Cost: that of the measures, and of `within` for the rows of the kept groups. The trials are
top x seeds + 4 fine-tunes on as many rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.calls import Table, cached, cached_files
from curate.core.jsontypes import JSON
from curate.core.methods import method, methods_in
from curate.core.params import suggest_key
from curate.core.run import ScoreRun, target_of
from curate.core.runrecord import SelectionRecord
from curate.core.section import Section
from curate.core.selector import Selector
from curate.core.store import Counts
from curate.core.workload import TRAINING_COST, Workload
from curate.selectors.group_measures import Measure, measures, row_groups
from curate.selectors.groups import BY, By, group_evidence
from curate.selectors.parts import part_of, ranks_of, read_part
from curate.selectors.pool_target import embed_pool_and_target
from curate.selectors.source_choice import choices
from curate.selectors.sources_section import sources_section
from curate.selectors.trials import MAX_LENGTH, Trial, check_trial, try_groups

VERSION = 1
OWN: tuple[str, ...] = ()
# How many groups are kept is known before a run, how many rows these have is not.
SHARE = 0.5


@method
class SourcesSelector(Selector):
    """Rows of the groups (sources, languages ...) that are nearest to the target, or help it most."""

    title: ClassVar[str] = "a choice of sources"
    version: ClassVar[int] = VERSION
    evidence_keys: ClassVar[tuple[str, ...]] = ("by",)
    needs_target: ClassVar[bool] = True

    method: Literal["sources"] = "sources"
    by: By = Field("source", description=BY)
    measure: list[Measure] = Field(
        ["embedding", "ngrams"],
        min_length=1,
        description="how near a group is to the target: embedding (cosine of means), ngrams "
        "(Jensen-Shannon), mmd; the first one ranks the groups",
    )
    trial: Trial | None = Field(
        None, description="fine-tune on each of the nearest groups, and keep the helpful ones first"
    )
    keep: int | Literal["coverage"] = Field(
        3,
        description="so many groups; coverage: until one has no row nearer to a target example",
    )
    within: dict[str, Any] = Field(
        {"method": "rds"},
        description="a method with its parameters, which ranks the rows of the kept groups",
        examples=[{"method": "embed"}],
    )
    embedder: str | None = Field(
        None,
        description="static, minilm, a folder or a hub id; models.embedder if not given",
        examples=["minilm"],
    )

    @model_validator(mode="after")
    def _check(self) -> "SourcesSelector":
        name = str(self.within.get("method"))
        if name not in methods_in(Selector):
            raise ValueError(f"within: {suggest_key(name, sorted(methods_in(Selector)))}")
        read_part("within", {**self.within, "budget": {"rows": 1}})
        if len(set(self.measure)) < len(self.measure):
            raise ValueError("measure: each of them once")
        if self.keep != "coverage":
            if self.keep < 1:
                raise ValueError(f"keep must be 1 or more groups, or coverage (got {self.keep})")
            if self.trial is not None and self.trial.top < self.keep:
                raise ValueError(
                    f"trial.top is {self.trial.top}, and only groups that are tried can be kept: "
                    f"give top: {self.keep} or more"
                )
        return self

    def members(self) -> Sequence[tuple[Selector, float]]:
        """Return itself, and the method that ranks the rows of the kept groups."""
        inner = part_of(self.within, OWN).members()
        return [(self, 1.0), *((one, SHARE * share) for one, share in inner)]

    def cost(self, rows: int) -> Workload:
        """Return the embedding of all rows, and the trials."""
        learned = 0 if self.trial is None else round(TRAINING_COST * self.trial.learned_rows())
        length = None if self.trial is None else MAX_LENGTH
        return Workload(
            read_rows=learned, max_length=length, embedded_rows=rows, embedder=self.embedder
        )

    def score_rows(self, run: ScoreRun) -> Table:
        """Measure the groups, try some of them, and rank the rows of those that are kept."""
        groups, choice = self.choose(run)
        inner = part_of(self.within, OWN)
        ranked = inner.score_rows(run.with_kept(run(rows_of, groups, choice)))
        scores = run(write_scores, groups, choice, ranked, self.within, run.seed, inner.version)
        return Table(scores, "scores")

    def choose(self, run: ScoreRun) -> tuple[Table, Table]:
        """Return the rows with their groups, and the groups with measures, trials and choice.

        Raises:
            UserError: no effect of a trial could have an interval.
        """
        if self.trial is not None:
            check_trial(self.trial, target_of(run))
        groups = run(row_groups, run.rows, run.kept, self.by, group_evidence(run, self.by))
        embedded = embed_pool_and_target(run, "example", self.embedder)
        measured = run(measures, run.rows, run.tokens, groups, embedded, self.measure)
        effects = self._try(run, groups, measured)
        return groups, run(choices, measured, self.measure[0], self.keep, effects)

    def _try(
        self, run: ScoreRun, groups: Table, measured: Table
    ) -> Mapping[str, Sequence[float | None]] | None:
        if self.trial is None:
            return None
        order = measured.read().sort(f"{self.measure[0]}_rank", "group")["group"].to_list()
        names, members = order[: self.trial.top], groups.read(["row_id", "group"])
        effects = try_groups(run, run.rows, target_of(run), members, self.trial, names)
        return {name: [one.mean, one.low, one.high] for name, one in effects.items()}

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers in the order of the method within."""
        return scores["place"].arg_sort().to_numpy().astype(np.int64)

    def unscored(self, scores: pl.DataFrame) -> pl.Series:
        """Return why a row's group is not kept, or why the method within has no score for the row."""
        return scores["reason"]

    def section(self, record: SelectionRecord) -> Section | None:
        """Return the groups with their measures, and the scores of the method within."""
        return sources_section(record)


@cached(version=VERSION, name="kept-sources", title="Keep the rows of some groups")
def rows_of(groups: Table, choice: Table) -> pl.DataFrame:
    """Return row_id and position of the rows of the kept groups, in pool order."""
    kept = choice.scan().filter("kept").select("group")
    rows = groups.scan().join(kept, on="group", how="semi", maintain_order="left")
    return rows.select("row_id", "position").collect()


@cached_files(version=VERSION, name="score-sources")
def write_scores(
    out: Path,
    groups: Table,
    choice: Table,
    ranked: Table,
    within: Mapping[str, JSON],
    seed: int,
    version: int,
) -> Counts:
    """Write scores.parquet (row_id, group, score, nearest_id, place, reason), and groups.parquet.

    Score, nearest_id and place are those of the method within, whose version is given; reason says why
    it has no score for a row, or why the row's group is not kept.
    """
    table, chosen = groups.read(["row_id", "group"]), choice.read()
    ranks = ranks_of(ranked.read(), within, OWN, seed)
    frame = table.join(
        ranks.rename({"reason": "own"}), on="row_id", how="left", maintain_order="left"
    ).join(chosen.select("group", "reason"), on="group", how="left", maintain_order="left")
    frame = frame.with_columns(reason=pl.coalesce("own", "reason")).drop("own")
    frame.write_parquet(out / "scores.parquet")
    chosen.drop("nearest").write_parquet(out / "groups.parquet")
    kept = int(chosen["kept"].sum())
    return {
        "rows_in": frame.height,
        "rows_out": frame.height,
        "groups": chosen.height,
        "kept": kept,
    }
