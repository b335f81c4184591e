"""Attention to the prompt against a plain pass of the whole model, and cuts that move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from curate.core.store import Store
from curate.core.workload import ResponseLimit
from curate.judge.context import ContextStage
from curate.models.contextmass import attended_row, attention_mass
from curate.models.load import load_causal, load_tokenizer
from tests.conftest import row, stored_rows, turns
from tests.judge.clearruns import EngineRun, judge_stage, pool, real_run

TEXTS: list[Any] = [
    turns("Name a river in Africa,\nplease.", "The Nile."),
    turns("Hi", "Hello, how are you today? I am fine."),
    turns("One?", "Two.", "And three?", "Four, five."),
    [{"role": "system", "content": "Be brief."}, *turns("What is it?", "A cat.")],
]


def plain_score(folder: Path, messages: Any, half: int) -> float:
    """Return the score token by token and head by head, tokens told apart by what they decode to."""
    tokenizer = load_tokenizer(folder)
    model = load_causal(folder, "float32").eval()
    model.set_attn_implementation("eager")
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    roles = [""] * len(text)
    at = 0
    for message in messages:
        at = text.index(message["content"], at)
        stop = at + len(message["content"])
        roles[at:stop] = [message["role"]] * (stop - at)
        at = stop
    with torch.inference_mode():
        weights = model(torch.tensor([encoded["input_ids"]]), output_attentions=True)
    matrix = weights.attentions[half - 1][0].float().numpy()
    own = [roles[stop - 1] for _, stop in encoded["offset_mapping"]]
    words = [text[a:b].strip() != "" for a, b in encoded["offset_mapping"]]
    user = [i for i, role in enumerate(own) if role == "user" and words[i]]
    response = [i for i, role in enumerate(own) if role == "assistant"]
    return float(np.mean([max(head[t, user].sum() for head in matrix) for t in response]))


def test_scores_are_those_of_a_plain_pass(store: Store, tiny: Path) -> None:
    run = EngineRun(store, folder=tiny)
    rows = stored_rows(store, "pool", [row(f"r{i}", m) for i, m in enumerate(TEXTS)])
    verdicts, _ = judge_stage(run, rows, {"kind": "context", "high": 0.5})
    evidence = verdicts.read()
    layers = load_causal(tiny, "float32").config.num_hidden_layers
    expected = [plain_score(tiny, m, max(layers // 2, 1)) for m in TEXTS]
    assert evidence["score"].to_list() == pytest.approx(expected, abs=1e-4)
    assert evidence["level"].to_list() == ["high" if s > 0.5 else "low" for s in expected]
    assert evidence["keep"].all()


def test_batches_and_cuts(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    trunk = load_causal(tiny, "float32").eval()
    trunk.set_attn_implementation("eager")
    rows = [attended_row(tokenizer, m, 1_024) for m in TEXTS]
    together = attention_mass(trunk.base_model, rows)
    alone = [float(attention_mass(trunk.base_model, [one])[0]) for one in rows]
    assert together.tolist() == pytest.approx(alone, abs=1e-5)
    short = attended_row(tokenizer, TEXTS[0], 4)
    assert len(short.ids) == 4 and np.isnan(attention_mass(trunk.base_model, [short])[0])


def test_turns_that_are_not_trained_on_are_no_responses(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    messages: list[Any] = [dict(m) for m in TEXTS[2]]
    messages[1]["weight"] = 0
    one, other = (attended_row(tokenizer, m, 1_024) for m in (TEXTS[2], messages))
    assert one.user.sum() == other.user.sum()
    assert 0 < other.response.sum() < one.response.sum()


def test_a_level_and_a_cut_move_without_a_pass(store: Store, tiny: Path) -> None:
    run = EngineRun(store, folder=tiny)
    rows = pool(run, [(m[-2]["content"], m[-1]["content"]) for m in TEXTS])
    first, _ = judge_stage(run, rows, {"kind": "context"})
    lowest = first.read()["score"].min()
    before = len(run.executed_steps)
    moved, _ = judge_stage(run, rows, {"kind": "context", "high": 0.0, "drop": 0.25})
    evidence = moved.read()
    assert run.executed_steps[before:] == ["context"]
    assert set(evidence["level"]) == {"high"}
    assert evidence.filter(pl.col("score") == lowest)["keep"].to_list() == [False]


def test_a_check_looks_for_responses_behind_the_cut() -> None:
    assert ContextStage(max_length=7).cost(3).limit == ResponseLimit(7)


@pytest.mark.model
def test_the_real_model_looks_at_a_text_that_it_is_to_read(store: Store, smollm: Path) -> None:
    run = real_run(store, smollm)
    passage = "Marie Curie was born in Warsaw. She won two Nobel Prizes, in physics and chemistry."
    rows = pool(
        run,
        [
            (f"{passage}\nWhere was she born?", "Warsaw"),
            ("Write a story.", "Once upon a time there was a fox. It lived in a wood, far away."),
        ],
    )
    scores = judge_stage(run, rows, {"kind": "context"})[0].read()["score"].to_list()
    assert scores[0] > 0.5 > scores[1]
