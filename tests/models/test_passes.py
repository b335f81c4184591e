"""Passes: a recipe's methods share them, its stage's among them, and no part of a recipe loses one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from curate.clean.semantic import MODEL
from curate.config.recipe import Config
from curate.core.tables import read_table
from curate.core.workload import SharedPass
from curate.pipeline.curation import run_curation
from curate.pipeline.sharing import shared_pass
from tests.conftest import write_tiny_model

LENGTH = {"max_length": 128}
CONFIDENCE = {"kind": "confidence", "drop": 0.1, **LENGTH}
RDS = {"method": "rds", **LENGTH}
PERPLEXITY, IFD = {"method": "perplexity", **LENGTH}, {"method": "ifd", **LENGTH}
# Of two runs of a model on four tokens, by which it is found out whether head and trunk can be parted.
PROBE = (1, 4)


@contextmanager
def counted_tokens() -> Iterator[list[int]]:
    """Yield the tokens, padding among them, of each forward pass of a Llama's trunk."""
    passes: list[int] = []

    def count(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        if type(module).__name__ == "Embedding" and args[0].shape != PROBE:
            passes.append(args[0].numel())

    hook = register_module_forward_pre_hook(count)
    try:
        yield passes
    finally:
        hook.remove()


def recipe(folder: Path, model: Path, *compare: dict[str, Any], **changed: Any) -> Config:
    rows = [
        {"prompt": f"What is {i} and {i}, and why? " * (i % 3 + 1), "response": f"{2 * i}." * 5}
        for i in range(30)
    ]
    for name, part in (("pool", rows), ("target", rows[:1])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return Config.model_validate(
        {
            "name": "passes",
            "store": str(folder / "store"),
            "pool": [{"path": str(folder / "pool.jsonl")}],
            "target": {"path": str(folder / "target.jsonl")},
            "models": {"base": str(model), "dtype": "float32", "embedder": "static"},
            "stages": [CONFIDENCE],
            "select": {**RDS, "budget": {"rows": 4}},
            "compare": list(compare),
            **changed,
        }
    )


def tokens_of(folder: Path, config: Config) -> int:
    """Return the tokens that a run has its model read."""
    with counted_tokens() as passes:
        run_curation(config, folder / "out", overwrite=True)
    return sum(passes)


def stored_frame(folder: Path, step: str) -> pl.DataFrame:
    """Return the only table of a step's name in a store."""
    (path,) = (folder / "store").glob(f"{step}-*/scores.parquet")
    return read_table(path)


def target_tokens(folder: Path) -> int:
    """Return the tokens of the target examples, which no other pass reads."""
    (path,) = (folder / "store").glob("index-*/manifest.json")
    return int(json.loads(path.read_bytes())["counts"]["tokens"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def folders(tmp_path: Path, *names: str) -> list[Path]:
    for name in names:
        (tmp_path / name).mkdir()
    return [tmp_path / name for name in names]


@pytest.mark.system
def test_methods_beside_confidence_read_nothing_but_the_target(tmp_path: Path, model: Path) -> None:
    """Though it drops rows, so that theirs are fewer: they take what it has measured."""
    one, several = folders(tmp_path, "one", "several")
    drawn = {"method": "random", "budget": {"rows": 4}}
    least = tokens_of(one, recipe(one, model, select=drawn))
    most = tokens_of(several, recipe(several, model, PERPLEXITY, IFD))
    assert most == least + target_tokens(several)


@pytest.mark.system
def test_methods_without_a_stage_share_a_pass(tmp_path: Path, model: Path) -> None:
    one, several = folders(tmp_path, "one", "several")
    ifd = {**IFD, "budget": {"rows": 4}}
    least = tokens_of(one, recipe(one, model, select=ifd, stages=[]))
    most = tokens_of(several, recipe(several, model, PERPLEXITY, IFD, stages=[]))
    assert most == least + target_tokens(several)


@pytest.mark.system
def test_scores_do_not_depend_on_what_shares_the_pass(tmp_path: Path, model: Path) -> None:
    one, other, several = folders(tmp_path, "one", "other", "several")
    run_curation(recipe(one, model, stages=[]), one / "out")
    ifd = {**IFD, "budget": {"rows": 4}}
    run_curation(recipe(other, model, select=ifd, stages=[]), other / "out")
    run_curation(recipe(several, model, PERPLEXITY, IFD, stages=[]), several / "out")
    assert stored_frame(several, "score-rds").equals(stored_frame(one, "score-rds"))
    assert stored_frame(several, "score-ifd").equals(stored_frame(other, "score-ifd"))


@pytest.mark.system
def test_a_recipe_that_loses_a_method_reads_nothing_anew(tmp_path: Path, model: Path) -> None:
    assert tokens_of(tmp_path, recipe(tmp_path, model, PERPLEXITY, IFD, stages=[])) > 0
    for fewer in (
        recipe(tmp_path, model, stages=[]),
        recipe(tmp_path, model, select={**IFD, "budget": {"rows": 4}}, stages=[]),
        recipe(tmp_path, model, select={**PERPLEXITY, "budget": {"rows": 4}}, stages=[]),
    ):
        assert tokens_of(tmp_path, fewer) == 0


@pytest.mark.system
def test_pairs_by_the_base_model_take_the_vectors_of_a_shared_pass(
    tmp_path: Path, model: Path
) -> None:
    plain, diverse = folders(tmp_path, "plain", "diverse")
    select: dict[str, Any] = {"method": "rds", "budget": {"rows": 4}}
    apart = select | {"diversity": {"most": 0.99, "embedder": MODEL}}
    perplexity = {"method": "perplexity"}
    least = tokens_of(plain, recipe(plain, model, perplexity, select=select, stages=[]))
    most = tokens_of(diverse, recipe(diverse, model, perplexity, select=apart, stages=[]))
    assert most == least > 0


@pytest.mark.system
def test_a_cascade_reads_only_the_rows_that_are_left_to_its_part(
    tmp_path: Path, model: Path
) -> None:
    one, several = folders(tmp_path, "one", "several")
    parts = [{"method": "embed", "keep": 0.4}, RDS]
    cascade = {"method": "cascade", "parts": parts, "budget": {"rows": 4}}
    half = tokens_of(one, recipe(one, model, select=cascade, stages=[]))
    whole = tokens_of(several, recipe(several, model, stages=[]))
    assert half < 0.6 * whole


def test_rows_cut_elsewhere_are_another_pass(tmp_path: Path, model: Path) -> None:
    config = recipe(tmp_path, model, {**PERPLEXITY, "max_length": 64}, IFD)
    shared = {length: shared_pass(config, length) for length in (64, 128, 2_048)}
    assert shared == {
        64: SharedPass(frozenset({"all"})),
        128: SharedPass(frozenset({"response", "vectors"}), "confidence"),
        2_048: SharedPass(),
    }
