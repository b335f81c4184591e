"""What the models wrote and what tuning taught: evidence of a run, and sections of its page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
import torch

from curate.core.numerals import measure, signed
from curate.core.section import Item, PassagePart, RowList, RowPart
from curate.pipeline.curation import run_curation
from curate.proof.written_section import WrittenAnswer, WrittenExample, change_of, in_turns
from curate.report.build import write_report
from curate.report.data import gather
from curate.report.examples import read_rows
from curate.runs.folder import open_run
from tests.conftest import small_proof
from tests.report.sections import blocks_of, shown_ids, words_of_block

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    for name, count in (("pool", 12), ("target", 3), ("eval", 6)):
        lines = [
            json.dumps({"prompt": f"{f'{name}{i} ' * (i + 1)}?", "response": f"Answer <b>{i}</b>."})
            for i in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    novelty = {"texts": 5, "tokens": 8}
    config = small_proof(folder, tiny, written=5, novelty=novelty)
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
    (section,) = gather(run).written
    table = pl.read_parquet(run / "evidence/proof-written.parquet")
    summary = orjson.loads((run / "proof.json").read_bytes())["written"]
    better = 0
    for item in blocks_of(section, Item):
        (eval_row,) = blocks_of(item, RowPart)
        losses = table.filter(eval_id=eval_row.row_id)["loss"].to_list()
        base, own, control = blocks_of(item, PassagePart)
        assert [a.title for a in (base, own, control)] == [
            "Base model, untuned", "Selection", "As many random rows",
        ]  # fmt: skip
        assert f"loss\u00a0{measure(losses[1])}" in own.facts
        assert "the selection" not in words_of_block(own)
        change = "better" if losses[1] < losses[0] else "worse"
        assert f"the selection is {change}" in words_of_block(base)
        assert "the selection" in words_of_block(control)
        better += change == "better"
    assert summary["selected_against"]["base"]["better"] == better
    assert f"better than base model, untuned on {better}, worse on {5 - better}" in (
        words_of_block(section)
    )
    page = (run / "report/index.html").read_text()
    assert page.count("Eval example with its reference answer") == 5
    assert "Answer &lt;b&gt;" in page.split('id="written"')[1].split("</section>")[0]


def test_an_answer_is_better_the_way_its_metric_counts() -> None:
    assert change_of(1.0, 2.0, "loss") == "better"
    assert change_of(0.0, 1.0, "generated") == "worse"
    assert change_of(1.0, 1.0, "loss") == "same"
    assert change_of(None, 1.0, "loss") is None


def written_example(eval_id: str, rights: str, own: float = 1.0) -> WrittenExample:
    """An example in which each arm is right (1), wrong (0) or not judged (-)."""
    arms = ("base", "selected", "random_rows")
    judged = [{"1": True, "0": False, "-": None}[right] for right in rights]
    values = (2.0, own, 2.0)
    answers = (
        WrittenAnswer(arm, "text", 1, False, {"loss": value}, right)
        for arm, value, right in zip(arms, values, judged, strict=True)
    )
    return WrittenExample(eval_id, tuple(answers))


def test_outcomes_take_turns_first_those_in_which_the_models_differ() -> None:
    rights = ("000", "000", "000", "010", "010", "001", "111")
    examples = [written_example(str(at), right) for at, right in enumerate(rights)]
    assert [one.eval_id for one in in_turns(examples)] == ["3", "5", "0", "6", "4", "1", "2"]
    same = [written_example(str(at), "---", own) for at, own in enumerate((1.0, 1.0, 3.0))]
    assert [one.eval_id for one in in_turns(same)] == ["0", "2", "1"]


def test_answers_as_the_reference_are_counted_and_said_so(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    path = folder / "evidence/proof-written.parquet"
    table = pl.read_parquet(path)
    texts = [
        f" answer <B>{eval_id.rpartition(':')[2]}</b>" if arm == "selected" else "Another."
        for eval_id, arm in table.select("eval_id", "arm").iter_rows()
    ]
    table.with_columns(pl.Series("text", texts)).write_parquet(path)
    (section,) = gather(folder).written
    references = {
        part.row_id: read_rows(open_run(folder), [part.row_id])[part.row_id][1]["messages"][-1]
        for part in blocks_of(section, RowPart)
    }
    alike = sum(
        f"Answer <b>{row_id.rpartition(':')[2]}</b>." == message["content"]
        for row_id, message in references.items()
    )
    words = words_of_block(section)
    assert f"of 5: base model, untuned 0; selection {alike}; as many random rows 0" in words
    assert words.count(" not as the reference ") == 15 - alike


def test_a_metric_of_written_answers_says_what_is_right(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    path = folder / "evidence/proof-written.parquet"
    table = pl.read_parquet(path)
    right = (table["arm"] == "selected").cast(pl.Float64)
    table.with_columns(generated=right).write_parquet(path)
    words = words_of_block(gather(folder).written[0])
    assert (
        "Right by value, of 5: base model, untuned 0; selection 5; as many random rows 0" in words
    )


def test_an_answer_that_no_room_was_left_for_is_told(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    path = folder / "evidence/proof-written.parquet"
    table = pl.read_parquet(path)
    texts = [None, "", "", *table["text"][3:]]
    table.with_columns(pl.Series("text", texts, dtype=pl.String)).write_parquet(path)
    section = write_report(folder).read_text().split('id="written"')[1].split("</section>")[0]
    assert section.count("leaves no room in the model&#39;s context") == 1
    assert section.count("an empty text") >= 2


def test_what_tuning_taught_is_told_with_texts_and_rows(run: Path) -> None:
    (section,) = gather(run).taught
    texts = pl.read_parquet(run / "evidence/novelty-texts.parquet")
    rows = pl.read_parquet(run / "evidence/novelty-rows.parquet").sort("gain", descending=True)
    drawn, most = blocks_of(section, RowList)
    assert [item.value for item in blocks_of(drawn, Item)] == [
        "" if gain is None else signed(gain) for gain in texts["gain"]
    ]
    assert {part.row_id for part in blocks_of(drawn, RowPart)} == set(texts["target_id"])
    assert shown_ids(most) == rows["row_id"].to_list()
    words = words_of_block(section)
    gains = rows["gain"].to_list()
    assert f"tuning gained {signed(np.mean(gains))} nats a token on average" in words
    assert ("become no likelier" in words) == (min(gains) <= 0)
    page = (run / "report/index.html").read_text()
    assert '<a href="#taught">What tuning taught</a>' in page
    assert "The rows that gained most by tuning" in page
