"""Whole runs on servers that misbehave: other rows come through, faults are told, keys are nowhere."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.llm.engines.replies import INSTRUCTION
from curate.pipeline.curation import run_curation
from curate.pipeline.run import RunResult
from tests.commandline import CommandResult
from tests.generate.serverruns import ONE_ROW, good_act, recipe_of, run_here
from tests.llm.engines.fakeserver import Act, FakeServer, question
from tests.llm.engines.hostile import FAILING, USELESS, content, status
from tests.llm.engines.test_redact import pieces

pytestmark = pytest.mark.system

REPO = Path(__file__).parents[2]
KEY = "sk-Very-secret-0123456789-abcdefGHIJKLMN"
CASES = [
    ("generate", "json error"), ("generate", "no choices"), ("rubric", "json error"),
    ("rubric", "html"), ("clear", "unknown reason"), ("knowledge", "json error"), ("correct", "html"),
]  # fmt: skip


def run(recipe: dict[str, Any]) -> RunResult:
    return run_curation(Config.model_validate(recipe), Path(recipe["store"]).parent / "run")


def run_without_page(recipe: dict[str, Any]) -> RunResult:
    """Do so without a report, a quarter of such a run, where its counts alone are looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.pipeline.curation.write_report", lambda folder: folder)
        return run(recipe)


def calls(result: RunResult) -> dict[str, Any]:
    """Return what was spent on the model by all stages together."""
    spent: dict[str, Any] = {}
    for stage in result.manifest["stages"]:
        for name, value in stage["llm"].items():
            spent[name] = spent.get(name, 0) + value
    return spent


@pytest.mark.parametrize(("asks", "fault"), CASES)
def test_one_row_that_fails_is_told_and_asked_again_by_the_next_run(
    asks: str, fault: str, tmp_path: Path, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    healthy: list[bool] = []

    def plan(body: dict[str, Any], number: int) -> Act:
        fails = ONE_ROW[asks] in question(body) and not healthy
        return (FAILING | USELESS)[fault] if fails else good_act(body)

    with FakeServer(plan) as server:
        recipe = recipe_of(asks, tmp_path, tiny, server.url)
        first = run(recipe)
        assert calls(first)["unanswered"] >= 1
        assert "had no answer. One of them: " in caplog.text
        sent = len(server.bodies)
        healthy.append(True)
        second = run_without_page(recipe)
        assert "unanswered" not in calls(second)
        assert 0 < len(server.bodies) - sent < sent, "only what failed is asked again"
        sent = len(server.bodies)
        assert calls(run_without_page(recipe)) == calls(second) and len(server.bodies) == sent


def test_what_a_server_left_unanswered_is_used_when_it_has_gone(
    tmp_path: Path, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def plan(body: dict[str, Any], number: int) -> Act:
        return FAILING["html"] if ONE_ROW["rubric"] in question(body) else good_act(body)

    with FakeServer(plan) as server:
        recipe = recipe_of("rubric", tmp_path, tiny, server.url)
        first = run(recipe)
    assert calls(run(recipe)) == calls(first)
    assert "1 calls without an answer were asked again in vain (no server can be" in caplog.text


WITHHELD = [
    ("generate", "policy"), ("rubric", "withheld"), ("clear", "refused"), ("knowledge", "refused"),
    ("correct", "policy"), ("judge", "policy"), ("rehearse", "withheld"),
]  # fmt: skip


@pytest.mark.parametrize(("asks", "fault"), WITHHELD)
def test_a_refusal_of_one_row_is_its_answer_and_not_asked_for_again(
    asks: str, fault: str, tmp_path: Path, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def plan(body: dict[str, Any], number: int) -> Act:
        return USELESS[fault] if ONE_ROW[asks] in question(body) else good_act(body)

    with FakeServer(plan) as server:
        recipe = recipe_of(asks, tmp_path, tiny, server.url)
        first = run(recipe)
        spent, sent = calls(first), len(server.bodies)
        assert spent["withheld"] >= 1 and "unanswered" not in spent
        assert calls(run_without_page(recipe)) == spent and len(server.bodies) == sent


def test_a_question_that_no_row_has_an_answer_to_ends_the_run_though_others_have(
    tmp_path: Path, tiny: Path
) -> None:
    healthy: list[bool] = []

    def plan(body: dict[str, Any], number: int) -> Act:
        formed = "response_format" in body or INSTRUCTION in question(body)
        return FAILING["json error"] if formed and not healthy else good_act(body)

    with FakeServer(plan) as server:
        recipe = recipe_of("clear", tmp_path, tiny, server.url)
        with pytest.raises(UserError, match=r"clear.reflections: none of 12 answers .*HTTP 400"):
            run(recipe)
        sent = len(server.bodies)
        healthy.append(True)
        assert "unanswered" not in calls(run_without_page(recipe))
        assert len(server.bodies) - sent < 15, "samples that came are not drawn anew"


@pytest.mark.parametrize("asks", ["clear", "knowledge"])
def test_a_model_whose_every_answer_is_cut_is_told(
    asks: str, tmp_path: Path, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def plan(body: dict[str, Any], number: int) -> Act:
        return good_act(body) if "response_format" in body else Act(body=content("4", "length"))

    with FakeServer(plan) as server:
        run(recipe_of(asks, tmp_path, tiny, server.url))
    assert (
        "answers was of use (" in caplog.text and "One of them: the answer was cut" in caplog.text
    )


@pytest.mark.parametrize(("asks", "fault"), [*CASES, *WITHHELD])
def test_a_run_whose_every_answer_fails_says_why_and_the_next_one_goes_on(
    asks: str, fault: str, tmp_path: Path, tiny: Path
) -> None:
    healthy: list[bool] = []
    with FakeServer(
        lambda body, number: good_act(body) if healthy else (FAILING | USELESS)[fault]
    ) as server:
        recipe = recipe_of(asks, tmp_path, tiny, server.url)
        with pytest.raises(UserError, match=r"none of \d+ answers was of use \(.*\)\. One of them"):
            run(recipe)
        healthy.append(True)
        assert "unanswered" not in calls(run_without_page(recipe))


def process(recipe: dict[str, Any], *arguments: str) -> CommandResult:
    """Run the command line as a user does."""
    folder = Path(recipe["store"]).parent
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    done = subprocess.run(
        [sys.executable, "-m", "curate", "run", str(path), "--out", str(folder / "run"), *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(REPO)}, capture_output=True, text=True,
        timeout=1_800,
    )  # fmt: skip
    return CommandResult(done.returncode, done.stdout, done.stderr)


def test_the_command_line_tells_the_fault_in_one_sentence(tmp_path: Path, tiny: Path) -> None:
    with FakeServer(lambda body, number: FAILING["json error"]) as server:
        done = run_here(recipe_of("rubric", tmp_path, tiny, server.url))
        assert done.returncode == 2, done.stderr
        assert f"{server.url}: HTTP 400" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr and "Internal" not in done.stderr


def echo(body: dict[str, Any], number: int) -> Act:
    """Repeat the key in every field and every writing, in good answers and in bad ones."""
    basic = base64.b64encode(f"user:{KEY}".encode()).decode()
    written = f" {KEY} Bearer {KEY.upper()} {basic} {quote(KEY)} {KEY[:20]} {json.dumps(KEY)}"
    headers = {"X-Key": KEY, "Set-Cookie": f"key={KEY}"}
    kinds = (
        status(500, json.dumps({"error": "." * 250 + written}), **headers),
        status(400, "." * 285 + KEY, **headers),
        Act(body="." * 70 + KEY, headers=headers),
        Act(body=json.dumps({"error": {"message": "." * 150 + written}})),
        Act(body=content("text" + written, finish=KEY)),
    )
    fails = number % 3 == 2
    return kinds[number // 3 % len(kinds)] if fails else good_act(body, extra=written)


@pytest.mark.parametrize(
    ("flow", "start"), [((), run_here), (("--prefect",), process)], ids=["directly", "as a flow"]
)
def test_a_key_that_the_server_repeats_everywhere_is_nowhere(
    flow: tuple[str, ...],
    start: Callable[..., CommandResult],
    tmp_path: Path,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = {"SOME_KEY": KEY, "CURATE_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with FakeServer(echo) as server:
        recipe: dict[str, Any] = {}
        for asks in ("rubric", "generate"):
            recipe |= recipe_of(asks, tmp_path, tiny, server.url, api_key_env="SOME_KEY")
        assert {"stages", "generate"} <= recipe.keys()
        done = start(recipe, *flow)
        assert done.returncode == 0, done.stderr
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "[key]" in done.stderr and "repeats its key" in done.stderr
    assert "Prefect failed" not in done.stderr, done.stderr
    secret = pieces(KEY)
    read = 0
    for text in [done.stdout, done.stderr, *map(readable, tmp_path.rglob("*"))]:
        read += len(text)
        assert not [piece for piece in secret if piece in text.lower()]
    assert read > 10_000 and bool(list(tmp_path.rglob("prefect.db"))) == bool(flow)


def readable(path: Path) -> str:
    """Return a file's bytes as text, tables of Parquet as their values."""
    if not path.is_file():
        return ""
    if path.suffix != ".parquet":
        return path.read_bytes().decode("latin1")
    import polars as pl

    return json.dumps(pl.read_parquet(path).to_dicts(), default=str)
