"""A run on preference data: pairs.parquet and the export hold both answers of what no gate keeps out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.llm.requests import Call
from curate.pipeline.curation import run_curation
from curate.pipeline.run import RunResult
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from curate.runs.rowquery import RowQuery, row_lines
from tests.generate.scripted import ScriptedEngine, text_of

LEAK = "Which river flows through the old town of Cologne and on to the sea at Rotterdam?"
PAIRS = [
    ("What floats?", "A boat floats.", "A stone floats."),
    ("What sinks?", f"A stone. {LEAK}", "A cork."),
    ("What flies?", "A bird flies.", f"A stone. {LEAK}"),
    ("What floats?", "A boat floats.", "An anvil floats."),
    ("What burns?", "Dry wood burns.", "Wet sand burns."),
    ("What floats?", "A boat floats.", "A stone floats."),
    ("What floats?", "A stone floats.", "A boat floats."),
]


def curated(folder: Path, pairs: list[tuple[str, str, str]]) -> RunResult:
    lines = [
        {"id": f"p{i}", **dict(zip(("prompt", "chosen", "rejected"), pair, strict=True))}
        for i, pair in enumerate(pairs)
    ]
    lines.append({"id": "plain", "prompt": "What grows?", "completion": "A tree grows."})
    return run_curation(Config.model_validate(base_recipe(folder, lines)), folder / "run")


def base_recipe(folder: Path, lines: list[dict[str, str]]) -> dict[str, Any]:
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "eval.jsonl").write_text(json.dumps({"prompt": LEAK, "completion": "The Rhine."}))
    return {
        "name": "pairs",
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "pool"}],
        "protected": [{"path": str(folder / "eval.jsonl"), "source": "eval"}],
        "models": {"base": "/nonexistent", "embedder": "/nonexistent"},
        "stages": ["exact", "leaks"],
        "export": {"formats": ["messages", "preference", "sharegpt_preference"]},
        "store": str(folder / "store"),
    }


@pytest.mark.system
def test_a_pair_goes_as_one_through_dedup_leak_gate_and_export(tmp_path: Path) -> None:
    result = curated(tmp_path, PAIRS)
    fates = dict(result.ledger.select("row_id", "reason").rows())
    assert [fates[f"pool/pool.jsonl:{i}"] for i in range(1, 9)] == [
        "kept", "leak_ngram", "leak_ngram", "kept", "kept", "exact_duplicate", "kept", "kept"
    ]  # fmt: skip
    pairs = pl.read_parquet(result.folder / "pairs.parquet")
    assert pairs.columns == [
        "prompt", "chosen", "rejected", "chosen_id", "rejected_id", "margin", "how"
    ]  # fmt: skip
    assert pairs["chosen_id"].to_list() == [f"pool/pool.jsonl:{i}" for i in (1, 4, 5, 7)]
    assert set(pairs["how"]) == {"data"}
    answers = [turns[0]["content"] for turns in pairs["rejected"].to_list()]
    assert answers == ["A stone floats.", "An anvil floats.", "Wet sand burns.", "A boat floats."]
    opposed = pl.read_parquet(result.folder / "evidence" / "exact-contradictions.parquet")
    assert opposed.rows() == [("pool/pool.jsonl:1", "pool/pool.jsonl:7")]
    page = " ".join(result.report.read_text().split())
    assert "One prompt has two pairs that prefer opposite answers" in page
    # Of the two leaks one stands in the chosen answer.
    assert page.count("Its rejected answer alone holds these words.") == 1
    assert page.count(f"<mark>{LEAK[:-1]}</mark>") >= 2
    assert "pairs.parquet" in result.manifest["files"]
    for name in ("preference", "sharegpt_preference"):
        [path] = (result.folder / "export" / name).glob("train-*.jsonl")
        texts = path.read_text()
        assert len(texts.splitlines()) == 4
        assert "A stone floats." in texts
        assert "Cologne" not in texts
    query = RowQuery("rejected LIKE '%Cologne%'", text=True)
    count, rows = query.find(open_run(result.folder))
    assert rows["row_id"].to_list() == ["pool/pool.jsonl:3"]
    assert f"    rejected: A stone. {LEAK}" in list(row_lines(count, rows, text=True))
    why = "\n".join(map(str, explain_row(open_run(result.folder), "pool/pool.jsonl:3")))
    assert "leak" in why


@pytest.mark.system
def test_a_run_without_pairs_has_no_table_of_them(tmp_path: Path) -> None:
    result = curated(tmp_path, [])
    assert not (result.folder / "pairs.parquet").exists()
    assert "pairs.parquet" not in result.manifest["files"]


def scripted_reply(call: Call) -> str:
    """Solve one sum of two, answer a question well or badly, and prefer boats to stones."""
    text = text_of(call)
    if "Which one, A, B or C?" in text:
        return json.dumps({"answer": "A" if "boat" in text.split("Response 2:")[1] else "B"})
    if "Response A:" in text:
        a_is_better = "boat" in text.split("Response A:")[1].split("Response B:")[0]
        return json.dumps({"reason": "it floats", "better": "A" if a_is_better else "B"})
    if "float" in text:
        return ["A boat does.", "Stones, I think."][call.sample % 2]
    answer = ["The sum is 23.", "The sum is 24."][call.sample % 2]
    return f"{answer} {LEAK}" if "19 + 4" in text and call.sample == 1 else answer


@pytest.mark.system
def test_made_pairs_are_pairs_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine([(lambda call: True, scripted_reply)])
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: engine)
    prompts = ["Does a boat float, or what does?", "How much is 20 + 3?", "How much is 19 + 4?"]
    answers = ["Boats.", "It is 23.", "It is 23."]
    lines = [{"prompt": p, "completion": a} for p, a in zip(prompts, answers, strict=True)]
    recipe = base_recipe(tmp_path, lines)
    recipe["generate"] = {
        "methods": [
            {"method": "prefer", "start": "pool", "samples": 2, "rows": 9},
            {"method": "reject", "start": "pool", "plan": "uniform", "solutions": 1, "pilot": 2,
             "trials": 2},
        ]
    }  # fmt: skip
    recipe["models"] = {"embedder": "static"}
    result = run_curation(Config.model_validate(recipe), tmp_path / "run")
    pairs = pl.read_parquet(result.folder / "pairs.parquet")
    candidates = pl.read_parquet(result.folder / "generated" / "candidates.parquet")
    reasons = dict(candidates.select("row_id", "flaw").rows())
    assert set(pairs["how"]) == {"prefer", "reject"}
    assert set(pairs["margin"]) == {1.0}
    assert {reasons[row_id] for row_id in pairs["chosen_id"]} == {None}
    assert {reasons[row_id] for row_id in pairs["rejected_id"]} == {
        "less_preferred",
        "wrong_answer",
    }
    page = " ".join(result.report.read_text().split())
    assert "1 of 3 prompts (33.3 %) came to a pair, with a median confidence of 1.00." in page
    assert "2 of 4 candidates (50.0 %) were kept. Preference pairs among them: 2." in page
    # The wrong trial of the other sum holds an eval prompt, so its pair is dropped as one.
    assert "19 + 4" not in str(pairs.to_dicts())
    dropped = result.ledger.filter(pl.col("reason").str.starts_with("leak"))
    assert dropped["row_id"].str.starts_with("reject/").to_list() == [True]
