"""The quickstart in a folder: the recipe of configs/, which reads what lies beside it."""

from pathlib import Path

import pytest

from curate.config.loading import load_config
from curate.config.quickstart import write_quickstart
from curate.core.errors import UserError
from curate.pipeline.inputs import input_sets

REPO = Path(__file__).parents[2]


def test_the_written_recipe_reads_the_rows_that_the_one_of_the_checkout_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, *_ = write_quickstart(tmp_path / "new" / "demo")
    keys = []
    for folder, path in ((REPO, REPO / "configs" / "quickstart.yaml"), (recipe.parent, recipe)):
        monkeypatch.chdir(folder)
        config = load_config(path)
        sets = input_sets(config)
        keys.append({name: [call.key for call in one.calls] for name, one in sets.items()})
    assert recipe.read_bytes() == (REPO / "configs" / "quickstart.yaml").read_bytes()
    assert keys[0] == keys[1]
    assert {*keys[0]} == {"pool", "target", "eval"}


def test_a_file_that_is_there_is_not_replaced_and_nothing_is_written(tmp_path: Path) -> None:
    own = tmp_path / "data" / "eval.jsonl"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(UserError, match=r"data/eval\.jsonl exists already"):
        write_quickstart(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]
    assert own.read_text() == "mine"
