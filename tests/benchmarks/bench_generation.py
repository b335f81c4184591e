"""Does generation help? The selection with and without generated rows, against random draws.

    python tests/benchmarks/bench_generation.py DATA OUT [--engine URL --model NAME] [--generators A,B]

Targets: the bundled task (appointments), `paws` (P3: paraphrase or not), `object_counting` (BBH) and
`needles`, with 20 examples and 80 held-out ones each. DATA is that of bench_targets.py; `--targets
bundled,needles` reads none of it. The pool, of --rows (1,000) before they go, has no row of the targets'
own tasks, which is where rows are made; --own leaves them in. --prompts (40) of the task stand apart,
and no prompt or example is given that the leak check would find. `needles` are values to be looked up
among dictionaries of 500 tokens; `program` draws them, its examples and its rows by different seeds, and
the pool is the bundled one. For the other targets `program` draws arithmetic.

By default the embedded model generates. --engine URL --model NAME asks any server of OpenAI's protocol
in its place; the key is in the variable that --key names. GENERATORS has what is asked for, and `truth`
stands for the perfect engine: no generation, the prompts with their own answers.

Without generated rows and with those of each generator, 5 % of --rows are selected by `embed` and
fine-tuned --seeds (1) times for one epoch. Each is judged against --draws (9) random draws of as many
rows of the pool without generated ones, as a proof does with one control; the real targets share theirs.
The last column is the difference between selections with and without, paired by seed and example, with
its 95 % interval (curate.proof.statistics.estimate) and no verdict. A line is printed for each generator
as it comes; OUT/generation.md has the table.
Stored steps are found again under OUT, and an answer of a generator that kept rows is asked for once.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from bench_program import programmed
from bench_targets import (
    CANDIDATES,
    EVAL,
    LORA,
    SELECTED,
    TARGET,
    make_pool,
    read_families,
    without_leaks,
    write,
)
from numpy.typing import NDArray
from pools import REPO, Row, bundled_truth

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.rows import prompt_text
from curate.core.store import Artifact, Store
from curate.generate.step import SOURCE
from curate.models.finetune import finetune
from curate.models.training import training_rows
from curate.pipeline import curation
from curate.pipeline.run import Run
from curate.proof.arms import draw_arms
from curate.proof.measure import measurement
from curate.proof.statistics import ALPHA, Comparison, IntervalEstimate, Matrix, compare, estimate
from curate.proof.training import FIXED_SEED

WITHOUT, TRUTH = "without", "truth"
# The task of the bundled target.
OWN_FAMILY = "appointment_line"
LEAST_TOKENS = 64
# Of a row of the target `needles`, and the seed of its examples; generated rows have the recipe's.
NEEDLE_TOKENS, NEEDLE_SEED = 500, 1
Entry = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A target of this benchmark.

    checker: how answers are checked. labels: the answers there are, where it is to classify.
    programs: the tasks of `program` that are nearest to it. pool: its pool file.
    """

    name: str
    checker: str
    labels: tuple[str, ...] = ()
    programs: tuple[str, ...] = ("arithmetic",)
    pool: str = "pool"


TASKS = (
    Task("bundled", "exact", pool="bundled-pool"),
    Task("paws", "exact", ("Yes", "No")),
    Task("object_counting", "numeric"),
    Task("needles", "exact", programs=("dictionary",), pool="bundled-pool"),
)


@dataclass(frozen=True)
class Sizes:
    """How much is asked for: prompts, tokens of an answer, rows of the pool."""

    prompts: int
    tokens: int
    rows: int


@dataclass(frozen=True)
class Line:
    """What a generator did for a target."""

    target: str
    generator: str
    kept: int = 0
    candidates: int = 0
    selected: int = 0
    calls: int = 0
    seconds: float = 0.0
    comparison: Comparison | None = None
    gained: IntervalEstimate | None = None
    fault: str | None = None

    def __str__(self) -> str:
        kept = f"{self.kept} of {self.candidates}" if self.candidates else f"{self.kept or ''}"
        head = f"| {self.target} | `{self.generator}` | {kept} | {self.selected} | {self.calls} |"
        if self.comparison is None:
            return f"{head} none: {self.fault} | |"
        c, gained = self.comparison, ""
        if self.gained is not None:
            g = self.gained
            gained = f"{g.difference:+.3f} [{g.low:+.3f}, {g.high:+.3f}]"
        return f"{head} {c.difference:+.3f} (±{c.half:.3f}) {c.verdict} | {gained} |"


COLUMNS = (
    *("target", "rows of", "kept", "selected", "calls"),
    *("against random draws", "against the selection without"),
)
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def generators(task: Task, sizes: Sizes) -> dict[str, Entry]:
    """Return what is asked of each generator for a target."""
    checked = {"checker": task.checker, "max_tokens": sizes.tokens}
    longer = {"max_tokens": max(sizes.tokens, LEAST_TOKENS)}
    shots = {"shots": 4, "shots_by": "coverage"}
    return {
        "answer": {"method": "answer", "samples": 5, **checked},
        "answer+shots": {"method": "answer", "samples": 5, **checked, **shots},
        "reject": {"method": "reject", "plan": "uniform", "solutions": 2, "pilot": 8, "trials": 16,
                   "rounds": 1, "temperature": 1.0, **checked},
        "self_guide": {"method": "self_guide", "labels": list(task.labels), "rounds": 2,
                       "batch": sizes.prompts // 2, "samples": 5, **longer},
        "aide": {"method": "aide", "start": "gaps", "gaps": 10, "attributes": 1, "personas": 1,
                 "hops": 1, **longer},
        "program": {"method": "program", "tasks": list(task.programs), "rows": sizes.prompts,
                    "tokens": NEEDLE_TOKENS},
    }  # fmt: skip


GENERATORS = (TRUTH, *generators(TASKS[0], Sizes(0, 0, 0)))


def bundled_families(out: Path) -> dict[str, list[Row]]:
    """Return the bundled rows by task, in random order, of the target's own task the clean ones."""
    truth = pl.read_ndjson(REPO / "data" / "truth.jsonl", infer_schema_length=None)
    rows = bundled_truth(out / "bundled").join(truth.select("row_id", "family"), on="row_id")
    clean = (pl.col("family") != OWN_FAMILY) | pl.col("defect").is_null()
    drawn = rows.filter(clean).sort("row_id").sample(fraction=1, shuffle=True, seed=0)
    families: dict[str, list[Row]] = {}
    for messages, family in drawn.select("messages", "family").iter_rows():
        families.setdefault(family, []).append({"messages": messages, "origin": family})
    return families


def bundled_rows(name: str) -> list[Row]:
    lines = pl.read_ndjson(REPO / "data" / f"{name}.jsonl")["messages"].to_list()
    return [{"messages": messages, "origin": name} for messages in lines]


def make_bundled(out: Path, sizes: Sizes, *, own: bool) -> None:
    """Write pool and files of the bundled target: examples, held-out examples, prompts, truth."""
    families = bundled_families(out)
    prompts = families[OWN_FAMILY][: sizes.prompts]
    families[OWN_FAMILY] = families[OWN_FAMILY][sizes.prompts :] if own else []
    pool = [row for rows in families.values() for row in rows]
    order = np.random.default_rng(0).permutation(len(pool))[: sizes.rows]
    write(out / "bundled-pool.jsonl", [pool[i] for i in order])
    write(out / "bundled.jsonl", bundled_rows("target")[:TARGET])
    held_out = bundled_rows("eval")[:EVAL]
    write(out / "bundled-eval.jsonl", held_out)
    write_prompts(out, "bundled", without_leaks(prompts, held_out, pool))


def make_needles(out: Path, sizes: Sizes) -> None:
    """Write the files of the needles, which `program` draws; their pool is the bundled one."""
    _, drawn = programmed(out, NEEDLE_SEED, TARGET + EVAL + sizes.prompts, NEEDLE_TOKENS)
    messages = drawn.read(["messages"])["messages"].to_list()
    rows = [{"messages": turns, "origin": "needles"} for turns in messages]
    write(out / "needles-eval.jsonl", rows[:EVAL])
    write(out / "needles.jsonl", rows[EVAL : EVAL + TARGET])
    write_prompts(out, "needles", rows[EVAL + TARGET :])


def make_real(data: Path, out: Path, sizes: Sizes, *, own: bool) -> None:
    """Write the files of the real targets, as bench_targets.py draws them."""
    families = read_families(data)
    pool = make_pool(families, sizes.rows)
    names = [task.name for task in TASKS if task.pool == "pool"]
    inside = {prompt_text(row["messages"]) for row in pool}
    if not own:
        pool = [row for row in pool if row["origin"] not in names]
    write(out / "pool.jsonl", pool)
    held_out = [row for name in names for row in families[name][:EVAL]]
    for name in names:
        candidates = families[name][EVAL:]
        examples = without_leaks(candidates[:CANDIDATES], held_out, pool)[:TARGET]
        write(out / f"{name}.jsonl", examples)
        write(out / f"{name}-eval.jsonl", families[name][:EVAL])
        apart = [r for r in candidates[CANDIDATES:] if prompt_text(r["messages"]) not in inside]
        prompts = without_leaks(apart[: 3 * sizes.prompts], held_out, pool)
        write_prompts(out, name, prompts[: sizes.prompts])


def write_prompts(out: Path, name: str, rows: Sequence[Row]) -> None:
    """Write prompts without their answers, and the same with them."""
    write(out / f"{name}-truth.jsonl", list(rows))
    write(out / f"{name}-prompts.jsonl", [{"prompt": prompt_text(r["messages"])} for r in rows])


def recipe(
    out: Path, task: Task, count: int, generator: str, entry: Entry | None, engine: Entry
) -> Config:
    """Return the recipe of a selection without generated rows, with a generator's, or with truth."""
    pool = [{"path": str(out / f"{task.pool}.jsonl"), "source": "pool"}]
    if generator == TRUTH:
        pool.append({"path": str(out / f"{task.name}-truth.jsonl"), "source": SOURCE})
    further: Entry = {"generate": {"engine": engine, "methods": [entry]}} if entry else {}
    if entry and entry["method"] == "answer":
        further["prompts"] = [
            {"path": str(out / f"{task.name}-prompts.jsonl"), "source": "prompts"}
        ]
    return Config.model_validate(
        {
            "name": f"{task.name}-{generator}".replace("+", "-"),
            "pool": pool,
            "target": {
                "path": str(out / f"{task.name}.jsonl"),
                "eval": str(out / f"{task.name}-eval.jsonl"),
            },
            "protected": [
                {"path": str(out / f"{other.name}-eval.jsonl"), "source": f"{other.name}-test"}
                for other in TASKS
                if other.pool == task.pool
            ],
            "stages": [{"method": "exact"}, {"method": "leaks"}],
            "export": {"formats": ["messages"]},
            "select": {"method": "embed", "budget": {"rows": count}},
            "store": str(out / "store"),
            **further,
        }
    )


def select(config: Config) -> tuple[Run, pl.DataFrame]:
    """Return the run of a recipe, and its order with what it selects."""
    store = Store(Path(config.store))
    run = Run(config, store, lambda steps: [store.ensure(step) for step in steps])
    curation.run_steps(run)
    selection = next(iter(run.selections.values()))
    return run, selection.ranking.read()


def selected_ids(ranking: pl.DataFrame) -> list[str]:
    return ranking.filter("selected")["row_id"].to_list()


def count_calls(generated: Artifact) -> int:
    """Return how many answers a generator took, those of an earlier run among them."""
    total = orjson.loads(generated.file("bill.json").read_bytes())["bill"]["total"]
    return int(total["calls"] + total["cached"])


def tuned_gains(run: Run, row_ids: Sequence[str], seed: Sequence[int]) -> NDArray[np.float64]:
    """Return the gains on the eval set after tuning on rows, by the very fine-tune of a proof."""
    rows = training_rows([run.rows], row_ids)
    tuned = run(finetune, rows, LORA, [run.seed, *seed], run.base)
    assert run.eval is not None
    results = run.result(measurement(run.eval, tuned, LORA["max_length"], run.base)).read()
    return -results.sort("eval_id")["loss"].to_numpy()


class Proof:
    """A target's selection without generated rows, and the random draws that judge it."""

    def __init__(self, task: Task, out: Path, count: int, draws: int, seeds: int) -> None:
        self.task, self.out, self.count, self.seeds = task, out, count, seeds
        run, ranking = select(recipe(out, task, count, WITHOUT, None, {}))
        arms = [draw_arms(ranking, [run.seed, n]) for n in range(draws)]
        drawn = [arm.filter(arm="random_rows")["row_id"].to_list() for arm in arms]
        self.controls = np.array([tuned_gains(run, ids, [n]) for n, ids in enumerate(drawn)])
        self.gains = self.gains_of(run, ranking)

    def gains_of(self, run: Run, ranking: pl.DataFrame) -> Matrix:
        """Return gains [fine-tunes, examples] of a selection."""
        ids = selected_ids(ranking)
        return np.array([tuned_gains(run, ids, [n, FIXED_SEED]) for n in range(self.seeds)])

    def without(self) -> Line:
        """Return the line of the selection without generated rows."""
        judged = compare(self.gains, self.controls, alpha=ALPHA)
        return Line(self.task.name, WITHOUT, comparison=judged)

    def measure(self, generator: str, entry: Entry | None, engine: Entry) -> Line:
        """Return the line of a generator; one that fails or keeps nothing says why."""
        started = time.process_time()
        config = recipe(self.out, self.task, self.count, generator, entry, engine)
        try:
            run, ranking = select(config)
        except UserError as error:
            return Line(self.task.name, generator, fault=str(error).partition("\n")[0])
        seconds = time.process_time() - started
        rows = run.rows.read(["row_id", "source"]).filter(source=SOURCE)["row_id"]
        counts = dict(run.generated.counts) if run.generated else {}
        gains = self.gains_of(run, ranking)
        return Line(
            self.task.name,
            generator,
            kept=len(rows),
            candidates=counts.get("rows_in", 0),
            selected=len(set(rows) & {*selected_ids(ranking)}),
            calls=count_calls(run.generated) if run.generated else 0,
            seconds=seconds,
            comparison=compare(gains, self.controls, alpha=ALPHA),
            gained=estimate(gains, self.gains),
        )


def engine_entry(given: argparse.Namespace) -> Entry:
    """Return the engine of the recipes: the embedded model, or a server."""
    if given.engine is None:
        return {"kind": "transformers"}
    endpoint = {"url": given.engine, "api_key_env": given.key}
    return {"kind": "openai", "model": given.model, "endpoints": [endpoint]}


def measure_all(given: argparse.Namespace, tasks: Sequence[Task]) -> list[Line]:
    """Return a line for each target and generator, printed as it comes."""
    sizes = Sizes(given.prompts, given.tokens, given.rows)
    engine, count = engine_entry(given), round(SELECTED * given.rows)
    lines: list[Line] = []
    for task in tasks:
        started = time.process_time()
        proof = Proof(task, given.out, count, given.draws, given.seeds)
        entries = generators(task, sizes)
        lines.append(proof.without())
        print(f"{lines[-1]} {time.process_time() - started:.0f} core s", flush=True)
        for name in given.generators.split(","):
            started = time.process_time()
            lines.append(proof.measure(name, entries.get(name), engine))
            seconds = time.process_time() - started
            before = f"{lines[-1].seconds:.0f} of them until the selection"
            print(f"{lines[-1]} {seconds:.0f} core s, {before}", flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--engine", metavar="URL", help="of a server, up to and with /v1")
    parser.add_argument("--model", metavar="NAME", help="by which the server knows it")
    parser.add_argument("--key", metavar="VARIABLE", help="environment variable with the key")
    parser.add_argument("--targets", default=",".join(task.name for task in TASKS))
    parser.add_argument("--generators", default=",".join(GENERATORS))
    parser.add_argument("--own", action="store_true", help="the pool has rows of the task itself")
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=256, help="of an answer at most")
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--draws", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=1, help="fine-tunes of each selection")
    given = parser.parse_args()
    if (given.engine is None) != (given.model is None):
        parser.error("--engine and --model go together")
    if stray := set(given.generators.split(",")) - {*GENERATORS}:
        parser.error(
            f"no such generator: {', '.join(sorted(stray))}; there are {', '.join(GENERATORS)}"
        )
    tasks = [task for task in TASKS if task.name in given.targets.split(",")]
    given.out.mkdir(parents=True, exist_ok=True)
    sizes = Sizes(given.prompts, given.tokens, given.rows)
    if any(task.pool == "bundled-pool" for task in tasks):
        make_bundled(given.out, sizes, own=given.own)
        make_needles(given.out, sizes)
    if any(task.pool == "pool" for task in tasks):
        make_real(given.data, given.out, sizes, own=given.own)
    lines = measure_all(given, tasks)
    table = "\n".join([HEAD, *map(str, lines)])
    (given.out / "generation.md").write_text(table + "\n")
    print(f"\n{table}")


if __name__ == "__main__":
    main()
