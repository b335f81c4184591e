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

from curate.core.store import Artifact, Counts, Step, write_json
from curate.core.tables import read_table
from curate.prove.arms import main_control
from curate.prove.contamination import write_leaks
from curate.prove.earnings import describe_ablation, without_name
from curate.prove.metrics import deciding_metric
from curate.prove.results import gather_results, measured_name, scored_examples, tuned_name
from curate.prove.training import Rows, Training

LOG = logging.getLogger("curate")
VERSION = 1
FILE, TABLE, ROWS = "ablation.json", "ablation.parquet", "ablation-rows.parquet"
OWN = "selection"


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
    ranking: Artifact | None

    def describe(self) -> dict[str, Any]:
        """Return what proof.json has of it before anything is trained."""
        return {name: value for name, value in vars(self).items() if name != "ranking"}


def ablate(
    training: Training,
    stages: Sequence[AblatedStage],
    read: Mapping[str, Artifact],
    done: Mapping[str, Artifact],
    params: Mapping[str, Any],
) -> Artifact:
    """Train without one stage at a time, and return the artifact of what each of them earned.

    Args:
        training: that of the proof.
        stages: of the recipe.
        read: `selection`, `rows`, `eval` and, where rows are watched, `watch`.
        done: the proof's fine-tunes and what they reach, by name.
        params: those of the proof.
    """
    run = training.run
    rankings = {stage.stage: stage.ranking for stage in stages if stage.ranking is not None}
    listed = run.execute(arms_step(read[OWN], rankings))
    arms = read_table(listed.file("arms.parquet"))
    held_out = {name: artifact for name, artifact in read.items() if name != OWN}
    leaks = run.execute(Step("ablation-leaks", VERSION, write_leaks, {**held_out, "arms": listed}))
    leaking = {} if params["prove"]["allow_leaks"] else count_leaking(arms, leaks)
    steps = _steps(training, arms.filter(~pl.col("arm").is_in([*leaking])), params["runs"])
    LOG.info("proof: %d more fine-tunes without a stage", len({s.key for s in steps.values()}))
    tuned = training.tune(steps)
    names = list(dict.fromkeys(name.split("/")[0] for name in steps))
    step = _ablation_step({**done, **tuned}, names, stages, listed, leaking, params)
    ablation = run.execute(step)
    LOG.info("proof: ablation: %s", ablation.counts["sentence"])
    return ablation


def arms_step(selection: Artifact, rankings: Mapping[str, Artifact]) -> Step:
    """Return the step that lists the selections that leaving a stage out changes."""
    inputs = {OWN: selection, **{without_name(name): r for name, r in rankings.items()}}
    return Step("ablation-arms", VERSION, write_arms, inputs, {"stages": list(rankings)})


def write_arms(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write arms.parquet: arm (a stage), seed, row_id in rank order; count the rows that changed."""
    own = _selected(inputs[OWN])
    parts = [pl.DataFrame(schema={"arm": pl.String, "seed": pl.Int64, "row_id": pl.String})]
    changed = {}
    for stage in params["stages"]:
        rows = _selected(inputs[without_name(stage)])
        # Rows that came into the place of others, or beside them.
        new, lost = (~rows.is_in(own.implode())).sum(), (~own.is_in(rows.implode())).sum()
        changed[stage] = int(max(new, lost))
        if changed[stage]:
            labels = {"arm": [stage] * len(rows), "seed": [0] * len(rows)}
            parts.append(pl.DataFrame({**labels, "row_id": rows}))
    arms = pl.concat(parts)
    arms.write_parquet(out / "arms.parquet")
    return {"rows_out": arms.height, "changed": changed}


def _selected(ranking: Artifact) -> pl.Series:
    return read_table(ranking.file("ranking.parquet")).filter("selected")["row_id"]


def count_leaking(arms: pl.DataFrame, leaks: Artifact) -> dict[str, int]:
    """Return how many rows of each selection hold prompts of held-out sets, of those with any."""
    hits = read_table(leaks.file("hits.parquet"))["row_id"]
    counts = arms.filter(pl.col("row_id").is_in(hits.implode())).group_by("arm").len()
    return dict(counts.sort("arm").iter_rows())


def _steps(training: Training, arms: pl.DataFrame, runs: Mapping[str, int]) -> dict[str, Step]:
    """Return the fine-tunes without a stage, by name, with the seeds of the selection's."""
    tables = [training.run.rows.file("rows.parquet")]
    return {
        tuned_name(without_name(str(stage)), number): training.step(
            Rows(part["row_id"].to_list(), tables), number, drawn=False
        )
        for (stage,), part in arms.group_by("arm", maintain_order=True)
        for number in range(runs["selected"])
    }


def _ablation_step(
    done: Mapping[str, Artifact],
    names: Sequence[str],
    stages: Sequence[AblatedStage],
    listed: Artifact,
    leaking: Mapping[str, int],
    params: Mapping[str, Any],
) -> Step:
    runs, changed = params["runs"], listed.counts["changed"]
    arms = {"selected": runs["selected"], (main := main_control(runs)): runs[main]}
    arms |= dict.fromkeys(names, runs["selected"])
    settings = {
        "arms": arms,
        "control": main,
        "metric": params["prove"]["metric"],
        "stages": [
            {
                **stage.describe(),
                "changed": changed.get(stage.stage, 0),
                "leaking": leaking.get(stage.stage, 0),
            }
            for stage in stages
        ],
    }
    measured = {n: done[n] for n in (measured_name(name) for *_, name in _models(arms))}
    return Step("ablation", VERSION, write_ablation, {**measured, "arms": listed}, settings)


def _models(arms: Mapping[str, int]) -> list[tuple[str, int, str]]:
    return [(arm, n, tuned_name(arm, n)) for arm, count in arms.items() for n in range(count)]


def write_ablation(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write ablation.parquet (arm, seed, eval_id, metrics), ablation-rows.parquet and ablation.json."""
    shutil.copyfile(inputs["arms"].file("arms.parquet"), out / ROWS)
    results = gather_results(inputs, _models(params["arms"]))
    results.write_parquet(out / TABLE)
    ablation = describe_ablation(
        scored_examples(results),
        params["stages"],
        params["control"],
        deciding_metric(params["metric"]),
    )
    write_json(out / FILE, ablation)
    return {"rows_out": results.height, "sentence": ablation["sentence"]}


def copy_ablation(ablation: Artifact, out: Path) -> Any:
    """Put an ablation's tables beside a proof, and return what proof.json says of it."""
    for name in (TABLE, ROWS):
        shutil.copyfile(ablation.file(name), out / name)
    return orjson.loads(ablation.file(FILE).read_bytes())
