"""Stage ablation: what each stage of a recipe earned, by training on the selection made without it.

    ablation.json       stages: rows dropped, back and changed; what the stage earned, with its interval
    ablation.parquet    arm (without-STAGE), seed, eval_id, metrics
    ablation-rows.parquet    arm (STAGE), seed, row_id: the selections that leaving a stage out changes

A selection without a stage (pipeline.ablation makes it) is trained as often as the selection and by the
same seeds, so that two trainings are a pair and differ in their rows alone. Where nothing changes in the
selection, nothing is trained. Rows that come back may hold prompts of the eval or a watch set; with such
a row in it a selection would be praised for its memory, so it is not trained either, unless
`allow_leaks` is set.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.core.calls import Counted, Table, cached, cached_files
from curate.core.store import Artifact, Counts, write_json
from curate.proof.contamination import leaks_into
from curate.proof.described import StageValues
from curate.proof.design import ProofDesign
from curate.proof.earnings import describe_ablation, without_name
from curate.proof.metrics import deciding_metric
from curate.proof.results import (
    TrainedModels,
    gather_results,
    scored_examples,
    tuned_name,
    tuned_names,
)
from curate.proof.training import FineTunes, Training
from curate.proof.values import MetricSetting

LOG = logging.getLogger("curate")
VERSION = 1
FILE, TABLE, ROWS = "ablation.json", "ablation.parquet", "ablation-rows.parquet"


@dataclass(frozen=True)
class AblatedStage:
    """A stage of a recipe, what it did to rows, and the selection that is made without it.

    new_rows: that it made, which are left out with it. back: rows that are selected from without it
    alone. unjudged: later stages, by name, that have not judged these. guards: what it keeps out of all
    that is trained on, for which it is never left out. ranking: None where it stays, and where what is
    selected from does not change.
    """

    stage: str
    dropped: int
    new_rows: int
    back: int
    unjudged: list[str]
    guards: str | None
    ranking: Table | None

    def describe(self, changed: int, leaking: int) -> StageValues:
        """Return what proof.json has of it before anything is trained."""
        return {
            "stage": self.stage,
            "dropped": self.dropped,
            "new_rows": self.new_rows,
            "back": self.back,
            "unjudged": self.unjudged,
            "guards": self.guards,
            "changed": changed,
            "leaking": leaking,
        }


def ablate(
    training: Training,
    stages: Sequence[AblatedStage],
    selection: Table,
    held_out: tuple[Table, Table | None],
    models: TrainedModels,
    design: ProofDesign,
) -> Artifact:
    """Train without one stage at a time, and return the artifact of what each of them earned.

    Args:
        training: that of the proof.
        stages: of the recipe.
        selection: the ranking.
        held_out: the eval set and the watch sets, as they were given.
        models: of the proof.
        design: of the proof.
    """
    run = training.run
    rankings = {stage.stage: stage.ranking for stage in stages if stage.ranking is not None}
    listed = run(arms, selection, rankings)
    leaks = leaks_into(run, listed, held_out, "ablation-leaks", design.prove)
    changed = listed.read()
    leaking = {} if design.prove["allow_leaks"] else count_leaking(changed, leaks)
    calls = _calls(training, changed.filter(~pl.col("arm").is_in([*leaking])), design.runs)
    LOG.info("proof: %d more fine-tunes without a stage", len({c.key for c in calls.values()}))
    models |= training.tune(calls)
    ablation = _ablation(training, models, [*calls], stages, listed, leaking, design)
    LOG.info("proof: ablation: %s", ablation.counts["sentence"])
    return ablation


@cached(version=VERSION, name="ablation-arms")
def arms(selection: Table, rankings: Mapping[str, Table]) -> Counted[pl.DataFrame]:
    """Return arm (a stage), seed, row_id in rank order of the selections that change without a stage.

    Args:
        selection: the run's own ranking.
        rankings: those without a stage, by the names of the stages.
    """
    own = _selected(selection)
    parts = [pl.DataFrame(schema={"arm": pl.String, "seed": pl.Int64, "row_id": pl.String})]
    changed = {}
    for stage, ranking in rankings.items():
        rows = _selected(ranking)
        # Rows that came into the place of others, or beside them.
        new, lost = (~rows.is_in(own.implode())).sum(), (~own.is_in(rows.implode())).sum()
        changed[stage] = int(max(new, lost))
        if changed[stage]:
            labels = {"arm": [stage] * len(rows), "seed": [0] * len(rows)}
            parts.append(pl.DataFrame({**labels, "row_id": rows}))
    return Counted(pl.concat(parts), {"changed": changed})


def _selected(ranking: Table) -> pl.Series:
    return ranking.read().filter("selected")["row_id"]


def count_leaking(arms: pl.DataFrame, leaks: pl.DataFrame) -> dict[str, int]:
    """Return how many rows of each selection hold prompts of held-out sets, of those with any."""
    counts = arms.filter(pl.col("row_id").is_in(leaks["row_id"].implode())).group_by("arm").len()
    return dict(counts.sort("arm").iter_rows())


def _calls(training: Training, arms: pl.DataFrame, runs: Mapping[str, int]) -> FineTunes:
    """Return the fine-tunes without a stage, by name, with the seeds of the selection's."""
    calls = {}
    for (stage,), part in arms.group_by("arm", maintain_order=True):
        rows = training.pool_rows(part["row_id"])
        for number in range(runs["selected"]):
            name = tuned_name(without_name(str(stage)), number)
            calls[name] = training.call(rows, number, drawn=False)
    return calls


def _ablation(
    training: Training,
    models: TrainedModels,
    names: Sequence[str],
    stages: Sequence[AblatedStage],
    listed: Table,
    leaking: Mapping[str, int],
    design: ProofDesign,
) -> Artifact:
    """Return what the stages earned, by the fine-tunes of these names."""
    changed = listed.artifact.counts["changed"]
    described = [
        stage.describe(changed.get(stage.stage, 0), leaking.get(stage.stage, 0)) for stage in stages
    ]
    trained = {name.split("/")[0]: design.runs["selected"] for name in names}
    runs = {arm: design.runs[arm] for arm in ("selected", design.control)} | trained
    results = {name: models.results[name] for *_, name in tuned_names(runs)}
    metric = design.prove["metric"]
    return training.run(write_ablation, listed, results, runs, design.control, described, metric)


@cached_files(version=VERSION, name="ablation")
def write_ablation(
    out: Path,
    arms: Table,
    results: Mapping[str, Table],
    runs: Mapping[str, int],
    control: str,
    stages: Sequence[StageValues],
    metric: MetricSetting,
) -> Counts:
    """Write ablation.parquet (arm, seed, eval_id, metrics), ablation-rows.parquet and ablation.json.

    Args:
        out: the folder.
        arms: the selections that leaving a stage out changes.
        results: of the selection, the control and the selections without a stage.
        runs: how many models each of them has.
        control: its name.
        stages: what describe_ablation takes.
        metric: the recipe's `prove.metric`.
    """
    shutil.copyfile(arms.path, out / ROWS)
    gathered = gather_results(results, tuned_names(runs))
    gathered.write_parquet(out / TABLE)
    ablation = describe_ablation(
        scored_examples(gathered), stages, control, deciding_metric(metric)
    )
    write_json(out / FILE, ablation)
    return {"rows_out": gathered.height, "sentence": ablation["sentence"]}


def copy_ablation(ablation: Artifact, out: Path) -> Any:
    """Put an ablation's tables beside a proof, and return what proof.json says of it."""
    for name in (TABLE, ROWS):
        shutil.copyfile(ablation.file(name), out / name)
    return orjson.loads(ablation.file(FILE).read_bytes())
