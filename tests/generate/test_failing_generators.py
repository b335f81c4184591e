"""Several generators in a recipe: one that fails ends alone, and the run says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from curate.core.errors import UserError
from tests.generate.serverruns import good_act, recipe_of, run_here
from tests.generate.test_server_runs import calls, run
from tests.llm.engines.fakeserver import Act, FakeServer
from tests.llm.engines.hostile import FAILING

pytestmark = pytest.mark.system

EXPAND = {"method": "expand", "mode": "pairs", "rounds": 1, "shots": 1}
# Of its requests and of no other ones.
CRAFT_ASKS = "on what this text is about"


def recipe(folder: Path, model: Path, url: str, *methods: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe of craft and further generators."""
    whole = recipe_of("generate", folder, model, url)
    whole["generate"]["methods"] += [EXPAND, *methods]
    return whole


def missing_file(whole: dict[str, Any], folder: Path) -> None:
    whole["generate"]["methods"][0]["corpus"] = str(folder / "nowhere.jsonl")


def empty_corpus(whole: dict[str, Any], folder: Path) -> None:
    (folder / "corpus.jsonl").write_text("")


def broken_corpus(whole: dict[str, Any], folder: Path) -> None:
    (folder / "corpus.jsonl").write_text('{"text": "a"}\n{"text": ')


def no_gold(whole: dict[str, Any], folder: Path) -> None:
    whole["generate"]["methods"][0] = {"method": "reject"}


def broken_prompt(whole: dict[str, Any], folder: Path) -> None:
    (folder / "prompts/craft").mkdir(parents=True)
    (folder / "prompts/craft/write.j2").write_text("no turn and {{ no end")
    whole["generate"]["prompts"] = str(folder / "prompts")


INPUTS: list[tuple[Callable[[dict[str, Any], Path], None], str]] = [
    (missing_file, "nowhere.jsonl"),
    (empty_corpus, "corpus"),
    (broken_corpus, "corpus.jsonl"),
    (no_gold, "none has an answer that the numeric checker can read"),
    (broken_prompt, "write.j2"),
]


@pytest.mark.parametrize(("spoil", "why"), INPUTS, ids=[spoil.__name__ for spoil, _ in INPUTS])
def test_a_fault_of_what_one_generator_reads_ends_no_other(
    spoil: Callable[[dict[str, Any], Path], None],
    why: str,
    tmp_path: Path,
    tiny: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FakeServer(lambda body, number: good_act(body)) as server:
        whole = recipe(tmp_path, tiny, server.url)
        spoil(whole, tmp_path)
        name = whole["generate"]["methods"][0]["method"]
        result = run(whole)
        ledger = pl.read_parquet(result.folder / "ledger.parquet")
        assert ledger.filter(source="generated")["origin"].to_list() == ["expand"] * 2
        (entry,) = (e for e in result.manifest["stages"] if e["stage"] == "generate")
        assert list(entry["failed"]) == [name] and why in entry["failed"][name]
        bill = orjson.loads((result.folder / "generated/bill.json").read_bytes())
        assert bill["failed"] == entry["failed"]
        assert f"generate: {name} failed: " in caplog.text
        (line,) = (sentence for sentence in result.generated if sentence.startswith(f"{name}: "))
        assert "0 of 0 candidates kept" in line and "; failed: " in line and why in line
        page = result.report.read_text()
        assert " failed: <bdi>" in page and why in page
        sent = len(server.bodies)
        assert run(whole).manifest["stages"] and len(server.bodies) == sent, "nothing is paid twice"


@pytest.mark.parametrize("fault", ["json error", "html"])
def test_a_server_that_fails_one_generator_ends_no_other_and_is_asked_again(
    fault: str, tmp_path: Path, tiny: Path
) -> None:
    healthy: list[bool] = []

    def plan(body: dict[str, Any], number: int) -> Act:
        fails = CRAFT_ASKS in json.dumps(body) and not healthy
        return FAILING[fault] if fails else good_act(body)

    with FakeServer(plan) as server:
        whole = recipe(tmp_path, tiny, server.url)
        whole["generate"]["limits"] = {"failures": 2}
        first = run(whole)
        (entry,) = (e for e in first.manifest["stages"] if e["stage"] == "generate")
        assert list(entry["failed"]) == ["craft"]
        assert entry["methods"]["expand"]["kept"] == 2
        assert calls(first)["unanswered"] >= 1
        healthy.append(True)
        second = run(whole)
        (entry,) = (e for e in second.manifest["stages"] if e["stage"] == "generate")
        assert "failed" not in entry and entry["methods"]["craft"]["kept"] == 4


def test_where_all_fail_the_run_ends_with_their_faults(tmp_path: Path, tiny: Path) -> None:
    with FakeServer(lambda body, number: FAILING["json error"]) as server:
        whole = recipe(tmp_path, tiny, server.url)
        missing_file(whole, tmp_path)
        with pytest.raises(UserError, match=r"nowhere\.jsonl.*; .*none of 2 answers was of use"):
            run(whole)
        whole["generate"]["methods"] = whole["generate"]["methods"][:1]
        sent = len(server.bodies)
        with pytest.raises(UserError, match=r"nowhere\.jsonl"):
            run(whole)
        assert len(server.bodies) == sent


def test_a_limit_still_ends_all(tmp_path: Path, tiny: Path) -> None:
    with FakeServer(lambda body, number: good_act(body)) as server:
        whole = recipe(tmp_path, tiny, server.url)
        whole["generate"]["limits"] = {"calls": 2}
        result = run(whole)
        (entry,) = (e for e in result.manifest["stages"] if e["stage"] == "generate")
        assert "limit of 2 calls" in entry["stopped"]["craft"] and "failed" not in entry
        assert len(server.bodies) <= 3
        assert "expand: 0 of 0 candidates kept" in "\n".join(result.generated)


def test_the_command_line_tells_which_generator_failed(tmp_path: Path, tiny: Path) -> None:
    with FakeServer(lambda body, number: good_act(body)) as server:
        whole = recipe(tmp_path, tiny, server.url)
        missing_file(whole, tmp_path)
        done = run_here(whole)
        assert done.returncode == 0, done.stderr
        assert "craft: 0 of 0 candidates kept" in done.stdout + done.stderr
        assert "failed: " in done.stdout and "nowhere.jsonl" in done.stdout
        whole["generate"]["methods"] = whole["generate"]["methods"][:1]
        done = run_here(whole, "--overwrite")
        assert done.returncode == 2 and "nowhere.jsonl" in done.stderr.splitlines()[-1]
