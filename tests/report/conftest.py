"""A builder of small finished runs, with whatever text in every field that users can fill."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.proof.statistics import WITHIN
from curate.proof.verdict import RULE
from curate.selectors import comparison

MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
ROW = {
    "row_id": pl.String,
    "messages": MESSAGES,
    "content_hash": pl.String,
    "source": pl.String,
    "origin": pl.String,
    "meta": pl.String,
    "parents": pl.List(pl.String),
    "method": pl.String,
    "hop": pl.Int32,
}
EVIDENCE = {
    "row_id": pl.String,
    "keep": pl.Boolean,
    "reason": pl.String,
    "score": pl.Float64,
    "threshold": pl.Float64,
    "duplicate_of": pl.String,
}
HITS = {
    "row_id": pl.String,
    "eval_id": pl.String,
    "reason": pl.String,
    "coverage": pl.Float64,
    "span": pl.String,
}
REJECTS = {
    "source": pl.String,
    "file": pl.String,
    "position": pl.Int64,
    "reason": pl.String,
    "field": pl.String,
    "raw": pl.String,
}
LEDGER = {
    "row_id": pl.String,
    "source": pl.String,
    "origin": pl.String,
    "fate": pl.String,
    "stage": pl.String,
    "reason": pl.String,
    "score": pl.Float64,
    "threshold": pl.Float64,
    "duplicate_of": pl.String,
    "rank": pl.Int64,
}
STAGES = [
    {"kind": "exact", "compare": "example", "fold": ["space"], "keep": "earliest"},
    {"kind": "leaks", "ngram": 8, "threshold": 0.5, "warn": None},
]
SHARED = "how many ducks does janet have on her farm today"
LEAKED = "Hello! How many ducks does Janet have -- on her farm, today?"


@dataclass
class RunSpec:
    """What a made-up run holds. `taint` is put into every text that comes from users."""

    rows: int = 60
    selected: int = 10
    duplicates: int = 6
    leaks: int = 2
    rejects: tuple[str, ...] = ("bad_json", "bad_json", "empty_prompt")
    targets: int = 4
    taint: str = ""
    origin: Callable[[int], str | None] = field(default=lambda i: f"task{i % 5}")
    source: Callable[[int], str] = field(default=lambda i: f"src{i % 2}")
    text: Callable[[int], str] = field(default=lambda i: f"Question number {i}?")
    method: str = "rds"
    verdict: str | None = "better"
    leaking: bool = False
    metrics: tuple[str, ...] = ("loss", "exact_match")
    seeds: int = 3
    draws: int = 9
    judged: int = 1
    proved: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()


def _row(row_id: str, source: str, origin: str | None, user: str, answer: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return {
        "row_id": row_id,
        "messages": messages,
        "content_hash": "0",
        "source": source,
        "origin": origin,
        "meta": "{}",
        "parents": [],
        "method": None,
        "hop": None,
    }


def _frame(rows: list[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema)


class Builder:
    def __init__(self, folder: Path, spec: RunSpec) -> None:
        self.out, self.store, self.spec = folder / "run", folder / "store", spec
        taint = spec.taint
        self.pool = [
            _row(
                f"{spec.source(i)}/a{taint}.jsonl:{i}",
                spec.source(i) + taint,
                None if spec.origin(i) is None else f"{spec.origin(i)}{taint}",
                spec.text(i) + taint,
                f"Answer {i}.{taint}",
            )
            for i in range(spec.rows)
        ]
        first_leak = spec.rows - spec.leaks
        for row in self.pool[first_leak:]:
            row["messages"][0]["content"] = LEAKED + taint
        self.duplicates = range(first_leak - spec.duplicates, first_leak)
        self.leaks = range(first_leak, spec.rows)
        self.kept = range(first_leak - spec.duplicates)
        self.target = [
            _row(f"target/t{taint}:{i}", "target", "t", f"Target {i}?{taint}", f"T{i}{taint}")
            for i in range(spec.targets)
        ]
        question = "How many ducks does Janet have on her farm today?"
        self.eval = [_row(f"eval/e{taint}:0", "eval", "e", question + taint, "Nine." + taint)]

    def write(self) -> Path:
        self._table("rejects", self._rejects(), REJECTS)
        self._evidence()
        self._ranking()
        self._comparison()
        self._rows("pool", self.pool)
        self._rows("target", self.target)
        self._rows("eval", self.eval)
        self._proof()
        self._manifest()
        return self.out

    def _table(self, name: str, rows: list[dict[str, Any]], schema: dict[str, Any]) -> None:
        path = self.out / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        _frame(rows, schema).write_parquet(path)

    def _rows(self, role: str, rows: list[dict[str, Any]]) -> None:
        path = self.store / f"{role}-0" / "rows.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        _frame(rows, ROW).write_parquet(path)

    def _rejects(self) -> list[dict[str, Any]]:
        taint = self.spec.taint
        return [
            {
                "source": "src0" + taint,
                "file": f"a{taint}.jsonl",
                "position": 1000 + i,
                "reason": reason,
                "field": f"column 1{taint}",
                "raw": f'{{"prompt": {i}{taint}',
            }
            for i, reason in enumerate(self.spec.rejects)
        ]

    def _evidence(self) -> None:
        twins = {i: ("exact_duplicate", self.pool[0]["row_id"], 1.0) for i in self.duplicates}
        leaked = {i: ("leak_ngram", self.eval[0]["row_id"], 0.9) for i in self.leaks}
        before = [*self.kept, *self.duplicates, *self.leaks]
        for name, drops, threshold in (("exact", twins, 1.0), ("leaks", leaked, 0.5)):
            lines = []
            for i in before:
                reason, twin, score = drops.get(i, (None, None, 0.0))
                lines.append([self.pool[i]["row_id"], not reason, reason, score, threshold, twin])
            rows = [dict(zip(EVIDENCE, line, strict=True)) for line in lines]
            self._table(f"evidence/{name}", rows, EVIDENCE)
            before = [i for i in before if i not in drops]
        hits = [
            dict(zip(HITS, (self.pool[i]["row_id"], twin, reason, score, SHARED), strict=True))
            for i, (reason, twin, score) in leaked.items()
        ]
        self._table("evidence/leaks-hits", hits, HITS)
        self.drops = {"exact": twins, "leaks": leaked}

    def _ranking(self) -> None:
        spec = self.spec
        scored = spec.method != "random"
        # The last chosen rank scores low and the next three high, as when target examples take turns.
        scores = [0.9 - 0.01 * k for k in range(len(self.kept))]
        scores[spec.selected - 1] -= 0.05
        ranking, scored_rows = [], []
        for k, i in enumerate(self.kept):
            nearest = self.target[k % max(spec.targets - 1, 1)]["row_id"] if scored else None
            score = scores[k] if scored else None
            ranking.append(
                [self.pool[i]["row_id"], k + 1, k < spec.selected, score, nearest, 20 + k]
            )
            similar = [(score or 0) - 0.1 * (q != k % spec.targets) for q in range(spec.targets)]
            scored_rows.append([self.pool[i]["row_id"], score, nearest, similar])
        self.ranking = ranking
        columns = ["row_id", "rank", "selected", "score", "nearest_id", "tokens"]
        types = [pl.String, pl.Int64, pl.Boolean, pl.Float32, pl.String, pl.Int64]
        rows = [dict(zip(columns, line, strict=True)) for line in ranking]
        self._table("evidence/select", rows, dict(zip(columns, types, strict=True)))
        schema: dict[str, Any] = {"row_id": pl.String, "score": pl.Float32, "nearest_id": pl.String}
        if scored:
            schema["similarities"] = pl.Array(pl.Float32, spec.targets)
        rows = [dict(zip(schema, line, strict=False)) for line in scored_rows]
        self._table("evidence/scores", rows, schema)
        self._table("selected", [self.pool[i] for i in self.kept[: spec.selected]], ROW)
        self._table("ledger", self._ledger(), LEDGER)

    def _comparison(self) -> None:
        """Write what is found of selections; the compared ones rank rows the other way round."""
        if not self.spec.compared:
            return
        rows = pl.read_parquet(self.out / "evidence" / "select.parquet")
        other = rows.sort("rank", descending=True).with_columns(rows["rank"], rows["selected"])
        rankings = {self.spec.method: rows} | dict.fromkeys(self.spec.compared, other)
        facts = rows.select("row_id", "tokens").join(
            _frame(self.pool, ROW).select("row_id", "source", "origin"), on="row_id"
        )
        aligned = comparison.align(rankings)
        alone = comparison.rows_in_one_selection(list(rankings), *aligned)
        tables = {
            "overlap": comparison.overlap(list(rankings), *aligned[1:]),
            "selections": comparison.count_selections(rankings, facts, alone),
            "mix": comparison.mix(rankings, facts),
            "alone": alone.sort("rank").pipe(comparison.in_order, rankings),
        }
        for name, table in tables.items():
            table.write_parquet(self.out / "evidence" / f"comparison-{name}.parquet")
        self._coverage(list(rankings))

    def _coverage(self, names: list[str]) -> None:
        states = ("near", "missed", "gap")
        lines = [
            (name, target["row_id"], self.pool[q]["row_id"], 0.8 - q / 10, self.pool[0]["row_id"],
             0.8, 0.75, states[min(q, 2)])
            for name in names
            for q, target in enumerate(self.target)
        ]  # fmt: skip
        columns = ("name", "target_id", "row_id", "similarity", "kept_id", "kept_similarity", "limit",
                   "state")  # fmt: skip
        table = pl.DataFrame(lines, schema=columns, orient="row")
        table.write_parquet(self.out / "evidence" / "coverage.parquet")

    def _ledger(self) -> list[dict[str, Any]]:
        fates: dict[int, list[Any]] = {}
        for k, i in enumerate(self.kept):
            _, rank, chosen, score, _, _ = self.ranking[k]
            fate = ["selected", "within_budget"] if chosen else ["not_selected", "beyond_budget"]
            fates[i] = [fate[0], "select", fate[1], score, None, None, rank]
        for stage, drops in self.drops.items():
            for i, (reason, twin, score) in drops.items():
                limit = 1.0 if stage == "exact" else 0.5
                fates[i] = ["dropped", stage, reason, score, limit, twin, None]
        return [
            dict(zip(LEDGER, [r["row_id"], r["source"], r["origin"], *fates[i]], strict=True))
            for i, r in enumerate(self.pool)
        ]

    def _proof(self) -> None:
        spec = self.spec
        if spec.verdict is None:
            return
        hit = {
            "row_id": self.pool[0]["row_id"],
            "eval_id": self.eval[0]["row_id"],
            "reason": "leak_exact",
            "coverage": 1.0,
            "span": SHARED + spec.taint,
            "place": "arm",
        }
        proof: dict[str, Any] = {
            "verdict": spec.verdict,
            "sentence": f"A sentence of the proof.{spec.taint}",
            "leaks": {
                "allowed": spec.leaking,
                "leaking_rows": {"arm": int(spec.leaking), "target": 0},
                "examples": [hit] if spec.leaking else [],
            },
            "settings": {"seeds": spec.seeds},
        }
        if spec.verdict != "refused":
            proof |= self._measured()
        (self.out / "proof.json").write_text(json.dumps(proof))

    def _measured(self) -> dict[str, Any]:
        spec, seeds = self.spec, range(self.spec.seeds)
        arms: list[dict[str, Any]] = [
            {
                "arm": arm,
                "rows": [] if arm == "base" else [10 + n for n in seeds],
                "tokens": [] if arm == "base" else [1000 + n for n in seeds],
                "steps": [] if arm == "base" else [4 for _ in seeds],
                "by_seed": {m: [level + 0.01 * n for n in seeds] for m in spec.metrics},
                **dict.fromkeys(spec.metrics, level),
            }
            for level, arm in enumerate(("base", "selected", "random_rows", "random_tokens"))
        ]
        comparisons = [
            {
                "control": control,
                "metric": metric,
                "unit": "nats a response token",
                "draws": spec.draws,
                "mean_difference": 0.0236225,
                "half": 0.0363,
                "another_draw": [2.1, 2.4],
                "estimate": {"low": -0.0144, "high": 0.0616},
                "verdict": WITHIN if metric == spec.metrics[0] else None,
                "by_draw": [0.01 * n for n in range(spec.draws)],
                "share_of_examples_better": 0.625,
            }
            for metric in spec.metrics
            for control in ("random_rows", "random_tokens")
        ]
        return {
            "rule": RULE,
            "alpha": 0.05 / spec.judged,
            "judged": spec.judged,
            "control": "random_rows",
            "spread": {
                "draws": spec.draws,
                "mean": 2.2,
                "sd": 0.1,
                "low": 0.07,
                "high": 0.19,
                "detectable": 0.24,
                "detectable_low": 0.16,
                "detectable_high": 0.47,
            },
            "rank": {"place": 2, "of": spec.draws + 1, "p": 0.4},
            "score_validity": {"correlation": 0.85, "p": 0.004, "draws": spec.draws},
            "methods": [
                {"method": name, "verdict": WITHIN, "comparisons": [comparisons[0]]}
                for name in spec.proved
            ],
            "metric": spec.metrics[0],
            "arms": arms,
            "comparisons": comparisons,
            "eval_examples": 40,
            "eval_examples_too_long": 2,
        }

    def _manifest(self) -> None:
        spec = self.spec
        rows, kept = spec.rows, len(self.kept)
        after_exact = rows - spec.duplicates
        counted: list[tuple[str, int, int, dict[str, Any]]] = [
            ("pool", rows + len(spec.rejects), rows, {"rejected": {}}),
            ("exact", rows, after_exact, {"dropped": {"exact_duplicate": spec.duplicates}}),
            ("leaks", after_exact, kept, {"dropped": {"leak_ngram": spec.leaks}}),
            (f"score-{spec.method}", kept, kept, {}),
            ("select", kept, spec.selected, {"tokens": 245}),
        ]
        stages = [
            {
                "stage": name,
                "steps": 2,
                "cached": k % 3,
                "seconds": 0.5 * k,
                "peak_memory_mb": 100.0 + k,
                "llm": {"calls": 0, "tokens": 0, "cost": 0.0},
                "keys": [],
                "rows_in": before,
                "rows_out": after,
                **more,
            }
            for k, (name, before, after, more) in enumerate(counted)
        ]
        select: dict[str, Any] = {"method": spec.method, "budget": {"rows": spec.selected}}
        if spec.method == "rds":
            select["combine"] = "round_robin"
        manifest = {
            "name": "made-up" + spec.taint,
            "config": {
                "name": "made-up" + spec.taint,
                "select": select,
                "compare": [{"method": name, "budget": select["budget"]} for name in spec.compared],
                "models": {"embedder": "static" + spec.taint},
                "pool": [spec.taint],
                "stages": STAGES,
            },
            "store": str(self.store),
            "versions": {"curate": "0.1.0", "python": "3.11.7"},
            "model": {"weights": "abc" + spec.taint, "dtype": "float32"},
            "artifacts": {role: f"{role}-0" for role in ("pool", "target", "eval")},
            "stages": stages,
        }
        (self.out / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """As make_run, but a run is written once for all tests of a file, which only read it."""

    @cache
    def make(**spec: Any) -> Path:
        return Builder(tmp_path_factory.mktemp("shared"), RunSpec(**spec)).write()

    return make


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run folder, and its store beside it, to a given spec."""

    def make(name: str = "one", **spec: Any) -> Path:
        return Builder(tmp_path / name, RunSpec(**spec)).write()

    return make
