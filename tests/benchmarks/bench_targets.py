"""Methods on eight real targets: share of a 5 % selection that is of the wanted kind, and the proof.

    python tests/benchmarks/bench_targets.py DATA OUT [--methods A,B] [--rows N] [--prove]

DATA holds p3/*.jsonl.gz, gsm8k/train.jsonl.gz and bbh/*.json. The pool has N (1,000) rows of at most 420
characters: 5 % of grade-school math (gsm8k), 5 % of each of four P3 families (answers to questions,
paraphrase or not, headlines, sentences from words), 3 % of each of three BBH tasks (which have 250 rows
in all), 9 % of three other BBH tasks, the rest from the other P3 families. For each target 20 examples
are given, and the proof measures on 80 others; the leak check takes out of the pool what they share with
it, and no example is given that it would find. Everything is drawn with seed 0.

Stored steps are found again under OUT, so methods can be added later. Prints for each target and
method precision (share of the selected rows that are of the target's family), recall (share of the
family's rows that are selected) and the seconds that its scores took. --prove compares the selection
with --draws (9) random draws of as many rows, which all methods and targets share, by --seeds (1)
fine-tunes of its own for one epoch: the difference in nats per response token, the verdict, and the rank
among the draws. Last, for each method over targets: verdicts, the mean difference in standard deviations
of a random draw, and the exact p of Wilcoxon's signed ranks and of the sign test, both two-sided. The
targets are the unit there: "this method beats random" is a claim about further targets.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray
from pools import Row, read_lines, tuned_losses
from scipy.stats import binomtest, wilcoxon

from curate.config.recipe import Config
from curate.overlap.index import LeakIndex
from curate.pipeline.curation import run_curation
from curate.proof.arms import draw_arms
from curate.proof.settings import ProofSettings
from curate.proof.statistics import ALPHA, compare
from curate.proof.training import FIXED_SEED

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
LORA = ProofSettings.model_validate({"lora": {"epochs": 1}}).model_dump(mode="json")["lora"]
UNTIMED = {
    "finetune", "measure", "base", "proof", "proof-leaks", "arms", "spread", "ingest", "exact", "leaks",
    "tokens",
}  # fmt: skip


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
            f"{self.target:<26}{self.method:<18}{self.precision:>9.3f}{self.recall:>8.3f}"
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
    return pl.DataFrame([{"row_id": str(i), **r} for i, r in enumerate(rows)])


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


def recipe(out: Path, target: str, method: str, count: int) -> Config:
    settings = SETTINGS.get(method, {})
    return Config.model_validate(
        {
            "name": f"{target}-{method}",
            "pool": [{"path": str(out / "pool.jsonl"), "source": "pool"}],
            "target": {
                "path": str(out / f"{target}.jsonl"),
                "eval": str(out / f"{target}-eval.jsonl"),
            },
            # The same for all targets, so that they share all that is not theirs.
            "protected": [
                {"path": str(out / f"{name}-eval.jsonl"), "source": f"{name}-test"}
                for name in TARGETS
            ],
            "stages": [{"kind": "exact"}, {"kind": "leaks"}],
            "select": {"method": method, "budget": {"rows": count}, **settings},
            "store": str(out / "store"),
        }
    )


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


def measure(out: Path, target: str, method: str, count: int, draws: int, seeds: int) -> Line:
    """Run a recipe, and prove it where draws are wanted."""
    config = recipe(out, target, method, count)
    result = run_curation(config, out / "runs" / config.name)
    ledger = pl.read_parquet(result.folder / "ledger.parquet")
    of_family = pl.col("origin") == target
    kept = ledger.filter(pl.col("fate") != "dropped")
    hits = ledger.filter(of_family & (pl.col("fate") == "selected")).height
    seconds = sum(s["seconds"] for s in result.manifest["stages"] if s["stage"] not in UNTIMED)
    line = Line(target, method, hits / count, hits / kept.filter(of_family).height, seconds)
    if not draws:
        return line
    ranking = pl.read_parquet(result.folder / "evidence" / "select.parquet")
    selected, controls = tuned_gains(config, ranking, draws, seeds)
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
        f"{method:<18}{counts}; above the mean draw on {above} of {len(differences)}"
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
    print(f"{'target':<26}{'method':<18}{'precision':>9}{'recall':>8}{'scores':>11}", flush=True)
    lines: dict[str, list[Line]] = {}
    for method in args.methods.split(","):
        for target in args.targets.split(","):
            started = time.perf_counter()
            line = measure(args.out, target, method, count, draws, args.seeds)
            lines.setdefault(method, []).append(line)
            print(f"{line}  ({time.perf_counter() - started:.0f} s now)", flush=True)
    if args.prove:
        print("\n".join(summarize(method, of_method) for method, of_method in lines.items()))


if __name__ == "__main__":
    main()
