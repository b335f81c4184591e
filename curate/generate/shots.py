"""Shots: the target examples that a request shows, drawn, nearest to it, or covering it together.

    random     drawn
    nearest    those of the largest cosine to what the request is about, the nearest one last
    coverage   Set-BSR: those that together hold the best match of each of its tokens, the first one last

Published: coverage is how Gupta et al. 2023, "Coverage-based Example Selection for In-Context Learning",
arXiv:2305.14907, choose demonstrations, and nearest is their baseline and that of Liu et al. 2021,
arXiv:2101.06804; both put the best last, next to what is asked. Tokens are those of the recipe's
`models.embedder`, of minilm for the static one, without weights (curate.models.tokenvectors,
curate.text.setcover).

Ours: where a request is about nothing yet (a new task, a new input), an example is drawn in its place
and shown last. What is shown anyway, such as the seed of a prompt, covers its tokens first.

One query is embedded at a time, so that it does not matter which requests come with it.
"""

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.fixedpoint import cosines
from curate.core.keyed import EmbedderSource
from curate.core.run import StepRun
from curate.generate.generation import Generation, Generator, SeedExample
from curate.models.tokenvectors import best_cosines
from curate.text.setcover import cover

ShotsBy = Literal["random", "nearest", "coverage"]
DECIMALS = 6
# Whose tokens methods compare in place of the table of tokens, which sees none in its context.
STATIC, ENCODER = "static", "minilm"


class ShotSettings(Generator):
    """A generator that shows target examples."""

    later: ClassVar[tuple[str, ...]] = ("shots_by",)

    shots_by: ShotsBy = Field(
        "random",
        description="how the examples that a request shows are chosen: drawn, nearest to what it is "
        "about, or covering its tokens together (Set-BSR)",
    )

    @model_validator(mode="after")
    def _check_shots(self) -> "ShotSettings":
        if self.shots_by != "random" and getattr(self, "shots", 1) == 0:
            raise ValueError("shots_by chooses the examples that are shown: give `shots` with it")
        return self

    @property
    def reads_tokens(self) -> bool:
        """Return whether it compares texts token by token."""
        return self.shots_by == "coverage"


def token_encoder(run: StepRun) -> EmbedderSource:
    """Return the recipe's sentence embedder, which has vectors of tokens; minilm for the static one."""
    own = run.embedder()
    return run.embedder(ENCODER) if own.name == STATIC else own


def prompt_of(example: SeedExample) -> str:
    """Return the text of an example by which a prompt finds it."""
    return example.prompt


class Shots:
    """Examples to show, and which of them a request shows.

    by: how they are chosen; text_of: what of an example is compared with a query.
    """

    def __init__(
        self,
        run: Generation,
        by: ShotsBy,
        examples: Sequence[SeedExample],
        text_of: Callable[[SeedExample], str] = prompt_of,
    ) -> None:
        self.run, self.by, self.examples = run, by, examples
        self.texts = [text_of(example) for example in examples]

    def choose(
        self,
        count: int,
        rng: np.random.Generator,
        query: str | None = None,
        beside: SeedExample | None = None,
        without: Collection[str] = (),
    ) -> list[SeedExample]:
        """Return the examples that a request shows, in the order in which it shows them.

        Args:
            count: how many at most.
            rng: draws them, or what stands for a query.
            query: what the request is about, where there is anything yet.
            beside: an example that is shown anyway, and none of these.
            without: ids of examples that are not to be shown.
        """
        passed = {*without, *([] if beside is None else [beside.row_id])}
        places = [i for i, example in enumerate(self.examples) if example.row_id not in passed]
        drawn = rng.permutation(np.array(places, dtype=np.int64))
        if self.by == "random" or not count or not len(drawn):
            return [self.examples[i] for i in drawn[:count]]
        # A set must not hang on the order that was drawn, save by what the draw stands for.
        others = np.sort(drawn)
        text = self.texts[drawn[0]] if query is None else query
        if self.by == "nearest":
            order = self._by_cosine(others, text)
        else:
            order = self._by_coverage(others, text, beside)
        return [self.examples[i] for i in others[order[:count][::-1]]]

    def _by_cosine(self, others: NDArray[np.int64], text: str) -> NDArray[np.int64]:
        products = cosines(self._vectors[others], self.run.embed([text]))[:, 0]
        return np.argsort(-products.round(DECIMALS), kind="stable")

    def _by_coverage(
        self, others: NDArray[np.int64], text: str, beside: SeedExample | None
    ) -> NDArray[np.int64]:
        (tokens,) = self.run.encode_tokens([text])
        recall = np.array([best_cosines(tokens, self._tokens[i]) for i in others])
        ids = [example.row_id for example in self.examples]
        covered = None
        if beside is not None and beside.row_id in ids:
            covered = best_cosines(tokens, self._tokens[ids.index(beside.row_id)])
        return cover(recall, covered)

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self.run.embed(self.texts)
        return vectors

    @cached_property
    def _tokens(self) -> list[NDArray[np.float32]]:
        return list(self.run.encode_tokens(self.texts))
