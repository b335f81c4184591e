"""A run on preference data: pairs.parquet and the export hold both answers of what no gate keeps out."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation
from curate.pipeline.run import RunResult
from curate.runs.explain import explain_row
from curate.runs.folder import open_run

LEAK = "Which river flows through the old town of Cologne and on to the sea at Rotterdam?"
PAIRS = [
    ("What floats?", "A boat floats.", "A stone floats."),
    ("What sinks?", f"A stone. {LEAK}", "A cork."),
    ("What flies?", "A bird flies.", f"A stone. {LEAK}"),
    ("What floats?", "A boat floats.", "An anvil floats."),
    ("What burns?", "Dry wood burns.", "Wet sand burns."),
]


def curated(folder: Path, pairs: list[tuple[str, str, str]]) -> RunResult:
    lines = [
        {"id": f"p{i}", **dict(zip(("prompt", "chosen", "rejected"), pair, strict=True))}
        for i, pair in enumerate(pairs)
    ]
    lines.append({"id": "plain", "prompt": "What grows?", "completion": "A tree grows."})
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "eval.jsonl").write_text(json.dumps({"prompt": LEAK, "completion": "The Rhine."}))
    recipe = {
        "name": "pairs",
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "pool"}],
        "protected": [{"path": str(folder / "eval.jsonl"), "source": "eval"}],
        "models": {"base": "/nonexistent", "embedder": "/nonexistent"},
        "stages": ["exact", "leaks"],
        "export": {"formats": ["messages", "preference", "sharegpt_preference"]},
        "store": str(folder / "store"),
    }
    return run_curation(Config.model_validate(recipe), folder / "run")


@pytest.mark.system
def test_a_pair_goes_as_one_through_dedup_leak_gate_and_export(tmp_path: Path) -> None:
    result = curated(tmp_path, PAIRS)
    fates = dict(result.ledger.select("row_id", "reason").rows())
    assert [fates[f"pool/pool.jsonl:{i}"] for i in range(1, 7)] == [
        "kept", "leak_ngram", "leak_ngram", "exact_duplicate", "kept", "kept"
    ]  # fmt: skip
    pairs = pl.read_parquet(result.folder / "pairs.parquet")
    assert pairs.columns == [
        "prompt", "chosen", "rejected", "chosen_id", "rejected_id", "margin", "how"
    ]  # fmt: skip
    assert pairs["chosen_id"].to_list() == ["pool/pool.jsonl:1", "pool/pool.jsonl:5"]
    assert pairs["how"].to_list() == ["data", "data"]
    answers = [turns[0]["content"] for turns in pairs["rejected"].to_list()]
    assert answers == ["A stone floats.", "Wet sand burns."]
    assert "pairs.parquet" in result.manifest["files"]
    for name in ("preference", "sharegpt_preference"):
        [path] = (result.folder / "export" / name).glob("train-*.jsonl")
        texts = path.read_text()
        assert len(texts.splitlines()) == 2
        assert "A stone floats." in texts
        assert "Cologne" not in texts
    why = "\n".join(map(str, explain_row(open_run(result.folder), "pool/pool.jsonl:3")))
    assert "leak" in why


@pytest.mark.system
def test_a_run_without_pairs_has_no_table_of_them(tmp_path: Path) -> None:
    result = curated(tmp_path, [])
    assert not (result.folder / "pairs.parquet").exists()
    assert "pairs.parquet" not in result.manifest["files"]
