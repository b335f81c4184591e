"""Retrieval rows: numbered passages before a question, some near it that do not hold the answer.

    [1] A glacier moves downhill under its own weight.        near, but not cited
    [2] The harbour of Hamburg handles 120 million tonnes.    cited: it holds the answer

    How much freight does the harbour of Hamburg handle?

Published: distractors beside the passage that holds the answer, and a share of rows without that
passage, are RAFT's (Zhang et al. 2024, arXiv:2403.10131), with its 4 distractors. Questions whose
passages hold no answer, and a response that says so, are SQuAD 2.0's (Rajpurkar et al. 2018,
arXiv:1806.03822); RAFT's rows without the passage keep the answer.

Ours: distractors are the passages nearest to the query that are no copies of cited ones and that cannot
hold the answer, by its numbers and words that the question lacks. Where an answer has none (yes, no), a
row never declines. The order is drawn, so that the answer stands at each place equally often, and a row
that declines has as many passages as it would have had with the answer's.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from curate.generate.candidates import Candidate, pair
from curate.generate.generation import Generation
from curate.generate.grounding import AnswerTraces
from curate.generate.retrieve import Hit, Retriever

# Passages looked at for each distractor: some hold the answer too.
LOOKED_AT = 5
# None of them is what the filters and the stage `rules` take for a refusal.
DECLINING = (
    "The passages do not answer this question.",
    "None of the passages says this.",
    "That is not stated in the passages.",
    "The given passages hold no answer to this question.",
    "The answer is not in these passages.",
    "This does not follow from any of the passages.",
    "The passages above leave this open.",
    "Nothing in the passages answers this.",
)
CORPUS_SCHEMA = pl.Schema({"passage_id": pl.String(), "cited": pl.Int64(), "in_rows": pl.Int64()})


@dataclass(frozen=True)
class ContextShares:
    """How rows get passages: near ones that are not cited, and the share of rows that decline."""

    distractors: int
    unanswerable: float
    support: float


class ContextWriter:
    """Puts passages before the questions of kept candidates.

    Args:
        run: for the order of passages, and for which rows decline.
        texts: the passages by their ids, in the retriever's order.
    """

    def __init__(
        self,
        run: Generation,
        shares: ContextShares,
        texts: Mapping[str, str],
        retriever: Retriever,
    ) -> None:
        self.run, self.shares, self.texts, self.retriever = run, shares, texts, retriever
        self.ids = list(texts)

    def add(self, drafts: Sequence[Candidate], most_cited: int) -> list[Candidate]:
        """Return the drafts, those not rejected with passages; notes name query and cited passages.

        Args:
            drafts: questions with their answers.
            most_cited: passages that an answer can cite.
        """
        results = list(drafts)
        pending = [i for i, draft in enumerate(drafts) if draft.reject_reason is None]
        depth = LOOKED_AT * (most_cited + self.shares.distractors)
        hits = self.retriever.find([drafts[i].notes["query"] for i in pending], depth)
        for i, passage_hits in zip(pending, hits, strict=True):
            results[i] = self.run.candidate_filter.check_turns(
                self._with_context(drafts[i], passage_hits)
            )
        return results

    def _with_context(self, draft: Candidate, hits: Sequence[Hit]) -> Candidate:
        rng = self.run.rng("context", draft.notes["round"], draft.notes["place"])
        cited: list[str] = list(dict.fromkeys(draft.notes["cited"]))
        traces = AnswerTraces(draft.prompt, draft.response, self.shares.support)
        copies = {_plain(self.texts[name]) for name in cited}
        near = [self.ids[hit.number] for hit in hits if self._is_distractor(hit, copies, traces)]
        declines = rng.random() < self.shares.unanswerable and traces.telling and bool(near)
        count = self.shares.distractors
        chosen = near[: count + len(cited)] if declines else [*cited, *near[:count]]
        return self._write(draft, [chosen[i] for i in rng.permutation(len(chosen))], declines, rng)

    def _is_distractor(self, hit: Hit, copies: Set[str], traces: AnswerTraces) -> bool:
        passage = self.texts[self.ids[hit.number]]
        return _plain(passage) not in copies and not traces.may_be_in(passage)

    def _write(
        self, draft: Candidate, passage_ids: Sequence[str], declines: bool, rng: np.random.Generator
    ) -> Candidate:
        passages = [
            {"id": name, "text": self.texts[name], "cited": name in draft.notes["cited"]}
            for name in passage_ids
        ]
        numbered = [f"[{k}] {self.texts[name]}" for k, name in enumerate(passage_ids, start=1)]
        wording = DECLINING[int(rng.integers(len(DECLINING)))]
        prompt = "\n\n".join([*numbered, draft.prompt])
        notes = {"question": draft.prompt, "answerable": not declines, "passages": passages}
        return replace(
            draft,
            messages=pair(prompt, wording if declines else draft.response),
            notes={**draft.notes, **notes},
        )


def _plain(text: str) -> str:
    """Return a text without what tells copies of it apart."""
    return " ".join(text.split()).casefold()


def corpus_table(ids: Sequence[str], kept: Sequence[Candidate]) -> pl.DataFrame:
    """Return each passage of a corpus with the kept rows that cite it and those that show it."""
    cited = _counts("cited", [name for c in kept for name in dict.fromkeys(c.notes["cited"])])
    in_rows = _counts("in_rows", [p["id"] for c in kept for p in c.notes["passages"]])
    passages = pl.DataFrame({"passage_id": ids}, schema={"passage_id": pl.String})
    for counts in (cited, in_rows):
        passages = passages.join(counts, on="passage_id", how="left", maintain_order="left")
    return passages.with_columns(pl.col("cited", "in_rows").fill_null(0)).cast(CORPUS_SCHEMA)


def _counts(name: str, ids: Sequence[str]) -> pl.DataFrame:
    return pl.Series("passage_id", ids, dtype=pl.String).value_counts(name=name)
