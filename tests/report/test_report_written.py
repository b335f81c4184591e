"""What the models wrote: texts in the run's evidence, and side by side on the page."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import polars as pl
import pytest
import torch

from curate.pipeline.curation import run_curation
from curate.report.written import gather_written
from curate.runs.folder import open_run
from tests.conftest import small_proof


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    for name, count in (("pool", 12), ("target", 3), ("eval", 6)):
        lines = [
            json.dumps({"prompt": f"{f'{name}{i} ' * (i + 1)}?", "response": f"Answer <b>{i}</b>."})
            for i in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    config = small_proof(folder, tiny, written=5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run_curation(config, folder / "out")
    torch.set_num_threads(threads)
    return folder / "out"


def test_answers_are_evidence_beside_their_scores(run: Path) -> None:
    table = pl.read_parquet(run / "evidence/proof-written.parquet")
    effects = pl.read_parquet(run / "evidence/proof-effects.parquet").filter(seed=0)
    assert table.height == 15
    assert table["eval_id"].n_unique() == 5
    joined = table.join(effects, on=["arm", "eval_id"], how="left")
    assert joined["loss"].equals(joined["loss_right"]) and joined["loss"].null_count() == 0


def test_the_page_shows_reference_answers_and_what_changed(run: Path) -> None:
    written = gather_written(open_run(run))
    assert written is not None
    summary = orjson.loads((run / "proof.json").read_bytes())["written"]
    for example in written.examples:
        base, own, control = example.answers
        assert [a.arm for a in example.answers] == ["base", "selected", "random_rows"]
        assert own.change is None
        losses = [dict(answer.metrics)["loss"] for answer in (base, own, control)]
        assert base.change == ("better" if losses[1] < losses[0] else "worse")
        assert control.change in ("better", "worse", "same")
    better = sum(example.answers[0].change == "better" for example in written.examples)
    assert summary["selected_against"]["base"]["better"] == better
    page = (run / "report/index.html").read_text()
    assert "What the models wrote" in page
    assert page.count('<div class="written">') == 5
    assert "Answer &lt;b&gt;" in page.split('id="written"')[1].split("</section>")[0]
