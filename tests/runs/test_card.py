"""The card: what was proved, where the rows are from and under which licence, how to use them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
import yaml

from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.pool.entries import find_entry, identity_of
from curate.pool.settings import RowFile
from curate.runs.alternative import planned_alternative, rethresholded_alternative
from curate.runs.card import replaced_selection
from curate.runs.card_use import rows_digest
from curate.runs.folder import RunFolder, open_run
from curate.runs.funnel import gather_funnel
from curate.runs.licences import licence_head, source_lines
from curate.runs.plan import plan_selection
from curate.runs.rethreshold import rethreshold
from curate.runs.training_files import export_alternative, export_run
from curate.runs.verdict_text import verdict_lines
from tests.conftest import frame, row, turns
from tests.report.realrun import FUZZY, LEAKS, finish, shared_recipe, write_inputs

STAGES: list[dict[str, Any]] = [{"method": "exact"}, FUZZY, LEAKS]
PROVE = {"draws": 2, "seeds": 1, "lora": {"epochs": 1}, "written": 0, "allow_leaks": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cards")
    write_inputs(path)
    return path


@pytest.fixture(scope="module")
def settings(folder: Path, tiny: Path) -> dict[str, Any]:
    given = shared_recipe(folder, tiny, STAGES).model_dump(mode="json")
    given["pool"][0]["license"] = "Apache-2.0"
    return given


@pytest.fixture(scope="module")
def run(folder: Path, settings: dict[str, Any]) -> RunFolder:
    return open_run(finish(Config.model_validate({**settings, "prove": PROVE}), folder / "run"))


@pytest.fixture(scope="module")
def card(run: RunFolder) -> str:
    return (run.path / "export" / "README.md").read_text()


def head(card: str) -> dict[str, Any]:
    return dict(yaml.safe_load(card.split("---\n")[1]))


def section(card: str, title: str) -> list[str]:
    """Return the lines of a section."""
    return card.partition(f"\n## {title}\n\n")[2].partition("\n## ")[0].splitlines()


def cells(lines: list[str]) -> list[list[str]]:
    """Return the rows of the first table."""
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_the_verdict_stands_first_with_its_interval(run: RunFolder, card: str) -> None:
    proof = yaml.safe_load((run.path / "proof.json").read_text())
    top = card.partition("\n## ")[0]
    assert f"**Verdict: {proof['verdict']}.** {proof['sentence']}" in top
    by_control = [c for c in proof["comparisons"] if c["metric"] == proof["metric"]]
    low, high = (by_control[0]["estimate"][end] for end in ("low", "high"))
    assert f"{low:+.3g} to {high:+.3g}" in top
    assert len(cells(top.splitlines())) == len(by_control)


def test_the_funnel_adds_up_from_records_to_rows(run: RunFolder, card: str) -> None:
    numbers = [[int(c.replace(",", "") or 0) for c in row[1:3]]
               for row in cells(section(card, "From records to rows"))]  # fmt: skip
    records, *steps = numbers
    remaining = records[1]
    for leave, left in steps:
        remaining -= leave
        assert left == remaining
    assert remaining == run.table("selected").collect().height


def test_the_licence_of_all_rows_is_in_the_head_of_the_card(card: str) -> None:
    assert head(card)["license"] == "apache-2.0"
    assert cells(section(card, "Sources"))[0][:3] == ["web", "5", "Apache-2.0"]


def test_a_licence_is_in_no_key() -> None:
    entry = RowFile(path="data/pool/chat.jsonl")
    files, _ = find_entry(entry)
    licensed = entry.model_copy(update={"license": "mit"})
    assert identity_of(entry, files, False, 0) == identity_of(licensed, files, False, 0)


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["MIT", "mit"], {"license": "mit"}),
        (["mit", None], {}),
        ([None, None], {}),
        (["Our 1.0", "Our 1.0"], {"license": "other", "license_name": "our-1.0"}),
    ],
)
def test_the_head_names_one_licence_or_none(
    licences: list[str | None], expected: dict[str, str]
) -> None:
    pool = [{"path": str(i), "source": str(i), "license": one} for i, one in enumerate(licences)]
    given = Config.model_validate({"name": "x", "pool": pool})
    assert licence_head(given, pl.DataFrame({"source": ["0", "1"]})) == expected


def test_the_leak_check_is_told_with_its_count(run: RunFolder, card: str) -> None:
    dropped = run.table("evidence/leaks").filter(~pl.col("keep")).collect().height
    text = "\n".join(section(card, "Leaks"))
    assert dropped > 0
    assert f"dropped {dropped} rows that hold prompts of these sets: eval, protected" in text
    assert "By the proof's own check" in text


@pytest.mark.system
def test_the_recipe_of_the_card_makes_the_rows_again(
    run: RunFolder, card: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(section(card, "Reproduce"))
    body = text.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "recipe.yaml").write_text(body)
    # The files and the model that it names lie next to it, as the card says.
    for path in map(Path, re.findall(r'"(/[^"]+)"', orjson.dumps(run.manifest["config"]).decode())):
        if path.exists() and not (tmp_path / path.name).exists():
            (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    again = finish(load_config(tmp_path / "recipe.yaml"), tmp_path / "again")
    assert rows_digest(pl.read_parquet(again / "selected.parquet")) in text
    assert f"polars {pl.__version__}" in text


def test_the_digest_is_that_of_both_answers_of_pairs() -> None:
    plain = frame([row("a", turns("p", "c")), row("b", turns("q", "c"))])
    digests = {
        rows_digest(frame([row("a", turns("p", "c"), rejected=turns("", worse)[1:])]))
        for worse in ("x", "y", "x ")
    }
    assert len(digests) == 2
    assert rows_digest(plain) == rows_digest(plain.drop("rejected")) == rows_digest(plain[::-1])


def test_an_export_of_the_run_has_the_card_of_the_run(
    run: RunFolder, card: str, tmp_path: Path
) -> None:
    export_run(run, None, tmp_path / "train")
    assert (tmp_path / "train" / "README.md").read_text() == card


def test_another_selection_is_marked_as_not_proved(run: RunFolder, tmp_path: Path) -> None:
    planned = planned_alternative(plan_selection(run, "rows=9"))
    export_alternative(run, planned, tmp_path / "planned")
    card = (tmp_path / "planned" / "README.md").read_text()
    assert "**Not proved.**" in card
    assert "Verdict" not in card
    assert cells(section(card, "From records to rows"))[-1][2] == "9"
    moved = rethresholded_alternative(run, rethreshold(run, "fuzzy", ["threshold=0.4"]))
    export_alternative(run, moved, tmp_path / "moved")
    card = (tmp_path / "moved" / "README.md").read_text()
    assert "**Not proved.**" in card
    assert "threshold: 0.4" in card
    assert "## From records to rows" not in card


def test_a_plan_leaves_the_earlier_steps_of_the_funnel(run: RunFolder) -> None:
    funnel = gather_funnel(run)
    again = replaced_selection(funnel, run.table("evidence/select").collect())
    assert again.steps[:-1] == funnel.steps[:-1]
    assert (again.selected, again.steps[-1].removed) == (funnel.selected, funnel.steps[-1].removed)


def test_a_run_without_a_proof_says_so(folder: Path, settings: dict[str, Any]) -> None:
    plain = finish(Config.model_validate({**settings, "select": "all"}), folder / "plain")
    card = (plain / "export" / "README.md").read_text()
    assert "**Not proved.** No proof was asked for." in card
    assert "the order of the pool" in card


def test_names_of_users_are_no_mark_up(folder: Path, settings: dict[str, Any]) -> None:
    strange = folder / "a|<b>.jsonl"
    shutil.copy(folder / "pool.jsonl", strange)
    pool = [{"path": str(strange), "source": "odd", "license": "<img src=x>|"}]
    given = Config.model_validate({**settings, "pool": pool})
    card = (finish(given, folder / "odd") / "export" / "README.md").read_text()
    outside = card.split("---\n", 2)[2].partition("```yaml")[0]
    assert "<img" not in outside
    assert "<b>" not in outside
    assert {len(row) for row in cells(section(card, "Sources"))} == {4, 2}


def test_origins_are_counted_and_no_mark_up() -> None:
    hostile = 'x | y\n# <img src=x onerror="alert(1)">'
    origins = [hostile, None, *(str(i) for i in range(40)), "0"]
    rows = pl.DataFrame({"source": "a", "origin": origins})
    lines = list(source_lines(Config.model_validate({"name": "x", "pool": "a"}), rows))
    table = cells(lines[lines.index("| origin | rows |") :])
    assert sum(int(count) for _, count in table) == len(origins)
    assert table[0] == ["0", "2"]
    assert "<img" not in "\n".join(lines)


def test_verdicts_without_figures_are_told_alone() -> None:
    lines = list(verdict_lines({"verdict": "refused", "sentence": "It leaks | here."}, own=True))
    assert lines == ["**Verdict: refused.** It leaks \\| here."]
