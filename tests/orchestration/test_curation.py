"""The whole command on a small recipe."""

import shutil
from pathlib import Path

import orjson
import polars as pl
import pytest

from curate.core.turntext import without_empty_fields
from tests.orchestration.workplace import REPO, Workplace, pool_lines

CONTRACT = [
    "manifest.json",
    "ledger.parquet",
    "selected.parquet",
    "rejects.parquet",
    "proof.json",
    "report/index.html",
    "evidence/exact.parquet",
    "evidence/leaks.parquet",
    "evidence/select.parquet",
    "export/README.md",
]


@pytest.mark.system
@pytest.mark.model
def test_a_run_with_the_embedded_model_ends_in_a_proof(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path / "embedded")
    short = sorted(set(pool_lines()), key=lambda line: (len(line), line))[:10]
    workplace.write([*short, *short[:2]])
    cheap = ("prove.seeds=1", "target.sample=4", "target.eval.sample=2")
    done = workplace.run_here(*(word for setting in cheap for word in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    check_run_folder(workplace, len(short) + 2)


@pytest.mark.system
def test_a_run_writes_the_whole_run_folder(finished: Workplace) -> None:
    check_run_folder(finished, len(pool_lines()))


def check_run_folder(finished: Workplace, rows: int) -> None:
    missing = [name for name in CONTRACT if not (finished.out / name).is_file()]
    assert missing == []
    ledger = pl.read_parquet(finished.out / "ledger.parquet")
    fates = dict(ledger.group_by("fate").len().iter_rows())
    assert ledger.height == rows
    assert fates["selected"] == 4
    assert fates["dropped"] == 2
    selected = pl.read_parquet(finished.out / "selected.parquet")
    ranked = ledger.filter(fate="selected").sort("rank")
    assert selected["row_id"].to_list() == ranked["row_id"].to_list()
    proof = orjson.loads((finished.out / "proof.json").read_bytes())
    assert proof["verdict"] in ("better", "worse", "within the range of random draws")
    assert {c["control"] for c in proof["comparisons"]} == {"random_rows", "random_tokens"}


@pytest.mark.system
def test_the_export_loads_as_a_dataset(finished: Workplace, tmp_path: Path) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(finished.out / "export"), cache_dir=str(tmp_path))["train"]
    selected = without_empty_fields(pl.read_parquet(finished.out / "selected.parquet"))
    assert loaded["row_id"][:] == selected["row_id"].to_list()
    assert loaded["messages"][:] == selected["messages"].to_list()
    (jsonl,) = (finished.out / "export").glob("train-*.jsonl")
    lines = jsonl.read_bytes().splitlines()
    assert [orjson.loads(line)["messages"] for line in lines] == loaded["messages"][:]


@pytest.mark.system
def test_a_leaking_eval_set_is_refused_and_said_so(finished: Workplace, tmp_path: Path) -> None:
    workplace = Workplace(tmp_path / "leak", finished.base)
    eval_lines = (REPO / "data" / "eval.jsonl").read_bytes().splitlines(keepends=True)
    workplace.write([*pool_lines(), *eval_lines[:30]])
    shutil.copytree(finished.store, workplace.store)
    done = workplace.run_here("--set", "stages=[{kind: exact}]", "--set", "target.eval.sample=120")
    assert done.returncode == 2, done.stderr
    assert "No proof: the eval set leaks into" in done.stdout
    assert "Traceback" not in done.stderr
    proof = orjson.loads((workplace.out / "proof.json").read_bytes())
    assert proof["verdict"] == "refused"
    assert proof["leaks"]["leaking_rows"]["arm"] > 0
    assert "the eval set leaks" in (workplace.out / "report" / "index.html").read_text()
