"""Agreement of texts: a cross-encoder, its labels in any order; embeddings; a model that is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.judge.clear import prompts_of
from curate.judge.contradiction import (
    NLI_SENTENCES,
    agree_by_embedding,
    agree_by_model,
    agree_by_nli,
    find_contradiction,
    nli_agreement,
    sentences,
)
from curate.llm.ask import EngineClient
from curate.llm.compare import AnswerPair, alike
from tests.generate.scripted import Reply, ScriptedEngine, text_of

ORDERS = [("contradiction", "neutral", "entailment"), ("ENTAILMENT", "NEUTRAL", "CONTRADICTION")]
WORDS = [
    "the",
    "a",
    "river",
    "is",
    "long",
    "short",
    "and",
    "it",
    "rains",
    "not",
    "in",
    "spain",
    "every",
]
WORDS += ["day", "cold", ".", "!", "?"]
LIMIT = 24


def write_nli(folder: Path, labels: tuple[str, ...], outputs: tuple[int, ...]) -> Path:
    """Write a random tiny BERT; its classifier's outputs are those of one and the same model, moved."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )  # fmt: skip
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", model_max_length=LIMIT,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip
    fast.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=LIMIT, initializer_range=0.8, num_labels=3,
        id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForSequenceClassification(config)
    order = list(outputs)
    model.classifier.weight.data = model.classifier.weight.data[order]
    model.classifier.bias.data = model.classifier.bias.data[order]
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same model twice: contradiction is its first output, and its last."""
    root = tmp_path_factory.mktemp("nli")
    outputs = [(0, 1, 2), (2, 1, 0)]
    return [
        write_nli(root / str(i), labels, order)
        for i, (labels, order) in enumerate(zip(ORDERS, outputs, strict=True))
    ]


def chance(folder: Path, premise: str, said: str, label: int) -> float:
    """Return the probability of a label by transformers alone."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    given = AutoTokenizer.from_pretrained(folder)(premise, said, return_tensors="pt")
    with torch.inference_mode():
        return float(model(**given).logits.softmax(dim=1)[0, label])


PAIRS = [
    AnswerPair("?", "the river is long", "it rains every day"),
    AnswerPair("?", "it rains every day", "the river is long"),
    AnswerPair("?", "cold", "not cold"),
    AnswerPair("?", "the river is long", "the river is short"),
]


def test_the_label_order_is_read_from_the_checkpoint(checkpoints: list[Path]) -> None:
    assert [find_contradiction(folder) for folder in checkpoints] == [0, 2]
    agreements = [
        agree_by_nli(PAIRS, ModelSource({"model": str(folder)}, folder), output)
        for folder, output in zip(checkpoints, (0, 2), strict=True)
    ]
    np.testing.assert_allclose(agreements[0], agreements[1], atol=1e-6)
    assert agreements[0].std() > 0.001


def test_agreement_is_one_less_the_mean_contradiction_of_both_directions(
    checkpoints: list[Path],
) -> None:
    agreements = agree_by_nli(PAIRS, ModelSource({"model": "b"}, checkpoints[1]), 2)
    for agreement, pair in zip(agreements, PAIRS, strict=True):
        there, back = (
            chance(checkpoints[1], *texts, 2)
            for texts in ((pair.one, pair.other), (pair.other, pair.one))
        )
        assert agreement == pytest.approx(1 - (there + back) / 2, abs=1e-5)
    assert agreements[0] == pytest.approx(agreements[1], abs=1e-6)


def test_long_texts_are_compared_by_sentences(checkpoints: list[Path]) -> None:
    one = ["the river is long and it is cold.", "it rains in spain every day!"]
    other = ["the river is short and it rains.", "it is not cold in spain.", "it rains every day."]
    pair = AnswerPair("?", " ".join(one), "\n".join(other))
    agreements = agree_by_nli([pair], ModelSource({"model": "a"}, checkpoints[0]), 0)
    both = [
        np.mean([min(chance(checkpoints[0], p, said, 0) for p in first) for said in second])
        for first, second in ((one, other), (other, one))
    ]
    assert agreements[0] == pytest.approx(1 - np.mean(both), abs=1e-5)


def test_very_long_texts_keep_their_first_and_last_sentences() -> None:
    parts = sentences(" ".join(f"Sentence {i}." for i in range(40)))
    assert len(parts) == NLI_SENTENCES
    assert (parts[0], parts[-1]) == ("Sentence 0.", "Sentence 39.")
    assert sentences("...") == ["..."]


def test_a_checkpoint_that_does_not_name_contradiction_is_refused(
    tmp_path: Path, tiny: Path
) -> None:
    plain = write_nli(tmp_path / "plain", ("LABEL_0", "LABEL_1", "LABEL_2"), (0, 1, 2))
    with pytest.raises(UserError, match="write its labels into id2label"):
        find_contradiction(plain)
    with pytest.raises(UserError, match="no sequence classifier"):
        find_contradiction(tiny)


def test_identities_tell_models_apart(checkpoints: list[Path]) -> None:
    identities = [nli_agreement(str(folder)).identity for folder in checkpoints]
    assert identities[0] != identities[1]
    assert str(checkpoints[0]) not in str(identities[0])


def test_agreement_of_embeddings_is_a_cosine_from_zero_to_one() -> None:
    pairs = [
        AnswerPair("?", "Rivers carry water to the sea.", "Rivers carry water to the sea."),
        AnswerPair("?", "Rivers carry water to the sea.", "A river brings its water to the ocean."),
        AnswerPair("?", "Rivers carry water to the sea.", "The judge read out the sentence."),
        AnswerPair("?", "Rivers carry water to the sea.", ""),
    ]
    agreements = agree_by_embedding(pairs, "static")
    assert agreements[0] == pytest.approx(1)
    assert agreements[1] > agreements[2] >= 0
    assert agreements[3] == 0


def ask_model(pairs: list[AnswerPair], said: Any) -> tuple[np.ndarray[Any, Any], ScriptedEngine]:
    engine = ScriptedEngine([(lambda call: True, said)])
    with EngineClient(engine) as client:
        return agree_by_model(pairs, client, prompts_of(None)["agree"], "test"), engine


def test_a_model_is_asked_in_both_orders() -> None:
    def said(call: Any) -> str:
        text = text_of(call)
        no = text.index("short") < text.index("long")
        return '{"contradicts": "no"}' if no else '{"contradicts": "yes"}'

    agreements, engine = ask_model([AnswerPair("How far?", "long", "short")], said)
    assert agreements.tolist() == [0.5]
    assert len(engine.calls) == 2
    assert all("How far?" in text_of(call) for call in engine.calls)


def test_answers_of_no_use_are_left_out() -> None:
    agreements, _ = ask_model(
        [AnswerPair("?", "x", "y")], [Reply("", "refused"), '{"contradicts": "no"}']
    )
    assert agreements.tolist() == [1.0]
    agreements, _ = ask_model([AnswerPair("?", "x", "y")], Reply("", "refused"))
    assert np.isnan(agreements).all()


def test_texts_are_alike_but_for_space_and_case() -> None:
    assert alike("Two  words\n", "two words")
    assert not alike("two words", "two words.")
