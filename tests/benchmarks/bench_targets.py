"""Methods on eight real targets: share of a 5 % selection that is of the wanted kind, and the proof.

    python tests/benchmarks/bench_targets.py DATA OUT [--methods A,B+C] [--rows N] [--prove]

DATA holds p3/*.jsonl.gz, gsm8k/train.jsonl.gz and bbh/*.json. The pool has N (1,000) rows of at most 420
characters: 5 % of grade-school math (gsm8k), 5 % of each of four P3 families (answers to questions,
paraphrase or not, headlines, sentences from words), 3 % of each of three BBH tasks (which have 250 rows
in all), 9 % of three other BBH tasks, the rest from the other P3 families. For each target 20 examples
are given, and the proof measures on 80 others; the leak check takes out of the pool what they share with
it, and no example is given that it would find. Everything is drawn with seed 0.

A method may come with changes of its settings: `less+softmax` is `less` with `combine: softmax`, each
name of CHANGES for what it says there. What only re-ranks costs no pass. `less` runs by its
datastore, whose pass over the pool serves all targets.

Stored steps are found again under OUT, so methods can be added later. Prints for each target and
method precision (share of the selected rows that are of the target's family), recall (share of the
family's rows that are selected) and the core seconds that its order took now. --prove compares the
selection with --draws (9) random draws of as many rows, which all methods and targets share, by --seeds
(1) fine-tunes of its own for one epoch: the difference in nats per response token, the verdict, and the
rank among the draws. Last, for each method over targets: verdicts, the mean difference in standard
deviations of a random draw, and the exact p of Wilcoxon's signed ranks and of the sign test, both
two-sided. The targets are the unit there: "this method beats random" is a claim about further targets.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pools import Row, read_lines, tuned_losses
from scipy.stats import binomtest, wilcoxon

from curate.config.recipe import Config
from curate.core.methods import find_method
from curate.core.rows import SCHEMA
from curate.core.selector import Selector
from curate.core.store import Store
from curate.models.tokens import count_tokens
from curate.overlap.index import LeakIndex
from curate.pipeline import curation
from curate.pipeline.run import Run
from curate.proof.arms import draw_arms
from curate.proof.settings import ProofSettings
from curate.proof.statistics import ALPHA, compare
from curate.proof.training import FIXED_SEED
from curate.selectors.combine import Combine
from curate.selectors.selection import rank_by

LONGEST = 420
SELECTED = 0.05
TARGET, EVAL, CANDIDATES = 20, 80, 60
TARGETS = {
    "gsm8k": 0.05,
    "qasc": 0.05,
    "paws": 0.05,
    "gigaword": 0.05,
    "common_gen": 0.05,
    "object_counting": 0.03,
    "boolean_expressions": 0.03,
    "multistep_arithmetic_two": 0.03,
}
TASKS = ("object_counting", "boolean_expressions", "multistep_arithmetic_two")
OTHERS_SHARE = 0.03
OTHER_TASKS = ("disambiguation_qa", "reasoning_about_colored_objects", "dyck_languages")
METHODS = (
    "random", "rds", "less", "dsir", "bm25", "embed", "got", "bsr", "perplexity_ratio", "length", "ifd",
    "perplexity", "kcenter", "facility", "clusters", "smart", "gme", "mixture", "deita",
)  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {"less": {"way": "datastore"}, "bsr": {"encoder": "minilm"}}
CHANGES: dict[str, dict[str, Any]] = {
    **{name: {"combine": name} for name in get_args(Combine)},
    "center": {"center": True},
    "whiten64": {"whiten": 64},
    "sgd": {"eps_mode": "sgd"},
    "gist10": {"eps_mode": "sgd", "subspace": 10},
    "shrink0": {"shrink": 0},
}
READ = pa.schema([SCHEMA.field(name) for name in ("row_id", "messages")])
LORA = ProofSettings.model_validate({"lora": {"epochs": 1}}).model_dump(mode="json")["lora"]


@dataclass(frozen=True)
class Line:
    """What one method does on one target."""

    target: str
    method: str
    precision: float
    recall: float
    seconds: float
    difference: float | None = None
    half: float | None = None
    deviation: float | None = None
    verdict: str | None = None
    rank: int | None = None

    def __str__(self) -> str:
        text = (
            f"{self.target:<26}{self.method:<22}{self.precision:>9.3f}{self.recall:>8.3f}"
            f"{self.seconds:>9.1f} s"
        )
        if self.difference is None:
            return text
        return (
            f"{text}  {self.difference:+.4f} (a random draw within ±{self.half:.4f})"
            f"  rank {self.rank}  {self.verdict}"
        )


def turns(prompt: str, response: str, origin: str) -> Row:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return {"messages": messages, "origin": origin}


def read_families(data: Path) -> dict[str, list[Row]]:
    """Return short rows by family, shuffled."""
    families: dict[str, list[Row]] = {}
    for path in sorted((data / "p3").glob("*.jsonl.gz")):
        name = path.name.split(".")[0]
        families[name] = [
            turns(r["prompt"], r["completion"].removesuffix("<|endoftext|>"), name)
            for r in read_lines(path)
        ]
    families["gsm8k"] = [
        turns(r["question"], r["answer"], "gsm8k")
        for r in read_lines(data / "gsm8k" / "train.jsonl.gz")
    ]
    for name in (*TASKS, *OTHER_TASKS):
        examples = json.loads((data / "bbh" / f"{name}.json").read_text())["examples"]
        families[name] = [turns(r["input"], r["target"], name) for r in examples]
    rng = random.Random(0)
    for name, rows in families.items():
        short = [
            r
            for r in rows
            if all(m["content"].strip() for m in r["messages"])
            and sum(len(m["content"]) for m in r["messages"]) <= LONGEST
        ]
        families[name] = rng.sample(short, len(short))
    return families


def write(path: Path, rows: list[Row]) -> None:
    path.write_bytes(b"\n".join(orjson.dumps(r) for r in rows))


def numbered(rows: list[Row]) -> pl.DataFrame:
    records = [{"row_id": str(i), **r} for i, r in enumerate(rows)]
    frame = pl.from_arrow(pa.Table.from_pylist(records, schema=READ))
    assert isinstance(frame, pl.DataFrame)
    return frame


def without_leaks(candidates: list[Row], held_out: list[Row], pool: list[Row]) -> list[Row]:
    """Return the candidates that hold no held-out prompt, by the rule of a run on this pool."""
    index = LeakIndex(numbered(held_out))
    counts = index.count(numbered(pool).lazy())
    leaking = set(index.find(numbered(candidates).lazy(), counts=counts)["row_id"])
    return [r for i, r in enumerate(candidates) if str(i) not in leaking]


def make_pool(families: dict[str, list[Row]], size: int) -> list[Row]:
    """Return rows of all families, none that is an eval example or a candidate for the target."""
    pool: list[Row] = []
    for name, share in TARGETS.items():
        pool += families[name][EVAL + CANDIDATES :][: round(share * size)]
    for name in OTHER_TASKS:
        pool += families[name][: round(OTHERS_SHARE * size)]
    apart = (*TARGETS, *OTHER_TASKS)
    others = [r for name, rows in families.items() if name not in apart for r in rows]
    rng = random.Random(1)
    pool += rng.sample(others, size - len(pool))
    return rng.sample(pool, len(pool))


def make_files(data: Path, out: Path, size: int) -> None:
    """Write pool.jsonl, and TARGET.jsonl and TARGET-eval.jsonl for each target."""
    families = read_families(data)
    pool = make_pool(families, size)
    write(out / "pool.jsonl", pool)
    held_out = [r for name in TARGETS for r in families[name][:EVAL]]
    for name in TARGETS:
        candidates = families[name][EVAL : EVAL + CANDIDATES]
        examples = without_leaks(candidates, held_out, pool)[:TARGET]
        assert len(examples) == TARGET, f"{name} has {len(examples)} examples that do not leak"
        write(out / f"{name}.jsonl", examples)
        write(out / f"{name}-eval.jsonl", families[name][:EVAL])


def open_run(out: Path, target: str) -> Run:
    """Return a run for a target up to its selection: rows, those kept, tokens."""
    # Protected are the same for all targets, so that they share all that is not theirs.
    protected = [
        {"path": str(out / f"{task}-eval.jsonl"), "source": f"{task}-test"} for task in TARGETS
    ]
    config = Config.model_validate(
        {
            "name": target,
            "pool": [{"path": str(out / "pool.jsonl"), "source": "pool"}],
            "target": {
                "path": str(out / f"{target}.jsonl"),
                "eval": str(out / f"{target}-eval.jsonl"),
            },
            "protected": protected,
            "stages": [{"kind": "exact"}, {"kind": "leaks"}],
            "select": {"method": "random", "budget": {"rows": 1}},
            "store": str(out / "store"),
        }
    )
    kept = Store(out / "store")
    run = Run(config, kept, lambda steps: [kept.ensure(step) for step in steps])
    curation.read_inputs(run)
    curation.run_stages(run)
    run.tokens = count_tokens(run, run.rows, run.kept)
    return run


def selector_of(method: str, count: int) -> Selector:
    """Return the selector that a name stands for: a method, and changes of its settings."""
    name, *changes = method.split("+")
    settings = SETTINGS.get(name, {}) | {k: v for c in changes for k, v in CHANGES[c].items()}
    entry = {"method": name, "budget": {"rows": count}, **settings}
    return find_method(Selector, name).model_validate(entry)


def rank(run: Run, method: str, count: int) -> pl.DataFrame:
    """Return the kept rows in a method's order, with those that it selects."""
    selector = selector_of(method, count)
    return rank_by(run, selector, selector.score_rows(run)).ranking.read()


def tuned_gains(
    config: Config, ranking: pl.DataFrame, draws: int, seeds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return gains [fine-tunes, examples] of the selection and of random draws, as a proof has them."""
    arms = [draw_arms(ranking, [config.seed, n]) for n in range(max(draws, 1))]
    random_rows, selected = (
        [arm.filter(arm=name)["row_id"].to_list() for arm in arms]
        for name in ("random_rows", "selected")
    )
    # The random draws first: all methods and targets share them.
    controls = [tuned_losses(config, ids, LORA, [n]) for n, ids in enumerate(random_rows)]
    own = [tuned_losses(config, selected[0], LORA, [n, FIXED_SEED]) for n in range(seeds)]
    return -np.array(own), -np.array(controls)


def measure(run: Run, method: str, count: int, draws: int, seeds: int) -> Line:
    """Select by a method, and prove the selection where draws are wanted."""
    target = run.config.name
    started = time.process_time()
    ranking = rank(run, method, count)
    seconds = time.process_time() - started
    origins = run.rows.read(["row_id", "origin"])
    chosen = ranking.join(origins, on="row_id").filter(origin=target)["selected"]
    hits = int(chosen.sum())
    line = Line(target, method, hits / count, hits / len(chosen), seconds)
    if not draws:
        return line
    selected, controls = tuned_gains(run.config, ranking, draws, seeds)
    comparison = compare(selected, controls, alpha=ALPHA)
    by_draw = controls.mean(axis=1)
    return Line(
        **{
            **asdict(line),
            "difference": comparison.difference,
            "half": comparison.half,
            "deviation": float(by_draw.std(ddof=1)),
            "verdict": comparison.verdict,
            "rank": 1 + int((by_draw > selected.mean()).sum()),
        }
    )


def summarize(method: str, lines: Sequence[Line]) -> str:
    """Return verdicts of a method over targets, and the tests of its differences."""
    differences = [line.difference for line in lines if line.difference is not None]
    verdicts = [line.verdict for line in lines]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in sorted({str(v) for v in verdicts}))
    scaled = [
        d / line.deviation for d, line in zip(differences, lines, strict=True) if line.deviation
    ]
    above = sum(d > 0 for d in differences)
    sign = binomtest(above, len(differences)).pvalue
    ranks = wilcoxon(differences, method="exact").pvalue
    return (
        f"{method:<22}{counts}; above the mean draw on {above} of {len(differences)}"
        f" (sign test p {sign:.3f}, signed ranks p {ranks:.3f});"
        f" mean {np.mean(scaled):+.2f} standard deviations of a draw"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--draws", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=1, help="fine-tunes of each selection")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    make_files(args.data, args.out, args.rows)
    count, draws = round(SELECTED * args.rows), args.draws if args.prove else 0
    print(f"{'target':<26}{'method':<22}{'precision':>9}{'recall':>8}{'scores':>11}", flush=True)
    lines: dict[str, list[Line]] = {}
    runs = {target: open_run(args.out, target) for target in args.targets.split(",")}
    for method in args.methods.split(","):
        for target in runs:
            started = time.perf_counter()
            line = measure(runs[target], method, count, draws, args.seeds)
            lines.setdefault(method, []).append(line)
            print(f"{line}  ({time.perf_counter() - started:.0f} s now)", flush=True)
    if args.prove:
        print("\n".join(summarize(method, of_method) for method, of_method in lines.items()))


if __name__ == "__main__":
    main()
