"""Small real runs with near and exact duplicates, conflicts and leaks; their truth in plain Python."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation

WORDS = [f"{a}{b}" for a in "bdfgklmnprstvz" for b in ("ain", "eck", "ilt", "orn", "ust")]
ANSWERS = ("Yes, by all means do.", "No, never do that.", "It depends on the day.")
# Texts alone decide, as in the loop over all pairs that the tests compare with.
FUZZY = {"kind": "fuzzy", "threshold": 0.6, "floor": 0.3, "numbers": False, "responses": False}
LEAKS = {"kind": "leaks", "warn": 0.3}


def write_inputs(folder: Path, taint: str = "", rows: int = 60, times: int = 1) -> None:
    """Write pool, target, eval and protected set; every text `times` over, and `taint` at its end."""
    rng = random.Random(1)
    pool: list[tuple[str, str]] = []
    for i in range(rows):
        words = rng.choices(WORDS, k=24)
        pool.append((" ".join(words), f"Answer {i}."))
        for _ in range(i % 4):
            changed = list(words)
            for at in rng.sample(range(24), rng.randint(1, 3)):
                changed[at] = rng.choice(WORDS)
            pool.append((" ".join(changed), f"Answer {i}."))
    pool += [
        (f"May I {word} in the {word} house, please?", a) for word in WORDS[:12] for a in ANSWERS
    ]
    pool += [pool[5]] * 4 + [(pool[9][0].replace(" ", "  "), pool[9][1])]
    prompts = [" ".join(rng.choices(WORDS, k=20)) for _ in range(30)]
    guarded = [" ".join(rng.choices(WORDS, k=20)) for _ in range(100)]
    pool += [(f"Tell me now: {prompts[i]} Thanks!", "Told.") for i in range(3)]
    pool += [(guarded[0].upper(), "Guarded.")]
    for name, texts in (
        ("eval", prompts),
        ("protected", guarded),
        ("target", [prompts[7], "Sing."]),
    ):
        pairs = [(text, "Eval answer.") for text in texts]
        _write(folder / f"{name}.jsonl", pairs, taint, times)
    _write(folder / "pool.jsonl", pool, taint, times)


def _write(path: Path, pairs: Sequence[tuple[str, str]], taint: str, times: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    long = [(" ".join([text] * times) + taint for text in pair) for pair in pairs]
    lines = [json.dumps(dict(zip(("prompt", "completion"), pair, strict=True))) for pair in long]
    path.write_text("\n".join(lines) + "\n")


def recipe(folder: Path, model: Path, stages: Sequence[dict[str, Any]]) -> Config:
    """Return the recipe of a run on inputs that `write_inputs` wrote."""
    files = {
        name: str(folder / f"{name}.jsonl") for name in ("pool", "target", "eval", "protected")
    }
    return Config.model_validate(
        {
            "name": "real",
            "pool": [{"path": files["pool"], "source": "web"}],
            "target": {"path": files["target"], "eval": files["eval"]},
            "protected": [{"path": files["protected"], "source": "guarded"}],
            "models": {"base": str(model)},
            "stages": list(stages),
            "select": {"method": "random", "budget": {"rows": 5}},
            "store": str(folder / "store"),
        }
    )


def shared_recipe(folder: Path, model: Path, stages: Sequence[dict[str, Any]]) -> Config:
    """Return such a recipe with a store that all tests of a process share.

    What one run has made of its inputs is there for the next: only for tests that read what runs make,
    and neither how they came by it nor the store.
    """
    own = recipe(folder, model, stages)
    return own.model_copy(update={"store": _shared_store().name})


@cache
def _shared_store() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="curate-runs-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))


def finish(config: Config, out: Path) -> Path:
    """Return the folder of the finished run; tests that read its report write it themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.pipeline.curation.write_report", lambda run: run)
        return run_curation(config, out, overwrite=True).folder


def read_texts(run: Path, stage: str) -> dict[str, tuple[str, str]]:
    """Return prompt and response of the rows that a stage judged, in pool order."""
    manifest = json.loads((run / "manifest.json").read_text())
    pool = Path(manifest["store"]) / manifest["artifacts"]["pool"]
    files = [*pool.glob("rows.parquet"), *sorted(pool.glob("rows/*.parquet"))]
    judged = pl.read_parquet(run / "evidence" / f"{stage}.parquet")["row_id"]
    rows = pl.read_parquet(files).filter(pl.col("row_id").is_in(judged.to_list()))
    return {
        row_id: (messages[0]["content"], messages[-1]["content"])
        for row_id, messages in rows.select("row_id", "messages").iter_rows()
    }


def jaccard(one: str, other: str) -> float:
    """Return the similarity of two texts' sets of word 5-grams."""
    left, right = _grams(one), _grams(other)
    return len(left & right) / len(left | right)


@cache
def _grams(text: str) -> frozenset[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return frozenset(tuple(words[i : i + 5]) for i in range(len(words) - 4))


def dedup(
    texts: dict[str, tuple[str, str]], threshold: float
) -> tuple[dict[str, tuple[str, float]], dict[str, tuple[str, float]]]:
    """Return the dropped rows, and the kept ones that resemble an earlier kept row: twin, similarity.

    Rows are gone through one by one; one goes if an earlier row that stays is similar enough.
    """
    kept: list[str] = []
    nearest: dict[str, tuple[str, float]] = {}
    dropped: dict[str, tuple[str, float]] = {}
    joined = {row_id: "\n".join(pair) for row_id, pair in texts.items()}
    for row_id, text in joined.items():
        similarities = [(jaccard(text, joined[other]), other) for other in kept]
        best = max(similarities, key=lambda pair: pair[0], default=(0.0, ""))
        if best[0] >= threshold:
            dropped[row_id] = best[1], best[0]
        else:
            kept.append(row_id)
            nearest[row_id] = best[1], best[0]
    return dropped, nearest
