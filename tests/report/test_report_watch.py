"""Watch sets and groups from recipe to page: `curate check` and `curate run` with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import polars as pl
import pytest

from tests.commandline import CommandResult, curate

pytestmark = pytest.mark.system
PROMPT = "How many boats leave the old harbour of Lisbon before the morning fog is gone"


def write_rows(path: Path, count: int, first: str | None = None) -> None:
    prompts = [f"{path.stem} number {i} ?" for i in range(count)]
    prompts[0] = first or prompts[0]
    lines = [json.dumps({"prompt": p, "response": f"Answer {i}."}) for i, p in enumerate(prompts)]
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, whose pool holds a prompt of a watch set."""
    folder = tmp_path_factory.mktemp("watched")
    for name, count in (("pool", 12), ("target", 3), ("easy", 6), ("hard", 6), ("maths", 4)):
        write_rows(folder / f"{name}.jsonl", count, PROMPT if name in ("pool", "maths") else None)
    write_rows(folder / "verse.jsonl", 5)
    recipe = {
        "name": "watched",
        "pool": "pool.jsonl",
        "target": {"path": "target.jsonl", "eval": ["easy.jsonl", "hard.jsonl"]},
        "models": {"base": str(tiny), "dtype": "float32"},
        "stages": [{"kind": "leaks"}],
        "select": {"method": "random", "budget": {"rows": 3}},
        "prove": {
            "draws": 2, "seeds": 1, "written": 0, "lora": {"epochs": 1},
            "watch": [
                {"path": "maths.jsonl", "margin": 0.5},
                {"path": "verse.jsonl", "metric": "exact_match", "margin": 0.1},
            ],
        },
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> CommandResult:
    return curate("run", "recipe.yaml", "--out", "out", folder=folder)


def test_verdicts_on_watch_sets_stand_beside_that_of_the_proof(
    result: CommandResult, folder: Path
) -> None:
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    (verdict,) = (line for line in lines if line.startswith("verdict"))
    watched = [line for line in lines if line.startswith("watch")]
    assert len(watched) == 2
    assert verdict.startswith("verdict  The selection is ")
    assert [line.split(":")[0] for line in watched] == ["watch    maths", "watch    verse"]
    assert "watch: maths: " in result.stderr, "the log tells it too"
    proof = orjson.loads((folder / "out/proof.json").read_bytes())
    assert [line["source"] for line in proof["watch"]] == ["maths", "verse"]
    assert [line["group"] for line in proof["groups"]] == ["easy", "hard"]
    effects = pl.read_parquet(folder / "out/evidence/proof-watch.parquet")
    assert effects.group_by("source").len().sort("source").rows() == [
        ("maths", 4 * (1 + 1 + 2 + 2)),
        ("verse", 5 * (1 + 1 + 2 + 2)),
    ]


def test_a_pool_row_that_is_a_watch_prompt_is_dropped_by_the_leak_check(
    result: CommandResult, folder: Path
) -> None:
    reason = curate("explain", "out", "pool/pool.jsonl:1", folder=folder).stdout
    assert "maths/maths.jsonl:1" in reason
    assert "before the morning fog" in reason
    example = curate("explain", "out", "maths/maths.jsonl:1", folder=folder).stdout
    assert "an example of a watch set, which only the leak check and the proof read" in example


def test_the_page_shows_both(result: CommandResult, folder: Path) -> None:
    page = (folder / "out/report/index.html").read_text()
    assert "Watch sets: what else changes" in page
    assert "Groups of eval examples" in page
    assert "better than random by, nats per response token: easy " in page
    assert "2 sets divide that of the proof among them" in page


def test_check_tells_what_watch_sets_cost_and_could_show(
    result: CommandResult, folder: Path
) -> None:
    lines = curate("check", "recipe.yaml", folder=folder).stdout.splitlines()
    [line] = [line for line in lines if line.startswith("proof: watch")]
    assert "models on maths, verse" in line
    assert "verse cannot be shown to be kept within 0.1: that takes" in line
    assert "last time the rise on maths was " in line
