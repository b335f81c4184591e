"""Pools with wrong answers planted by a seed, and the recipes that benchmarks run on them."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.config.recipe import Config
from curate.core.calls import StoreRunner
from curate.core.keyed import ModelSource
from curate.core.store import Store
from curate.models.finetune import finetune
from curate.models.load import choose_dtype, find_model, identify, prepare
from curate.models.lora_values import LoraValues
from curate.models.training import training_rows
from curate.pipeline import curation
from curate.pipeline.inputs import input_sets
from curate.pipeline.run import Run
from curate.proof.measure import measurement

REPO = Path(__file__).parents[2]
WRONG = 0.2
LONGEST = 1_500
Row = dict[str, Any]


def read_lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def swapped_gsm8k(data: Path, count: int, held_out: int = 0) -> tuple[list[Row], list[Row]]:
    """Return rows, a fifth of them with the answer of another row of that fifth, and held-out ones.

    Each has prompt, completion, gold (its own answer) and right (that the completion is it).
    """
    lines = read_lines(data / "gsm8k" / "train.jsonl.gz")
    rng = np.random.default_rng(0)
    drawn = [lines[i] for i in rng.permutation(len(lines))[: count + held_out]]
    rows, rest = drawn[:count], drawn[count:]
    answers = swap([r["answer"] for r in rows], rng)
    return (
        [answered(r["question"], a, r["answer"]) for r, a in zip(rows, answers, strict=True)],
        [answered(r["question"], r["answer"], r["answer"]) for r in rest],
    )


def swapped_p3(data: Path, count: int) -> list[Row]:
    """Return rows of at most LONGEST characters from all P3 tasks, a fifth of them wrong.

    A wrong row has another answer that its own prompt template gets elsewhere in P3.
    """
    lines = [line for path in sorted((data / "p3").glob("*.gz")) for line in read_lines(path)]
    fit = [
        (r["source"], r["prompt"], r["completion"].removesuffix("<|endoftext|>").strip())
        for r in lines
        if len(r["prompt"]) + len(r["completion"]) <= LONGEST
    ]
    fit = [r for r in fit if r[1].strip() and r[2]]
    answers: dict[str, list[str]] = {}
    for template, _, answer in fit:
        answers.setdefault(template, []).append(answer)
    rng = np.random.default_rng(0)
    drawn = [fit[i] for i in rng.permutation(len(fit))[:count]]
    wrong = set(rng.permutation(len(drawn))[: round(WRONG * len(drawn))].tolist())
    rows = []
    for i, (template, prompt, own) in enumerate(drawn):
        others = sorted({a for a in answers[template] if a != own}) if i in wrong else []
        rows.append(answered(prompt, str(rng.choice(others)) if others else own, own))
    return rows


def swapped_roleplay(data: Path, count: int) -> list[Row]:
    """Return GPTeacher role-play rows, a fifth of them with the answer of another of that fifth."""
    with gzip.open(data / "gpteacher" / "roleplay.json.gz", "rt", encoding="utf-8") as file:
        lines = [r for r in json.load(file) if r["instruction"].strip() and r["output"].strip()]
    rng = np.random.default_rng(0)
    drawn = [lines[i] for i in rng.permutation(len(lines))[:count]]
    answers = swap([r["output"] for r in drawn], rng)
    return [
        answered(f"{r['instruction']}\n\n{r['input']}".strip(), answer, r["output"])
        for r, answer in zip(drawn, answers, strict=True)
    ]


def swap(answers: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return answers of which a fifth, two at least, have changed places among themselves."""
    wrong = rng.permutation(len(answers))[: max(round(WRONG * len(answers)), 2)]
    moved = {int(i): answers[j] for i, j in zip(wrong, np.roll(wrong, 1), strict=True)}
    return [moved.get(i, answer) for i, answer in enumerate(answers)]


def answered(prompt: str, answer: str, gold: str) -> Row:
    return {"prompt": prompt, "completion": answer, "gold": gold, "right": answer == gold}


def write_rows(path: Path, rows: Sequence[Row], fields: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({f: row[f] for f in fields}) + "\n" for row in rows))


def write_planted(path: Path, rows: Sequence[Row]) -> None:
    """Write rows without what is known of them."""
    write_rows(path, rows, [field for field in rows[0] if field not in ("gold", "right")])


def with_truth(
    evidence: pl.DataFrame, pool: Path, source: str, rows: Sequence[Row]
) -> pl.DataFrame:
    """Return what a stage tells of the rows of a file beside gold and right."""
    ids = [f"{source}/{pool.name}:{i}" for i in range(1, len(rows) + 1)]
    truth = {name: [row[name] for row in rows] for name in ("right", "gold")}
    joined = evidence.join(pl.DataFrame({"row_id": ids, **truth}), on="row_id")
    assert joined.height == len(rows), "rows and truth do not meet"
    return joined


def tuned_losses(
    config: Config, ids: list[str], lora: LoraValues, seed: Sequence[int]
) -> NDArray[np.float64]:
    """Return the losses on the eval set after tuning on rows, by the very fine-tune of a proof."""
    run = StoreRunner(Store(Path(config.store)))
    inputs = {name: rows.read(run) for name, rows in input_sets(config).items()}
    location = find_model(config.models.base)
    identity = identify(location, choose_dtype(config.models.dtype))
    model = ModelSource(identity, prepare(location))
    rows = training_rows([inputs["pool"]], ids)
    tuned = run(finetune, rows, lora, [config.seed, *seed], model)
    call = measurement(inputs["eval"], tuned, lora["max_length"], model)
    return run.result(call).read().sort("eval_id")["loss"].to_numpy()


def bundled_truth(folder: Path) -> pl.DataFrame:
    """Return the bundled rows: row_id, messages, defect, correct_response."""
    run = run_stages([{"path": str(REPO / "data" / "pool" / "*"), "source": "bundled"}], [], folder)
    truth = pl.read_ndjson(REPO / "data" / "truth.jsonl", infer_schema_length=None)
    rows = run.rows.read(["row_id", "messages"])
    return rows.join(
        truth.select("row_id", "defect", "correct_response"), on="row_id", maintain_order="left"
    )


def planted_answers(folder: Path, count: int) -> list[Row]:
    """Return rows of the bundled pool with a wrong answer, and four times as many clean ones."""
    labelled_rows = bundled_truth(folder)
    wrong = labelled_rows.filter(defect="wrong_answer")
    clean = labelled_rows.filter(pl.col("defect").is_null())
    size = min(wrong.height, round(WRONG * count))
    drawn = pl.concat([wrong.sample(size, seed=0), clean.sample(4 * size, seed=0)])
    return [
        {"messages": line["messages"], "right": line["defect"] is None,
         "gold": line["correct_response"] or line["messages"][-1]["content"]}
        for line in drawn.sample(fraction=1, seed=0, shuffle=True).to_dicts()
    ]  # fmt: skip


def recipe(
    name: str, pool: str, out: Path, stages: Sequence[Row], embedder: str = "static"
) -> Config:
    """Return a recipe that runs stages and keeps every row."""
    return Config.model_validate(
        {
            "name": name,
            "pool": [{"path": pool, "source": name}],
            "models": {"embedder": embedder},
            "stages": list(stages),
            "select": {"method": "random", "budget": {"fraction": 1.0}},
            "store": str(out / "store"),
        }
    )


def run_stages(pool: Sequence[Any], stages: Sequence[Any], store: Path) -> Run:
    """Run ingest and stages of a recipe; the run holds its artifacts."""
    config = Config.model_validate(
        {"name": "bench", "pool": list(pool), "stages": list(stages), "store": str(store),
         "ingest": {"max_rejected": 1.0}, "select": {"method": "random", "budget": {"rows": 1}}}
    )  # fmt: skip
    kept = Store(store)
    run = Run(config, kept, lambda steps: [kept.ensure(step) for step in steps])
    curation.read_inputs(run)
    curation.run_stages(run)
    return run
