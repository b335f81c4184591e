"""Whole runs that rewrite and translate rows of a pool on a server: rows, tables, lineage, reruns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation
from tests.generate.methods.test_translate import BACK, ROWS, WORDS
from tests.generate.serverruns import POOL, good_act, recipe_of
from tests.llm.engines.fakeserver import Act, FakeServer, question, reply

pytestmark = pytest.mark.system


def answer(body: dict[str, Any], number: int) -> Act:
    """Write in full and prefer that; translate by the dictionaries of the unit tests."""
    text = question(body)
    if "Write this response in full" in text:
        response = text.split('"""\n')[5].strip()
        return Act(body=reply(body, f"Count on from the first. The answer is {response}."))
    if "Response A:" in text:
        better = "B" if "Count on" in text.split("Response B:")[1] else "A"
        return Act(body=reply(body, json.dumps({"reason": "It says why.", "better": better})))
    if "Which one, A, B or C?" in text:
        sure = "Count on" in text.split("Response 2:")[1]
        return Act(body=reply(body, json.dumps({"answer": "A" if sure else "B"})))
    if "Translate both into" not in text:
        return good_act(body)
    words = next((words for name, words in WORDS.items() if name in text), BACK)
    pieces = [text.split('"""\n')[k].strip() for k in (1, 3)]
    prompt, response = (words.get(piece, piece) for piece in pieces)
    return Act(body=reply(body, json.dumps({"prompt": prompt, "response": response})))


def sent(server: FakeServer) -> int:
    """Return how many requests came, without those that find out what the server can do."""
    return sum("probe_" not in json.dumps(body) for body in server.bodies)


def run(
    folder: Path, model: Path, url: str, pool: Sequence[tuple[str, str]], method: dict[str, Any]
) -> pl.DataFrame:
    """Return the table of rows of a run with one method."""
    recipe = recipe_of("generate", folder, model, url)
    lines = [json.dumps({"prompt": p, "completion": c}) for p, c in pool]
    (folder / "pool.jsonl").write_text("\n".join(lines))
    recipe["generate"]["methods"] = [method]
    recipe["select"] = {"method": "all"}
    result = run_curation(Config.model_validate(recipe), folder / "run")
    return pl.read_parquet(result.folder / "generated" / f"{method['method']}-rows.parquet")


def test_terse_rows_of_a_pool_in_full(tmp_path: Path, tiny: Path) -> None:
    style = tmp_path / "style.md"
    style.write_text("Say why.")
    method = {"method": "rewrite", "style": str(style), "start": "pool", "rows": 4}
    with FakeServer(answer) as server:
        rows = run(tmp_path, tiny, server.url, POOL, method)
        assert rows.select("answer", "confidence", "state").rows() == [("number", 1.0, "kept")] * 4
        assert sent(server) == 4 * (1 + 2 * (1 + 2))
        assert run(tmp_path, tiny, server.url, POOL, method).equals(rows)
        assert sent(server) == 4 * 7, "nothing is paid for twice"
        style.write_text("Say why, and be brief.")
        run(tmp_path, tiny, server.url, POOL, method)
        assert sent(server) == 2 * 4 * 7, "another style is another request"


def test_rows_of_a_pool_in_two_languages(tmp_path: Path, tiny: Path) -> None:
    method = {"method": "translate", "to": ["de", "fr"], "start": "pool"}
    with FakeServer(answer) as server:
        rows = run(tmp_path, tiny, server.url, ROWS, method)
        assert (
            rows.select("source_language", "prompt_chrf", "state").rows()
            == [("en", 1.0, "kept")] * 4
        )
        assert sent(server) == 4 * 2
    (export,) = (tmp_path / "run" / "export").glob("*.jsonl")
    selected = export.read_text()
    for word in ("Flüssen", "rivières", "rivers"):
        assert word in selected
