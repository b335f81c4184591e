"""What a user asks of a finished run: why a row, what if another budget, give me the files."""

import re
from pathlib import Path

import polars as pl
import pytest

from tests.commandline import CommandResult, curate
from tests.orchestration.workplace import Workplace, run_files

pytestmark = pytest.mark.system


def ask(command: str, run: Path, *arguments: str) -> CommandResult:
    return curate(command, str(run), *arguments)


def ledger(run: Path, **conditions: str) -> pl.DataFrame:
    return pl.read_parquet(run / "ledger.parquet").filter(**conditions).sort("rank")


def test_explain_tells_a_selected_row_with_its_nearest_targets(finished: Workplace) -> None:
    best = ledger(finished.out, fate="selected").row(0, named=True)
    done = ask("explain", finished.out, best["row_id"])
    assert done.returncode == 0, done.stderr
    assert f"selected: rank 1 ranks within the budget (score {best['score']:.4f})" in done.stdout
    assert done.stdout.count("target/target.jsonl:") == 3
    assert re.search(r"\[assistant\] (\w{3}|-) (\d\d:\d\d|-)", done.stdout)


def test_explain_shows_what_a_dropped_row_duplicates(finished: Workplace) -> None:
    dropped = ledger(finished.out, fate="dropped").row(0, named=True)
    done = ask("explain", finished.out, dropped["row_id"])
    assert "dropped by the stage exact" in done.stdout
    assert f"Duplicate of {dropped['duplicate_of']}" in done.stdout


def test_explain_of_an_unknown_row_shows_what_ids_look_like(finished: Workplace) -> None:
    done = ask("explain", finished.out, "no-such-row")
    assert done.returncode == 2
    assert "ids look like bundled/pool.jsonl:" in done.stderr


def test_a_planned_budget_is_a_prefix_of_the_run(finished: Workplace, tmp_path: Path) -> None:
    ranking = tmp_path / "ranking.parquet"
    done = ask("plan", finished.out, "--budget", "rows=3", "--out", str(ranking))
    assert done.returncode == 0, done.stderr
    assert "3 of them (100%) are among the 4 of the run" in done.stdout
    planned = pl.read_parquet(ranking).filter("selected")["row_id"].to_list()
    assert planned == ledger(finished.out, fate="selected")["row_id"].to_list()[:3]


def test_a_token_budget_is_met_within_one_row(finished: Workplace, tmp_path: Path) -> None:
    ranking = tmp_path / "ranking.parquet"
    ask("plan", finished.out, "--budget", "tokens=500", "--out", str(ranking))
    ranked = pl.read_parquet(ranking)
    spent = ranked.filter("selected")["tokens"].sum()
    following = ranked.filter(~pl.col("selected"))["tokens"][0]
    assert spent <= 500 < spent + following


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "rowz=3"], "select.budget.rowz: unknown key; did you mean 'rows'?"),
        (["--budget", "rows=many"], "write it as rows=200"),
        (["--set", "method=nope"], "unknown method 'nope'"),
        (["--set", "combin=global_max"], "did you mean 'combine'?"),
    ],
)
def test_a_bad_plan_is_told_in_one_sentence(
    finished: Workplace, arguments: list[str], message: str
) -> None:
    done = ask("plan", finished.out, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_export_and_report_write_the_same_bytes_as_the_run(
    finished: Workplace, tmp_path: Path
) -> None:
    done = ask("export", finished.out, "--out", str(tmp_path / "train"))
    assert done.returncode == 0, done.stderr
    assert run_files(tmp_path / "train") == run_files(finished.out / "export")
    page = finished.out / "report" / "index.html"
    before = page.read_bytes()
    page.unlink()
    assert ask("report", finished.out).returncode == 0
    assert page.read_bytes() == before
