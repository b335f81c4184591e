"""The curve of a proof: what a quarter and a sixteenth of the budget reach, and which is enough.

    selected      its best-ranked rows: n, n/4, n/16 of them
    the control   the first rows of every draw, which are a draw of that size

Prefixes are nested, trained for the same epochs by the same seeds, so that two points of the curve are a
pair and differ in their rows alone. Budgets of tokens are divided by tokens. A smaller budget of rows
chooses these very rows (filters and diversity do not change that); one of tokens may pass over other
long rows, and with `shares` it has quotas and caps of its own, which the prefix of a larger one has not.

Results are told for each ability: a group of the eval set (curate.proof.groups), or a task of
lm-evaluation-harness. What is no gain to speak of is the margin: the spread of random draws at the full
budget, since so much is due to which rows were drawn, and FLOOR at least.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.core.calls import Table, cached_files
from curate.core.store import Artifact, Counts, write_json
from curate.proof.design import ProofDesign
from curate.proof.groups import group_examples
from curate.proof.growth import CurveDesign, describe_curve, prefix_name
from curate.proof.metrics import deciding_metric
from curate.proof.results import (
    TrainedModels,
    arm_names,
    gather_results,
    scored_examples,
    tuned_name,
)
from curate.proof.training import FineTunes, Training

VERSION = 2
FILE = "curve.json"
POINTS = "curve.parquet"
# Fewer rows than these train no model to speak of.
LEAST_ROWS = 3
SMALLER = 2


@dataclass(frozen=True)
class Prefixes:
    """Nested prefixes of selection and control: arm, seed, divisor, row_id, tokens.

    left_out: divisors that leave too few rows.
    """

    rows: pl.DataFrame
    left_out: tuple[int, ...]

    @property
    def divisors(self) -> list[int]:
        """Return what the budget is divided by, the largest prefix first; not 1."""
        return self.rows["divisor"].unique().sort().to_list()


def divisors_of(factor: int) -> list[int]:
    """Return what a budget is divided by for the points of a curve beside the whole."""
    return [factor**power for power in range(1, SMALLER + 1)]


def nested_prefixes(drawn: pl.DataFrame, control: str, factor: int) -> Prefixes:
    """Return the prefixes of the selection and of a control's draws, without the whole.

    Args:
        drawn: arm, seed, row_id, tokens; the selection in rank order, draws in the order drawn.
        control: the one whose prefixes are taken; how it is counted is how prefixes are.
        factor: what the budget is divided by, once and once more.
    """
    parts = drawn.filter(pl.col("arm").is_in(["selected", control]))
    cost = pl.col("tokens") if control == "random_tokens" else pl.lit(1)
    spent = parts.with_columns(cost=cost).with_columns(
        spent=pl.col("cost").cum_sum().over("arm", "seed")
    )
    total = spent.filter(arm="selected")["spent"].max()
    divisors = divisors_of(factor)
    levels = {d: spent.filter(pl.col("spent") * d <= total) for d in divisors}
    arms = parts.select("arm", "seed").n_unique()
    large = [d for d in divisors if _least_rows(levels[d], arms) >= LEAST_ROWS]
    columns = ["arm", "seed", "divisor", "row_id", "tokens"]
    empty = parts.clear().with_columns(divisor=pl.lit(0)).select(columns)
    rows = [levels[d].with_columns(divisor=pl.lit(d)).select(columns) for d in large]
    return Prefixes(pl.concat([empty, *rows]), tuple(d for d in divisors if d not in large))


def _least_rows(level: pl.DataFrame, arms: int) -> int:
    """Return how many rows the smallest of so many arms has."""
    counts = level.group_by("arm", "seed").len()["len"]
    return min(counts.to_list(), default=0) if len(counts) == arms else 0


def curve_calls(training: Training, prefixes: Prefixes) -> FineTunes:
    """Return the fine-tunes on prefixes by name, with the seeds of the whole arms."""
    calls = {}
    groups = prefixes.rows.group_by("arm", "divisor", "seed", maintain_order=True)
    for (arm, divisor, seed), part in groups:
        name, number = prefix_name(str(arm), int(str(divisor))), int(str(seed))
        rows = training.pool_rows(part["row_id"])
        calls[tuned_name(name, number)] = training.call(rows, number, drawn=arm != "selected")
    return calls


def make_curve(
    training: Training,
    models: TrainedModels,
    prefixes: Prefixes,
    drawn: pl.DataFrame,
    design: ProofDesign,
) -> Artifact:
    """Return the curve of what prefixes and whole arms reach.

    Args:
        training: that of the proof.
        models: of both.
        prefixes: of selection and control.
        drawn: the whole arms.
        design: that of the proof.
    """
    main = design.control
    arms = {"selected": design.runs["selected"], main: design.runs[main]}
    whole = drawn.filter(pl.col("arm").is_in([*arms])).with_columns(divisor=pl.lit(1))
    sizes = (
        pl.concat([whole.select(prefixes.rows.columns), prefixes.rows])
        .group_by("divisor", "arm", "seed")
        .agg(rows=pl.len(), tokens=pl.col("tokens").sum())
        .group_by("divisor", "arm")
        .agg(pl.col("rows", "tokens").mean())
        .sort("divisor", "arm")
    )
    factor = design.prove["curve"]
    assert factor is not None, "a curve is asked for"
    curve = CurveDesign(
        runs=arms,
        control=main,
        factor=factor,
        divisors=[1, *prefixes.divisors],
        left_out=list(prefixes.left_out),
        sizes=sizes.to_dicts(),
        metric=design.prove["metric"],
    )
    results = {name: models.results[name] for _, _, name in _models(curve)}
    return training.run(write_curve, training.eval_rows, results, curve)


def _models(curve: CurveDesign) -> list[tuple[str, int, str]]:
    """Return arm, number and name of all measured models, the untuned base model first."""
    return arm_names({prefix_name(a, d): n for d in curve.divisors for a, n in curve.runs.items()})


@cached_files(version=VERSION, name="curve")
def write_curve(
    out: Path, eval: Table, results: Mapping[str, Table], design: CurveDesign
) -> Counts:
    """Write curve.parquet (arm, divisor, seed, eval_id, ability, metrics) and curve.json.

    Args:
        out: the folder.
        eval: the eval set, whose origins are the abilities.
        results: of selection and control, and of their prefixes.
        design: what is compared.
    """
    gathered = gather_results(results, _models(design))
    points = gathered.join(
        group_examples(eval.read()), on="eval_id", how="left", maintain_order="left"
    ).with_columns(
        # Items of tasks are no eval rows; they are named by task and number.
        ability=pl.coalesce("group", pl.col("eval_id").str.replace("/[^/]*$", ""))
    )
    points.drop("group").write_parquet(out / POINTS)
    curve = describe_curve(scored_examples(points), deciding_metric(design.metric), design)
    write_json(out / FILE, curve)
    return {"rows_out": points.height, "sentence": curve["sentence"]}


def copy_curve(curve: Artifact, out: Path) -> Any:
    """Put a curve's table beside a proof, and return what proof.json says of it."""
    shutil.copyfile(curve.file(POINTS), out / POINTS)
    return orjson.loads(curve.file(FILE).read_bytes())
