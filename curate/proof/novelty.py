"""What did tuning teach? Contrastive generation between the base model and the tuned one.

Isonuma and Titov 2025, "What's New in My Data? Novelty Exploration via Contrastive Generation" (ICLR),
arXiv:2410.14765. A text is drawn token by token from

    softmax(log p_tuned(w | c) - gamma log p_base(w | c))

over the w with p_tuned(w | c) >= alpha max p_tuned(. | c),

so it is made of what tuning made likelier and the tuned model really says; alpha 0.1, gamma 1. In the
iterative form the base takes one step of language modelling on each text before the next is drawn
(AdamW on LoRA weights of its own), so what was shown is new no longer and other novelties come up.
Beside this, the rows of the selection themselves: how much likelier tuning made each response.

Departures: tuning here learns responses alone, so a text answers the prompt of a target example
(`start: target`) instead of following nothing (`start: nothing`, the published form); tokens are drawn
one by one where the authors sample four beams; an end marker ends a text where they forbid it.

Cost: one fine-tune as in the proof, two forward passes a token, one training step a text: about 4
minutes for 20 texts of 64 tokens and 50 rows with SmolLM2-135M on 2 cores. The texts are samples: that
something is not among them does not mean that it was not learned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from curate.core.calls import Table, cached_files
from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.lazy import lazy_module
from curate.core.run import ScoreRun
from curate.core.store import Artifact, Counts
from curate.core.wants import ONE_GPU
from curate.models.chat import IGNORED, TokenizedExample, build_example, prompt_tokens
from curate.models.evaluation import evaluate
from curate.models.head import split_model
from curate.models.load import load_tokenizer
from curate.models.lora import add_adapters, initialise_adapters
from curate.models.lora_values import LoraValues
from curate.models.training import (
    TrainingRows,
    accumulate_gradients,
    training_rows,
    tune_adapters,
)
from curate.models.weights import adaptable_model
from curate.proof.values import NoveltyValues, ProofValues

if TYPE_CHECKING:
    import torch
    import transformers
else:
    torch = lazy_module("torch")
    transformers = lazy_module("transformers")

VERSION = 2
TUNED_ADAPTER, NOVELTY_ADAPTER = "default", "shown"


class NextTokenModel(Protocol):
    """A language model that returns the distribution of the next token, one token at a time."""

    def begin(self, prompt: Sequence[int]) -> "torch.Tensor":
        """Return log-probabilities [V] of what follows a prompt; a new text begins."""
        ...

    def go_on(self, token: int) -> "torch.Tensor":
        """Return log-probabilities [V] of what follows after one more token."""
        ...


@dataclass(frozen=True)
class ContrastiveSample:
    """A text as tokens, without the end marker, and log p_tuned - log p_base of each."""

    tokens: list[int]
    gains: list[float]
    ended: bool


def contrast(
    tuned: "torch.Tensor", base: "torch.Tensor", *, alpha: float, gamma: float
) -> "torch.Tensor":
    """Return the distribution [V] to draw the next token from.

    Args:
        tuned: log-probabilities [V] under the tuned model.
        base: those under the base model.
        alpha: tokens below this share of the likeliest one of the tuned model are left out.
        gamma: weight of the base; 0 leaves the tuned model as it is.
    """
    score = tuned - gamma * base
    score[tuned < tuned.max() + math.log(alpha)] = -math.inf
    return score.double().softmax(dim=0)


def draw_text(
    tuned: NextTokenModel,
    base: NextTokenModel,
    prompt: Sequence[int],
    rng: np.random.Generator,
    *,
    alpha: float,
    gamma: float,
    tokens: int,
    ends: frozenset[int],
) -> ContrastiveSample:
    """Draw one text after a prompt, at most so many tokens long."""
    drawn = ContrastiveSample([], [], ended=False)
    likely, plain = tuned.begin(prompt), base.begin(prompt)
    while True:
        weights = contrast(likely, plain, alpha=alpha, gamma=gamma)
        mass = weights.cumsum(dim=0).numpy()
        token = int(np.searchsorted(mass, rng.random() * mass[-1], side="right"))
        if token in ends:
            return ContrastiveSample(drawn.tokens, drawn.gains, ended=True)
        drawn.tokens.append(token)
        drawn.gains.append(float(likely[token] - plain[token]))
        if len(drawn.tokens) == tokens:
            return drawn
        likely, plain = tuned.go_on(token), base.go_on(token)


def explore_novelty(run: ScoreRun, selection: Table, prove: ProofValues) -> Artifact:
    """Tune on the selection and find what that taught.

    Args:
        run: names the rows, the target examples and the model.
        selection: the ranking.
        prove: the recipe's settings, `novelty` among them.

    Raises:
        UserError: texts are to follow target examples, and there are none.
    """
    settings = prove["novelty"]
    follows = settings["start"] == "target"
    if follows and run.target is None:
        raise UserError("prove.novelty.start: there are no target examples; set it to nothing")
    chosen = selection.read(["row_id", "rank", "selected"]).filter("selected").sort("rank")
    rows = training_rows([run.rows], chosen["row_id"].to_list())
    target = run.target.artifact if run.target and follows else None
    seed, ids = [run.seed, 0], digest_of(rows.row_ids)
    return run(write_novelty, rows, ids, settings, prove["lora"], seed, run.base, target)


@cached_files(version=VERSION, name="novelty", wants=ONE_GPU)
def write_novelty(
    out: Path,
    texts: TrainingRows,
    ids: str,
    novelty: NoveltyValues,
    lora: LoraValues,
    seed: Sequence[int],
    model: ModelSource,
    target: Artifact | None = None,
) -> Counts:
    """Write texts.parquet and rows.parquet.

    texts: number, target_id (null where nothing stands before), text, gain (mean of log p_tuned - log
    p_base a token, the base as it was when the text was drawn), tokens, ended.
    rows: row_id, base_loss and tuned_loss (nats a response token), gain (their difference), in rank
    order.

    Args:
        out: the folder.
        texts: rows to tune on.
        ids: digest of their ids.
        novelty: the recipe's `prove.novelty`.
        lora: the recipe's `prove.lora`.
        seed: of adapters, order and texts.
        model: to tune.
        target: the target examples that texts follow.
    """
    tokenizer = load_tokenizer(model.folder, model.trust)
    rows = [build_example(tokenizer, row, lora["max_length"]) for row in texts.messages()]
    loaded = adaptable_model(model.folder, model.dtype, model.trust)
    pair = add_adapters(loaded, lora, "all-linear", seed)
    tune_adapters(pair, rows, lora, seed)
    _write_rows(out / "rows.parquet", pair, texts.row_ids, rows)
    decoder = ContrastiveDecoder(pair, tokenizer, lora, seed)
    explored = decoder.explore(_prompts(tokenizer, target), novelty)
    explored.write_parquet(out / "texts.parquet")
    return {"rows_in": len(rows), "rows_out": len(rows), "texts": explored.height}


def _prompts(tokenizer: Any, target: Artifact | None) -> list[tuple[str | None, list[int]]]:
    """Return id and tokens of what texts follow: the target's prompts, or the model's first token."""
    if target is None:
        first = [i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None]
        return [(None, first[:1])]
    return [
        (row_id, prompt_tokens(tokenizer, turns[:-1]))
        for row_id, turns in Table(target, "rows").read(["row_id", "messages"]).iter_rows()
    ]


def _write_rows(
    path: Path, pair: Any, ids: Sequence[str], rows: Sequence[TokenizedExample]
) -> None:
    """Write how likely tuning made each row's response, and how likely it was before."""
    pair.eval()
    tuned = evaluate(pair, rows)["loss"]
    with pair.disable_adapter():
        base = evaluate(pair, rows)["loss"]
    table = {"row_id": list(ids), "base_loss": base, "tuned_loss": tuned, "gain": base - tuned}
    pl.DataFrame(table).write_parquet(path)


class ContrastiveDecoder:
    """Contrastive decoding: one set of base weights, an adapter for the tuned model, one for the base.

    The base's adapter learns each drawn text in the iterative form.

    Args:
        pair: a base model with tuned adapters.
        tokenizer: of the model.
        lora: settings of the adapters.
        seed: of the A matrices of the base's adapter and of the texts.
    """

    def __init__(self, pair: Any, tokenizer: Any, lora: LoraValues, seed: Sequence[int]) -> None:
        self._pair, self._tokenizer, self._seed = pair, tokenizer, seed
        pair.add_adapter(NOVELTY_ADAPTER, pair.peft_config[TUNED_ADAPTER])
        initialise_adapters(pair, [*seed, 1], NOVELTY_ADAPTER)
        weights = [w for name, w in pair.named_parameters() if f".{NOVELTY_ADAPTER}." in name]
        self._optimizer = torch.optim.AdamW(weights, lr=lora["learning_rate"], weight_decay=0.0)
        self._ends = frozenset(_end_tokens(pair, tokenizer))

    def explore(
        self, prompts: Sequence[tuple[str | None, list[int]]], settings: NoveltyValues
    ) -> pl.DataFrame:
        """Return the drawn texts; prompts take turns."""
        lines = []
        for number in range(settings["texts"]):
            name, prompt = prompts[number % len(prompts)]
            drawn = draw_text(
                IncrementalLM(self._pair, TUNED_ADAPTER),
                IncrementalLM(self._pair, NOVELTY_ADAPTER),
                prompt,
                np.random.default_rng([*self._seed, number, 0xC6E]),
                alpha=settings["alpha"],
                gamma=settings["gamma"],
                tokens=settings["tokens"],
                ends=self._ends,
            )
            lines.append((number, name, *self._text_columns(drawn)))
            if settings["iterative"]:
                self._show(prompt, drawn)
        columns = ["number", "target_id", "text", "gain", "tokens", "ended"]
        schema = dict(
            zip(
                columns,
                [pl.Int64, pl.String, pl.String, pl.Float64, pl.Int64, pl.Boolean],
                strict=True,
            )
        )
        return pl.DataFrame(lines, schema=schema, orient="row")

    def _text_columns(self, drawn: ContrastiveSample) -> tuple[str, float | None, int, bool]:
        text = str(self._tokenizer.decode(drawn.tokens, skip_special_tokens=True))
        gain = float(np.mean(drawn.gains)) if drawn.gains else None
        return text, gain, len(drawn.tokens), drawn.ended

    def _show(self, prompt: Sequence[int], drawn: ContrastiveSample) -> None:
        """Let the base take one step on a text; what was before it is only read."""
        if not drawn.tokens:
            return
        ids = [*prompt, *drawn.tokens]
        labels = [*[IGNORED] * len(prompt), *drawn.tokens]
        self._pair.set_adapter(NOVELTY_ADAPTER)
        accumulate_gradients(split_model(self._pair), [TokenizedExample(ids, labels)])
        self._optimizer.step()
        self._optimizer.zero_grad()


class IncrementalLM:
    """One of the two models, decoding token by token with a key-value cache of its own."""

    def __init__(self, pair: Any, adapter: str) -> None:
        self._pair, self._adapter = pair, adapter

    def begin(self, prompt: Sequence[int]) -> "torch.Tensor":
        """Return log-probabilities [V] after a prompt."""
        self._pair.eval()
        self._cache = transformers.DynamicCache(config=self._pair.config)
        return self._read(prompt)

    def go_on(self, token: int) -> "torch.Tensor":
        """Return log-probabilities [V] after one more token."""
        return self._read([token])

    def _read(self, tokens: Sequence[int]) -> "torch.Tensor":
        self._pair.set_adapter(self._adapter)
        with torch.inference_mode():
            out = self._pair(
                input_ids=torch.tensor([list(tokens)], device=self._pair.device),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
            log_probs: torch.Tensor = out.logits[0, -1].float().log_softmax(dim=0).cpu()
        return log_probs


def _end_tokens(pair: Any, tokenizer: Any) -> list[int]:
    eos_ids = pair.generation_config.eos_token_id if pair.generation_config else None
    ends = eos_ids if isinstance(eos_ids, list) else [eos_ids]
    return [token for token in {*ends, tokenizer.eos_token_id} if token is not None]
