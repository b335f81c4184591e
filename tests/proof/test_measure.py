"""Measuring apart from training: the same figures, another eval set, no training for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.core.calls import Table
from curate.core.keyed import ModelSource
from curate.core.store import Artifact, Store
from curate.models.chat import IGNORED
from curate.models.evaluation import evaluate
from curate.models.load import load_tokenizer
from curate.models.training import train_lora
from curate.proof.measure import measurement
from curate.proof.questions import questions
from tests.conftest import StoreRun, row, stored_rows, turns
from tests.models.test_finetune import LORA, TEXTS, examples, model_of, tuned

LONG = ("word " * 40, "too far")
HELD_OUT = [TEXTS[0], LONG, TEXTS[3]]


def measured(
    store: Store,
    folder: Path,
    model_tuned: Artifact | None,
    held_out: Sequence[tuple[str, ...]] = HELD_OUT,
    *,
    with_options: bool = False,
) -> Table:
    evals = [row(f"e{i}", turns(*texts)) for i, texts in enumerate(held_out)]
    eval_rows = stored_rows(store, "eval", evals)
    run, model = StoreRun(store), ModelSource({"dtype": "float32"}, folder)
    options = run(questions, eval_rows) if with_options else None
    return run.result(measurement(eval_rows, model_tuned, LORA["max_length"], model, options))


def test_without_a_fine_tune_the_base_model_is_measured(store: Store, tiny: Path) -> None:
    measured_base = measured(store, tiny, None)
    alone = evaluate(model_of(tiny), examples(tiny, [TEXTS[0], TEXTS[3]]))
    table = measured_base.read()
    assert measured_base.artifact.name == "base"
    assert table["eval_id"].to_list() == ["e0", "e1", "e2"]
    assert table["loss"].to_list() == [
        pytest.approx(alone["loss"][0]), None, pytest.approx(alone["loss"][1]),
    ]  # fmt: skip
    assert table["response_tokens"].to_list()[1] == 0


def test_a_stored_fine_tune_measures_as_the_model_that_was_just_trained(
    store: Store, tiny: Path
) -> None:
    ids = ["r0", "r3", "r5"]
    table = measured(store, tiny, tuned(store, tiny, ids)).read()
    model = model_of(tiny)
    train_lora(model, [examples(tiny)[i] for i in (0, 3, 5)], LORA, [0, 0])
    in_memory = evaluate(model, examples(tiny, HELD_OUT))
    assert table.select("loss", "exact", "response_tokens").equals(in_memory)
    base = measured(store, tiny, None).read()
    assert table["loss"][0] < base["loss"][0], "it was trained on this row"


def test_another_eval_set_measures_the_same_fine_tune(store: Store, tiny: Path) -> None:
    model = tuned(store, tiny, ["r1", "r4"])
    one, two = (measured(store, tiny, model, texts) for texts in (HELD_OUT, TEXTS[:2]))
    assert one.artifact.key != two.artifact.key
    assert tuned(store, tiny, ["r1", "r4"]).cached


def test_the_same_measurement_gives_the_same_bytes_in_another_store(
    tmp_path: Path, tiny: Path
) -> None:
    stores = [Store(tmp_path / name) for name in ("a", "b")]
    tables = [measured(store, tiny, tuned(store, tiny, ["r1", "r4"])) for store in stores]
    assert tables[0].artifact.digest == tables[1].artifact.digest


EVAL_EXAMPLES = [
    ("Which one?\nA) red\nB) a long blue\nC) x", "B) a long blue"),
    ("How many? 2 + 2 or 3?", "First 2 + 2, which is 4.\nThe answer is **4**."),
    ("Yes or no?\n- yes\n- no", "No"),
    ("Say something.", "Well, there is much that could be said of that and of others, or so."),
    LONG,
]


def plain_losses(model: Any, ids: Sequence[int]) -> list[float]:
    """Return the losses of tokens 1 ... of a row, by itself and with nothing of ours."""
    with torch.inference_mode():
        logs = model(input_ids=torch.tensor([list(ids)])).logits[0].log_softmax(dim=-1)
    return [-float(logs[i - 1, token]) for i, token in enumerate(ids) if i]


def test_the_answer_and_the_rest_have_losses_of_their_own(store: Store, tiny: Path) -> None:
    table = measured(store, tiny, None, EVAL_EXAMPLES).read()
    model, tokenizer = model_of(tiny), load_tokenizer(tiny)
    example = examples(tiny, EVAL_EXAMPLES)[1]
    losses = [0.0, *plain_losses(model, example.ids)]
    labelled = [i for i, label in enumerate(example.labels) if label != IGNORED]
    pieces = tokenizer.convert_ids_to_tokens(example.ids)
    answer = [i for i in labelled if "4" in pieces[i]][-1:]
    assert table["answer_tokens"].to_list() == [
        sum(x != IGNORED for x in examples(tiny, EVAL_EXAMPLES)[0].labels) - 1, 1, 2, 0, 0,
    ]  # fmt: skip
    assert table["answer_loss"][1] == pytest.approx(losses[answer[0]], abs=1e-5)
    rest = [losses[i] for i in labelled if i not in answer]
    assert table["rest_loss"][1] == pytest.approx(sum(rest) / len(rest), abs=1e-5)
    whole, count = table["loss"] * table["response_tokens"], table["answer_tokens"]
    parts = table["answer_loss"] * count + table["rest_loss"] * (table["response_tokens"] - count)
    assert parts[:3].to_list() == pytest.approx(whole[:3].to_list(), abs=1e-5)
    assert table["answer_loss"][3:].to_list() == [None, None]
    assert table["rest_loss"][3:].to_list() == [None, None]


def test_planted_options_are_scored_as_each_would_be_by_itself(store: Store, tiny: Path) -> None:
    table = measured(store, tiny, None, EVAL_EXAMPLES, with_options=True).read()
    model, tokenizer = model_of(tiny), load_tokenizer(tiny)
    for number, options, gold in (
        (0, ["A) red", "B) a long blue", "C) x"], 1),
        (2, ["Yes", "No"], 1),
    ):
        header = tokenizer.apply_chat_template(
            turns(EVAL_EXAMPLES[number][0]), tokenize=False, add_generation_prompt=True
        )
        before = tokenizer(header, add_special_tokens=False)["input_ids"]
        sums, sizes = [], []
        for option in options:
            ids = tokenizer(header + option, add_special_tokens=False)["input_ids"]
            assert ids[: len(before)] == before
            sums.append(-sum(plain_losses(model, ids)[len(before) - 1 :]))
            sizes.append(len(ids) - len(before))
        shares = [s / n for s, n in zip(sums, sizes, strict=True)]
        margin = shares[gold] - float(torch.logsumexp(torch.tensor(shares), 0))
        assert table["gold_margin"][number] == pytest.approx(margin, abs=1e-4)
        by_character = [s / len(o) for s, o in zip(sums, options, strict=True)]
        assert table["accuracy"][number] == (by_character.index(max(by_character)) == gold)
        assert table["raw_accuracy"][number] == (sums.index(max(sums)) == gold)
    for name in ("gold_margin", "accuracy", "raw_accuracy"):
        assert table[name].null_count() == 3


def test_options_change_no_loss(store: Store, tiny: Path) -> None:
    plain, with_options = (
        measured(store, tiny, None, EVAL_EXAMPLES, with_options=flag).read()
        for flag in (False, True)
    )
    losses = ["eval_id", "loss", "exact", "response_tokens", "answer_loss", "rest_loss"]
    assert plain.select(losses).equals(with_options.select(losses))


def test_without_options_the_questions_measure_nothing_anew(store: Store, tiny: Path) -> None:
    keys = [
        measured(store, tiny, None, TEXTS[2:4], with_options=flag).artifact.key
        for flag in (False, True)
    ]
    assert keys[0] == keys[1]


def test_an_option_beyond_the_limit_leaves_its_question_out(store: Store, tiny: Path) -> None:
    long = ("Which?\nA) red\nB) " + "very " * 80 + "blue", "A) red")
    table = measured(store, tiny, None, [long, EVAL_EXAMPLES[0]], with_options=True).read()
    assert table["gold_margin"].is_null().to_list() == [True, False]
