"""The pages on trainers: their commands, settings and code are those of an export, and run."""

from __future__ import annotations

import re
from math import log
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from curate.runs.card_use import COMMANDS
from tests.conftest import frame, row, turns
from tests.pool.trainers.export_recipes import ROOT, export, table

PAGES = ROOT / "docs" / "trainers"
FILES = {"trl": "sft_trl.py", "axolotl": "axolotl.yaml", "llamafactory": "llamafactory.yaml",
         "mlx": "mlx.yaml"}  # fmt: skip


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def formats(name: str) -> list[str]:
    """Return the formats of the page's first recipe."""
    first = re.findall(r"```yaml\n(export: .*?)```", page(name), re.DOTALL)[0]
    return list(yaml.safe_load(first)["export"]["formats"])


@pytest.mark.parametrize("name", FILES)
def test_the_command_is_that_of_the_card_and_its_file_is_exported(
    name: str, tmp_path: Path
) -> None:
    assert f"$ {COMMANDS[FILES[name]]}\n" in page(name)
    folder = export(table(), formats(name), tmp_path)
    assert (folder / "recipes" / FILES[name]).is_file()


@pytest.mark.parametrize("name", ["axolotl", "llamafactory", "mlx"])
def test_the_settings_are_in_the_file_that_the_trainer_loads(name: str, tmp_path: Path) -> None:
    title = f"recipes/{FILES[name]}"
    (block,) = re.findall(rf'```yaml title="{title}"\n(.*?)```', page(name), re.DOTALL)
    written = yaml.safe_load(
        (export(table(), formats(name), tmp_path, template="{{ messages }}") / title).read_text()
    )
    for key, value in yaml.safe_load(block).items():
        if key == "datasets":
            assert value[0].items() <= written[key][0].items()
        else:
            assert written[key] == value, key


def test_the_options_of_the_script_are_those_that_the_page_names(tmp_path: Path) -> None:
    script = (export(table(), ["messages"], tmp_path) / "recipes" / "sft_trl.py").read_text()
    options = set(re.findall(r'add_argument\("(--[\w-]+)"', script))
    commands = "".join(re.findall(r"```console\n(.*?)```", page("trl"), re.DOTALL))
    own = set(re.findall(r"sft_trl\.py(.*)", commands))
    assert {option for line in own for option in re.findall(r"--[\w-]+", line)} == options


@pytest.mark.system
def test_the_pages_code_of_dpo_takes_a_step(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trl", reason="TRL is not installed: the extra `trl` brings it")
    rows = [row(f"s:{i}", turns("2 + 2?", f"{i}"), rejected=turns("", "5")[1:]) for i in range(8)]
    split = ["train"] * 6 + ["validation"] * 2
    pairs = frame(rows).with_columns(split=pl.Series(split))
    export(pairs, ["messages", "preference"], tmp_path / "runs" / "mine" / "export")
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", page("trl"), re.DOTALL)
        if "DPOTrainer" in block
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code.replace("HuggingFaceTB/SmolLM2-135M-Instruct", str(tiny)), names)
    assert names["trainer"].state.global_step == 1
    # One step at the default rate leaves it next to an even chance.
    assert names["held_out"]["eval_loss"] == pytest.approx(log(2), abs=0.02)
    assert 0 <= names["held_out"]["eval_rewards/accuracies"] <= 1
