"""Do two answers to a question agree? A number from 0 (they contradict) to 1, for every pair.

    agreement = 1 - (p(contradiction | one, other) + p(contradiction | other, one)) / 2

after BSDetector, Chen and Mueller 2023, arXiv:2308.16175. Where the probability comes from:

nli        a cross-encoder trained on natural-language inference. Which of its outputs is contradiction
           is read from the checkpoint's labels, which come in every order. Texts that do not fit into
           it together are compared by sentences: the mean, over the sentences of the second, of the
           least contradiction that a sentence of the first leaves.
embedding  no contradiction at all: the cosine of two sentence embeddings, below 0 as 0. It sees what
           answers are about, and hardly a "not" or another number. For want of an NLI model.
model      a language model is asked, in both orders: yes is 1, no is 0.

Cost a pair: two passes of the cross-encoder (more for long texts), two embeddings, or two calls.
Equal texts agree without being read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import regex
from numpy.typing import NDArray

from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.fixedpoint import paired_cosines
from curate.core.jsontypes import JSON
from curate.core.keyed import EmbedderSource, EngineSource, Keyed, ModelSource
from curate.core.lazy import lazy_module
from curate.core.store import Artifact
from curate.llm.ask import EngineClient
from curate.llm.asking import ask_all, llm_counts, open_client, shorten_middle
from curate.llm.compare import AnswerPair
from curate.llm.prompts import Prompt, PromptFiles
from curate.llm.requests import Sampling, chat
from curate.models.control import text_ids
from curate.models.embed import embed_texts
from curate.models.load import find_model
from curate.models.modelsource import model_source
from curate.models.ratings import encode_pairs, load_classifier, longest_input, rate

if TYPE_CHECKING:
    import transformers

else:
    transformers = lazy_module("transformers")

Kind = Literal["nli", "embedding", "model"]
NLI_LETTERS = 2_000
# Of a long text; their number is squared.
NLI_SENTENCES = 12
SENTENCE_END = regex.compile(r"(?<=[.!?])\s+|\n+")
SCHEMA: Mapping[str, JSON] = {
    "type": "object",
    "properties": {"contradicts": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["contradicts"],
    "additionalProperties": False,
}


Agreements = tuple[NDArray[np.float64], dict[str, Any]]


class Agreement(Keyed, Protocol):
    """A way to compare answers, an argument of a cached call."""

    def agreements(self, pairs: Sequence[AnswerPair]) -> Agreements:
        """Return the agreement [n] of pairs, NaN where there is none, and what that cost."""
        ...


@dataclass(frozen=True)
class EmbeddingAgreement:
    """Agreement by the cosine of two embeddings."""

    embedder: EmbedderSource

    @property
    def identity(self) -> dict[str, Any]:
        """Return what goes into the key."""
        return {"agreement": "embedding", **self.embedder.identity}

    @property
    def reads(self) -> Sequence[Artifact]:
        """Return what the embedder lies in."""
        return self.embedder.reads

    def agreements(self, pairs: Sequence[AnswerPair]) -> Agreements:
        """Return the agreement [n] of pairs."""
        return agree_by_embedding(pairs, self.embedder.name), {}


@dataclass(frozen=True)
class NliAgreement:
    """Agreement by a cross-encoder, of which one output is contradiction."""

    model: ModelSource
    output: int

    @property
    def identity(self) -> dict[str, Any]:
        """Return what goes into the key."""
        return {"agreement": "nli", "model": self.model.identity, "output": self.output}

    @property
    def reads(self) -> Sequence[Artifact]:
        """Return what the model lies in."""
        return self.model.reads

    def agreements(self, pairs: Sequence[AnswerPair]) -> Agreements:
        """Return the agreement [n] of pairs."""
        return agree_by_nli(pairs, self.model, self.output), {}


@dataclass(frozen=True)
class ModelAgreement:
    """Agreement by what a language model answers to `agree` among the prompts."""

    engine: EngineSource
    prompts: PromptFiles
    stage: str

    @property
    def identity(self) -> dict[str, Any]:
        """Return what goes into the key."""
        prompt = self.prompts.identity["agree"]
        return {"agreement": "model", "engine": self.engine.identity, "prompt": prompt}

    @property
    def reads(self) -> Sequence[Artifact]:
        """Return what the engine's model lies in."""
        return self.engine.reads

    def agreements(self, pairs: Sequence[AnswerPair]) -> Agreements:
        """Return the agreement [n] of pairs, and the bill."""
        with open_client(self.engine) as client:
            agreements = agree_by_model(pairs, client, self.prompts.open()["agree"], self.stage)
            return agreements, {"llm": llm_counts(client)}


def nli_agreement(name: str) -> NliAgreement:
    """Return the agreement by a cross-encoder: a folder or a hub id.

    Raises:
        UserError: no such model, or one that does not say which of its outputs is contradiction.
    """
    model = model_source(find_model(name), "float32")
    return NliAgreement(model, find_contradiction(model.folder))


def find_contradiction(folder: Path) -> int:
    """Return which output of a checkpoint is contradiction.

    Raises:
        UserError: it is no classifier, or its labels do not say.
    """
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"nli: {folder} does not load without code of its own; take another model"
        ) from error
    labels = {int(number): str(label) for number, label in config.id2label.items()}
    outputs = [number for number, label in labels.items() if "contradict" in label.lower()]
    if not any(a.endswith("ForSequenceClassification") for a in config.architectures or []):
        raise UserError(f"nli: {folder} is no sequence classifier; take an NLI cross-encoder")
    if len(outputs) != 1 or len(labels) < 2:
        raise UserError(
            f"nli: none or several of the labels of {folder} ({', '.join(labels.values())}) are "
            "contradiction; take an NLI model, or write its labels into id2label of its config.json"
        )
    return outputs[0]


def agree_by_nli(
    pairs: Sequence[AnswerPair], source: ModelSource, output: int
) -> NDArray[np.float64]:
    """Return the agreement [n] of pairs by a cross-encoder."""
    model, tokenizer = load_classifier(source.folder, digest_of(dict(source.identity)))
    limit = longest_input(model, tokenizer, NLI_LETTERS)
    room = limit - tokenizer.num_special_tokens_to_add(pair=True)
    texts = {text for pair in pairs for text in (pair.one, pair.other)}
    sizes = {t: len(text_ids(tokenizer, [t])[0]) for t in texts}
    text_pairs: list[tuple[str, str]] = []
    tables: list[list[tuple[int, int, int]]] = []
    for pair in pairs:
        fits = sizes[pair.one] + sizes[pair.other] <= room
        short = max(len(pair.one), len(pair.other)) <= NLI_LETTERS
        parts = [[t] if fits and short else sentences(t) for t in (pair.one, pair.other)]
        tables.append([])
        # The first of the two is the premise, the second what may contradict it.
        for first, second in (parts, parts[::-1]):
            tables[-1].append((len(text_pairs), len(first), len(second)))
            text_pairs += [(premise, hypothesis) for hypothesis in second for premise in first]
    typed = "token_type_ids" in tokenizer.model_input_names
    joined = encode_pairs(tokenizer, text_pairs, limit)
    chances = rate(model, joined, output, typed=typed).astype(np.float64)
    if not np.isfinite(chances).all():
        raise FloatingPointError("the NLI model gave a probability that is not finite")
    return np.array([1 - np.mean([_directed(chances, *t) for t in both]) for both in tables])


def _directed(chances: NDArray[np.float64], start: int, premises: int, hypotheses: int) -> float:
    """Return the mean over what is said of the least contradiction to a premise."""
    table = chances[start : start + premises * hypotheses].reshape(hypotheses, premises)
    return float(table.min(axis=1).mean())


def sentences(text: str) -> list[str]:
    """Return the first and last sentences of a text, NLI_SENTENCES at most, in their order."""
    parts = [part.strip() for part in SENTENCE_END.split(text) if part.strip()] or [text]
    half = NLI_SENTENCES // 2
    return parts if len(parts) <= NLI_SENTENCES else parts[:half] + parts[-half:]


def agree_by_embedding(pairs: Sequence[AnswerPair], embedder: str) -> NDArray[np.float64]:
    """Return the agreement [n] of pairs: the cosine of their embeddings, 0 if it is below."""
    texts = list(dict.fromkeys(t for pair in pairs for t in (pair.one, pair.other)))
    positions = {text: i for i, text in enumerate(texts)}
    vectors = embed_texts(texts, embedder)
    one = vectors[[positions[pair.one] for pair in pairs]]
    other = vectors[[positions[pair.other] for pair in pairs]]
    return paired_cosines(one, other).clip(0, 1)


def agree_by_model(
    pairs: Sequence[AnswerPair], client: EngineClient, prompt: Prompt, stage: str
) -> NDArray[np.float64]:
    """Return the agreement [n] of pairs by asking in both orders; NaN where no answer is of use."""
    requests = [
        chat(
            prompt.fill(
                question=pair.question, first=shorten_middle(one), second=shorten_middle(other)
            ),
            sampling=Sampling(temperature=0, max_tokens=16),
            schema=SCHEMA,
        )
        for pair in pairs
        for one, other in ((pair.one, pair.other), (pair.other, pair.one))
    ]
    agreements = [
        float(answer.value["contradicts"] == "no") if answer.ok else np.nan
        for (answer,) in ask_all(client, requests, stage)
    ]
    table = np.array(agreements, dtype=np.float64).reshape(-1, 2)
    usable = np.isfinite(table)
    sums: NDArray[np.float64] = np.where(usable, table, 0.0).sum(axis=1)
    counts = usable.sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
