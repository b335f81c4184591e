"""What a method takes, in units of work that a machine does at a pace that can be measured.

    def cost(self, rows: int) -> Workload:
        return Workload(read_rows=rows, max_length=self.max_length)

A method says it by `cost`; `curate check` turns it into time, memory and money.
"""

from dataclasses import dataclass
from typing import Literal

# What can be taken from a forward pass over whole rows: losses of responses, those of all tokens too,
# and vectors of the hidden states.
PassHead = Literal["response", "all", "vectors"]
# A LoRA step against a forward pass without the head, measured: activations back through all layers.
TRAINING_COST = 5.0
# The gradient of a single row's adapters, in the direction that an optimizer would take, likewise.
GRADIENT_COST = 3.5


@dataclass(frozen=True)
class SharedPass:
    """What the methods of a recipe take from one pass of the base model over rows cut at one length.

    `stage` is the first stage that takes something, over the rows that the stages before it kept.
    """

    heads: frozenset[PassHead] = frozenset()
    stage: str | None = None


@dataclass(frozen=True)
class ResponseLimit:
    """What a method must see of a row's response to score it: tokens, within the row's first ones.

    max_length: tokens of a row that are read; tokens: fewest of the response among them; model: that
    reads them, the base model if None; setting: what a recipe calls the limit.
    """

    max_length: int
    tokens: int = 1
    model: str | None = None
    setting: str = "its max_length"


@dataclass(frozen=True)
class Workload:
    """What a method takes at most: rows that models read, and calls of a language model.

    read_rows: rows that the base model reads, one that it reads twice counted twice.
    max_length: tokens of a row that it reads, None for all.
    heads: what it takes from a pass over whole rows, which it shares with others that cut rows alike.
    limit: what it must see of a row's response.
    gradients: whether the model goes back through each row as well, for gradients of adapters.
    embedded_rows: rows of which a sentence embedder reads what `compare` says; embedder: its name, that
    of the recipe's models if None.
    calls: of a language model, answers drawn anew aside; answer_tokens: of its longest answer.
    written_tokens: of all answers, where not all may be as long as the longest.
    rows: that are made, one a call if None.
    """

    read_rows: int = 0
    max_length: int | None = None
    heads: tuple[PassHead, ...] = ()
    limit: ResponseLimit | None = None
    gradients: bool = False
    embedded_rows: int = 0
    compare: Literal["example", "prompt", "response"] = "example"
    embedder: str | None = None
    calls: int = 0
    answer_tokens: int = 0
    written_tokens: int | None = None
    rows: int | None = None
