"""The curve of a proof: what a quarter and a sixteenth of the budget reach, and which is enough.

    selected      its best-ranked rows: n, n/4, n/16 of them
    the control   the first rows of every draw, which are a draw of that size

Prefixes are nested, trained for the same epochs by the same seeds, so that two points of the curve are a
pair and differ in their rows alone. Budgets of tokens are divided by tokens. A smaller budget of rows
chooses these very rows (filters and diversity do not change that); one of tokens may pass over other
long rows, and with `shares` it has quotas and caps of its own, which the prefix of a larger one has not.

Results are told for each ability: a group of the eval set (curate.prove.groups), or a task of
lm-evaluation-harness. What is no gain to speak of is the margin: the spread of random draws at the full
budget, since so much is due to which rows were drawn, and FLOOR at least.
"""

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
from curate.prove.groups import group_examples
from curate.prove.growth import describe_curve, prefix_name
from curate.prove.metrics import deciding_metric
from curate.prove.results import gather_results, measured_name, tuned_name
from curate.prove.training import Rows, Training

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


def curve_steps(training: Training, prefixes: Prefixes) -> dict[str, Step]:
    """Return the fine-tunes on prefixes by name, with the seeds of the whole arms."""
    tables = [training.run.rows.file("rows.parquet")]
    steps = {}
    groups = prefixes.rows.group_by("arm", "divisor", "seed", maintain_order=True)
    for (arm, divisor, seed), part in groups:
        name, number = prefix_name(str(arm), int(str(divisor))), int(str(seed))
        rows = Rows(part["row_id"].to_list(), tables)
        steps[tuned_name(name, number)] = training.step(rows, number, drawn=arm != "selected")
    return steps


def curve_step(
    done: Mapping[str, Artifact],
    prefixes: Prefixes,
    drawn: pl.DataFrame,
    eval_rows: Artifact,
    params: Mapping[str, Any],
) -> Step:
    """Return the step that makes the curve of what prefixes and whole arms reach.

    Args:
        done: what every model reaches on the eval set, by name.
        prefixes: of selection and control.
        drawn: the whole arms.
        eval_rows: the eval set, whose origins are the abilities.
        params: those of the proof.
    """
    runs = params["runs"]
    arms = {"selected": runs["selected"], (main := main_control(runs)): runs[main]}
    whole = drawn.filter(pl.col("arm").is_in([*arms])).with_columns(divisor=pl.lit(1))
    sizes = (
        pl.concat([whole.select(prefixes.rows.columns), prefixes.rows])
        .group_by("divisor", "arm", "seed")
        .agg(rows=pl.len(), tokens=pl.col("tokens").sum())
        .group_by("divisor", "arm")
        .agg(pl.col("rows", "tokens").mean())
        .sort("divisor", "arm")
    )
    divisors = [1, *prefixes.divisors]
    settings = {
        "arms": arms,
        "control": main,
        "factor": params["prove"]["curve"],
        "metric": params["prove"]["metric"],
        "sizes": sizes.to_dicts(),
        "divisors": divisors,
        "left_out": list(prefixes.left_out),
    }
    names = [measured_name(name) for _, _, name in _models(arms, divisors)]
    inputs = {"eval": eval_rows, **{name: done[name] for name in names}}
    return Step("curve", VERSION, write_curve, inputs, settings)


def _models(arms: Mapping[str, int], divisors: Sequence[int]) -> list[tuple[str, int, str]]:
    """Return arm, number and name of all measured models, the untuned base model first."""
    sized = [(prefix_name(arm, d), arms[arm]) for d in divisors for arm in arms]
    tuned = [(name, n, tuned_name(name, n)) for name, count in sized for n in range(count)]
    return [("base", 0, "base"), *tuned]


def write_curve(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write curve.parquet (arm, divisor, seed, eval_id, ability, metrics) and curve.json."""
    results = gather_results(inputs, _models(params["arms"], params["divisors"]))
    groups = group_examples(read_table(inputs["eval"].file("rows.parquet")))
    points = results.join(groups, on="eval_id", how="left", maintain_order="left").with_columns(
        # Items of tasks are no eval rows; they are named by task and number.
        ability=pl.coalesce("group", pl.col("eval_id").str.replace("/[^/]*$", ""))
    )
    points.drop("group").write_parquet(out / POINTS)
    tokens = pl.col("response_tokens")
    scored = points.filter((tokens > 0) | tokens.is_null())
    curve = describe_curve(scored, deciding_metric(params["metric"]), params)
    write_json(out / FILE, curve)
    return {"rows_out": points.height, "sentence": curve["sentence"]}


def copy_curve(curve: Artifact, out: Path) -> Any:
    """Put a curve's table beside a proof, and return what proof.json says of it."""
    shutil.copyfile(curve.file(POINTS), out / POINTS)
    return orjson.loads(curve.file(FILE).read_bytes())
