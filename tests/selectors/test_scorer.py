"""Scorer: a checkpoint's own number for each pair, the response never cut before its prompt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.core.store import Store
from curate.selectors.scored import order_rows
from tests.conftest import turns
from tests.selectors.lossruns import ModelRun, ranked, scored, selector_of

SPECIAL = {"bert": ["[PAD]", "[CLS]", "[SEP]"], "roberta": ["<s>", "<pad>", "</s>"]}
WORDS = [f"w{i}" for i in range(40)]
LIMIT = 24


def sample_words(start: int, count: int) -> str:
    """Return that many words, a different run of them for every start."""
    return " ".join(WORDS[(7 * start + i * (start + 1)) % 40] for i in range(count))


TEXTS: list[Any] = [
    turns(sample_words(0, 1), sample_words(1, 1)),
    turns(sample_words(2, 9), sample_words(3, 2)),
    turns(sample_words(4, 50), sample_words(5, 12)),
    turns(sample_words(6, 4), sample_words(7, 60)),
    turns(sample_words(8, 3), sample_words(9, 20)),
    [
        {"role": "system", "content": sample_words(1, 2)},
        *turns(*(sample_words(i, 3) for i in range(4))),
    ],
    turns(sample_words(3, 6), sample_words(3, 6)),
]


def write_tokenizer(folder: Path, kind: str) -> int:
    """Write a tokenizer of whole words that joins pairs as the kind does; return its size."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = [*SPECIAL[kind], "unk", *WORDS]
    vocabulary = {name: i for i, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="unk"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    pairs = {
        "bert": "[CLS] $A [SEP] $B:1 [SEP]:1",
        "roberta": "<s> $A </s> </s> $B </s>",
    }
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair=pairs[kind], special_tokens=[(n, vocabulary[n]) for n in SPECIAL[kind]]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[kind][kind == "roberta"],
        model_max_length=LIMIT,
        model_input_names=["input_ids", "attention_mask", *["token_type_ids"] * (kind == "bert")],
    )  # fmt: skip
    fast.save_pretrained(folder)
    return len(names)


def write_classifier(folder: Path, kind: str, **config: Any) -> Path:
    """Write a random two-layer classifier."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    shape = {
        "vocab_size": write_tokenizer(folder, kind), "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 64, "initializer_range": 0.4,
        "pad_token_id": int(kind == "roberta"), "type_vocab_size": 2 - (kind == "roberta"),
        "max_position_embeddings": LIMIT + 2 * (kind == "roberta"),
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model_config = AutoConfig.for_model(kind, **shape, **config)
        AutoModelForSequenceClassification.from_config(model_config).save_pretrained(folder)
    return folder


LABELS = {
    "id2label": {0: "bad", 1: "fair", 2: "good"},
    "label2id": {"bad": 0, "fair": 1, "good": 2},
}


@pytest.fixture(scope="module")
def cappy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regression as Cappy is: RoBERTa with one output."""
    return write_classifier(tmp_path_factory.mktemp("cappy"), "roberta", num_labels=1)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with named labels: BERT, which numbers the sides of a pair."""
    return write_classifier(tmp_path_factory.mktemp("judge"), "bert", **LABELS)


def plain_logits(folder: Path, limit: int = LIMIT) -> torch.Tensor:
    """Return the logits [N, outputs] of TEXTS, pair by pair, cut by counting words."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    room = limit - (4 if model.config.model_type == "roberta" else 3)
    logits = []
    for messages in TEXTS:
        prompt = " ".join(m["content"] for m in messages[:-1]).split()
        response = messages[-1]["content"].split()[:room]
        prompt = prompt[max(len(prompt) - (room - len(response)), 0) :]
        given = tokenizer(" ".join(prompt), " ".join(response), return_tensors="pt")
        assert ("token_type_ids" in given) == (model.config.model_type == "bert")
        with torch.inference_mode():
            logits.append(model(**given).logits[0])
    return torch.stack(logits)


# --- scores -------------------------------------------------------------------------------------


def run_of(store: Store, tiny: Path, kept: Sequence[int] | None = None) -> ModelRun:
    return ModelRun(store, folder=tiny, texts=TEXTS, kept_positions=kept)


def test_a_regression_gives_its_own_number(store: Store, tiny: Path, cappy: Path) -> None:
    table = scored(run_of(store, tiny, [0, 2, 3, 4, 5, 6]), "scorer", model=str(cappy))
    expected = plain_logits(cappy)[[0, 2, 3, 4, 5, 6], 0]
    assert expected.std() > 0.1
    np.testing.assert_allclose(table["score"], expected, atol=1e-4)
    assert table["row_id"].to_list() == ["r000", "r002", "r003", "r004", "r005", "r006"]
    assert table["nearest_id"].null_count() == 6


@pytest.mark.parametrize("label", ["bad", "fair", "good"])
def test_a_classifier_gives_the_probability_of_the_label(
    store: Store, tiny: Path, judge: Path, label: str
) -> None:
    table = scored(run_of(store, tiny), "scorer", model=str(judge), label=label)
    chances = np.exp(plain_logits(judge).double().numpy())
    chances /= chances.sum(axis=1, keepdims=True)
    place = ["bad", "fair", "good"].index(label)
    np.testing.assert_allclose(table["score"], chances[:, place], atol=1e-4)


def test_labels_that_do_not_exclude_each_other_have_chances_of_their_own(
    store: Store, tiny: Path, tmp_path: Path
) -> None:
    folder = write_classifier(
        tmp_path / "many", "bert", **LABELS, problem_type="multi_label_classification"
    )
    table = scored(run_of(store, tiny), "scorer", model=str(folder), label="fair")
    expected = 1 / (1 + np.exp(-plain_logits(folder).numpy()[:, 1]))
    np.testing.assert_allclose(table["score"], expected, atol=1e-4)


@pytest.mark.parametrize("length", [16, 20, 512])
def test_the_prompt_is_cut_from_its_start_and_the_response_only_if_it_must(
    store: Store, tiny: Path, judge: Path, length: int
) -> None:
    """512 is more than the model reads."""
    table = scored(run_of(store, tiny), "scorer", model=str(judge), label="good", max_length=length)
    expected = plain_logits(judge, min(length, LIMIT)).softmax(dim=1)[:, 2]
    np.testing.assert_allclose(table["score"], expected, atol=1e-4)


def test_the_models_positions_limit_a_pair_where_the_tokenizer_does_not(
    store: Store, tiny: Path, cappy: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(cappy, tmp_path / "unlimited"))
    tokenizer_config = json.loads((folder / "tokenizer_config.json").read_text())
    del tokenizer_config["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    table = scored(run_of(store, tiny), "scorer", model=str(folder))
    np.testing.assert_allclose(table["score"], plain_logits(cappy)[:, 0], atol=1e-4)


@pytest.mark.parametrize("limit", [1, 40, 100_000])
def test_batches_and_padding_change_nothing(
    store: Store, tiny: Path, cappy: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("curate.models.ratings.BATCH_TOKENS", limit)
    table = scored(run_of(store, tiny), "scorer", model=str(cappy))
    np.testing.assert_allclose(table["score"], plain_logits(cappy)[:, 0], atol=1e-4)


def test_rows_are_rated_once_and_only_again_where_texts_or_model_change(
    store: Store, tiny: Path, cappy: Path, judge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.models.blocks.SMALLEST_BLOCK", 4)
    run = run_of(store, tiny)
    scored(run, "scorer", model=str(cappy))
    scored(run, "scorer", model=str(cappy), budget={"rows": 5})
    assert run.executed_steps == ["ratings", "ratings", "score-scorer"]
    fewer = run_of(store, tiny, [0, 1, 2, 3, 4])
    scored(fewer, "scorer", model=str(cappy))
    assert fewer.executed_steps == ["ratings", "score-scorer"], "the first block is there"
    other = run_of(store, tiny)
    for label in ("good", "bad"):
        scored(other, "scorer", model=str(judge), label=label)
    assert other.executed_steps.count("ratings") == 4


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=20), st.integers(0, 9))
def test_rows_are_sorted_by_score_then_id_in_any_order_of_the_pool(
    scores: list[float], seed: int
) -> None:
    ids = [f"r{(7 * i) % 31:02}" for i in range(len(scores))]
    table = pl.DataFrame({"row_id": ids, "score": pl.Series(scores, dtype=pl.Float32)})
    expected = [i for _, i in sorted((-s, i) for s, i in zip(scores, ids, strict=True))]
    assert ranked(table, "scorer", model="m") == expected
    mixed = np.random.default_rng(seed).permutation(len(ids))
    assert ranked(table[mixed], "scorer", model="m") == expected


# --- what is refused ----------------------------------------------------------------------------


def test_a_label_is_named_exactly_where_there_is_one(
    store: Store, tiny: Path, cappy: Path, judge: Path
) -> None:
    run = run_of(store, tiny)
    with pytest.raises(UserError, match="one output and no labels; leave it out"):
        scored(run, "scorer", model=str(cappy), label="good")
    with pytest.raises(UserError, match="has the labels bad, fair, good; name one"):
        scored(run, "scorer", model=str(judge))
    with pytest.raises(UserError, match="bad, fair, good; 'best' is none of them"):
        scored(run, "scorer", model=str(judge), label="best")
    assert run.executed_steps == []


def test_a_language_model_is_no_scorer(store: Store, tiny: Path) -> None:
    with pytest.raises(UserError, match="no sequence classifier but LlamaForCausalLM"):
        scored(run_of(store, tiny), "scorer", model=str(tiny))


def test_a_model_that_is_not_there_is_a_user_error(store: Store, tiny: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        scored(run_of(store, tiny), "scorer", model="nowhere")


def test_a_classifier_without_weights_of_its_own_is_refused(
    store: Store, tiny: Path, cappy: Path, tmp_path: Path
) -> None:
    """Transformers would fill them in at random, and say so in a warning only."""
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(cappy, tmp_path / "headless"))
    weights = load_file(folder / "model.safetensors")
    kept = {name: w for name, w in weights.items() if not name.startswith("classifier.out_proj")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks weights of its classifier \(classifier.out_proj"):
        scored(run_of(store, tiny), "scorer", model=str(folder))


def test_code_of_the_models_own_is_not_run(
    store: Store, tiny: Path, cappy: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(cappy, tmp_path / "own-code"))
    model_config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.MineConfig"}}
    (folder / "config.json").write_text(json.dumps(model_config | own))
    (folder / "mine.py").write_text("raise SystemExit('code of the model ran')")
    with pytest.raises(UserError, match="does not load without code of its own"):
        scored(run_of(store, tiny), "scorer", model=str(folder))


def test_a_score_that_is_not_finite_is_none(
    store: Store, tiny: Path, cappy: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(cappy, tmp_path / "broken"))
    weights = load_file(folder / "model.safetensors")
    weights["classifier.out_proj.bias"] = torch.tensor([float("nan")])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    table = scored(run_of(store, tiny), "scorer", model=str(folder))
    selector = selector_of("scorer", model=str(folder))
    with pytest.raises(UserError, match=r"scorer could score none of .* no finite number"):
        order_rows(table, selector, 0)
