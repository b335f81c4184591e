from pathlib import Path
from typing import Any

import pytest

from curate.config.loading import load_config
from curate.config.running import RunSettings
from curate.core.errors import UserError

RECIPE = "name: x\npool: [{path: pool.jsonl}]\n"


def test_on_is_a_word_and_no_way_to_write_true(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{RECIPE}run: {{on: threads, workers: 3}}\n")
    assert load_config(path, []).run == RunSettings(on="threads", workers=3)
    assert load_config(path, ["run.on=dask"]).run == RunSettings(on="dask", workers=3)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"workers": 2}, "workers is for on: threads or ray or dask, not for on: inline"),
        ({"on": "threads", "address": "x:1"}, "address is for on: ray or dask"),
        ({"on": "ray", "cluster": {"class": "a.B"}}, "cluster is for on: dask"),
        ({"on": "dask", "gpus_a_worker": 1}, "gpus_a_worker is for on: ray"),
        ({"on": "ray", "address": "ray://x:1", "workers": 2}, "leave workers out"),
        ({"on": "dask", "address": "x:1", "cluster": {"class": "a.B"}}, "give one of them"),
        ({"on": "dask", "cluster": {"cores": 4}}, "give a class by its module"),
        ({"on": "dask", "cluster": {"class": "os.system('x')"}}, "give a class by its module"),
        ({"on": "spark"}, "'inline', 'threads', 'ray' or 'dask'"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_told(
    tmp_path: Path, settings: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{RECIPE}run: {settings}\n")
    with pytest.raises(UserError, match="run") as caught:
        load_config(path, [])
    assert problem in str(caught.value)
