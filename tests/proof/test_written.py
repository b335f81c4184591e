"""What models write: greedy answers to drawn eval examples, stored for each model."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from curate.core.calls import Table
from curate.core.keyed import ModelSource
from curate.core.store import Artifact, Store
from curate.models.load import load_tokenizer
from curate.proof.written import (
    MOST_TOKENS,
    answer_prompts,
    draw_examples,
    longest_answer,
    written,
)
from tests.conftest import StoreRun, row, stored_rows, turns
from tests.models.test_finetune import model_of, tuned

pytestmark = pytest.mark.system

PAIRS = [(f"Say {i} {'word ' * i}?", f"It is {i}." + "!" * i) for i in range(12)]


def answers(store: Store, folder: Path, tuned: Artifact | None = None, count: int = 5) -> Table:
    rows = stored_rows(store, "eval", [row(f"e{i:02}", turns(*p)) for i, p in enumerate(PAIRS)])
    model = ModelSource({"dtype": "float32"}, folder)
    return StoreRun(store)(written, rows.artifact, count, 3, model, tuned)


def test_each_model_answers_the_same_examples(store: Store, tiny: Path) -> None:
    base = answers(store, tiny).read()
    other = answers(store, tiny, tuned(store, tiny, ["r0", "r3", "r5"])).read()
    assert base["eval_id"].to_list() == other["eval_id"].to_list()
    assert base.height == 5
    assert base["text"].to_list() != other["text"].to_list()


def test_fewer_examples_are_part_of_more_and_too_many_are_all() -> None:
    rows = pl.DataFrame({"row_id": [f"e{i:02}" for i in range(30)]})
    few, more = (set(draw_examples(rows, count, 1)["row_id"]) for count in (6, 20))
    assert few < more and len(few) == 6
    assert draw_examples(rows, 6, 1)["row_id"].is_sorted()
    assert few != set(draw_examples(rows, 6, 2)["row_id"])
    assert draw_examples(rows, 99, 1).equals(rows)


def test_a_batch_writes_the_same_text_as_one_by_one(tiny: Path) -> None:
    model, tokenizer = model_of(tiny).eval(), load_tokenizer(tiny)
    same = [turns(prompt, "x" * 20) for prompt, _ in PAIRS]
    alone = [answer_prompts(model, tokenizer, [messages])[0] for messages in same]
    assert answer_prompts(model, tokenizer, same) == alone


def test_an_answer_has_half_as_many_tokens_again_as_the_longest_reference(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    assert longest_answer(tokenizer, [turns("a", "b" * 20), turns("a", "b" * 7)]) == 31
    assert longest_answer(tokenizer, [turns("a", "b" * 999)]) == MOST_TOKENS
    (answer,) = answer_prompts(model_of(tiny).eval(), tokenizer, [turns("Hm?", "b" * 20)])
    assert answer.cut == (answer.tokens == 31)


def test_a_prompt_beyond_the_context_has_no_answer(tiny: Path) -> None:
    model = model_of(tiny).eval()
    model.config.max_position_embeddings = 40
    long, short = answer_prompts(
        model, load_tokenizer(tiny), [turns("word " * 30, "x" * 20), turns("Hm?", "x" * 20)]
    )
    assert (long.text, long.tokens, long.cut) == (None, 0, False)
    assert short.text is not None


def test_an_answer_ends_where_the_template_ends_a_turn(tiny: Path) -> None:
    """The model's own settings may name another token, as those of base models do."""
    model, tokenizer = model_of(tiny).eval(), load_tokenizer(tiny)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    tokenizer.eos_token = "<|im_start|>"
    model.generation_config.eos_token_id = None
    head = torch.nn.Linear(64, len(tokenizer))
    head.bias.data[end] = 1e4
    model.lm_head = head
    (answer,) = answer_prompts(model, tokenizer, [turns("Hm?", "x" * 20)])
    assert (answer.text, answer.tokens, answer.cut) == ("", 1, False)


def test_the_same_answers_have_the_same_bytes_in_another_store(tmp_path: Path, tiny: Path) -> None:
    one, two = (answers(Store(tmp_path / name), tiny).artifact for name in ("a", "b"))
    assert one.digest == two.digest
    assert answers(Store(tmp_path / "a"), tiny).artifact.cached
