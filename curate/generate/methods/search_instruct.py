"""SearchInstruct: new questions around the target's, answered from passages that are found for them.

"SearchInstruct: Enhancing Domain Adaptation via Retrieval-Based Instruction Dataset Creation", 2025,
arXiv:2509.10708.

    questions  a few target prompts, drawn, are shown, and some more of their kind are asked for
    query      each question as a search query
    retrieve   the passages of a corpus nearest to the query, by words (BM25) and by meaning
    answer     from these passages alone, with the numbers of those that were used

The answer is kept if it is said to be there, if the passages it names were given, and if enough of its
words and all of its numbers are in them or in the question. The row is the question and the answer; the
passages are named in its notes, not shown. With `context: true` numbered passages stand in the row, some
of them irrelevant, and some rows lack the one with the answer and decline (curate.generate.context).
Common filters see question and answer there, without the passages: `prompt_words` does not count these.

Calls: 1 / 5 for a question, 1 for its query and 1 for its answer; with the prompts of the last being
long. So about 2.2 / yield for each kept row.

Departures from the authors' code: a corpus in files instead of search engines and whole web pages; the
query is always rewritten, and passages are chosen and bounded, as in the paper alone; questions that
are there already go before anything is paid for them; no passage found is no answer, where it answers
from nothing; empty and unsupported answers go. It shows 25 questions at a time; here 5 are drawn each
time, so that parents say something and small targets are not shown whole again and again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from curate.core.jsontypes import JSON
from curate.core.methods import method
from curate.core.rows import Message
from curate.core.section import Section
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.context import ContextShares, ContextWriter, corpus_table
from curate.generate.corpus import Corpus, Passage, read_passages
from curate.generate.corpus_section import corpus_blocks
from curate.generate.drafts import ask_each, find_truncation, mark_of
from curate.generate.generation import Generation, reject_reason_of, was_sent
from curate.generate.generator_section import GeneratorRecord, generator_section
from curate.generate.grounding import unsupported
from curate.generate.novelty import RougeIndex
from curate.generate.retrieve import Hit, Retriever
from curate.generate.shots import Shots, ShotSettings
from curate.llm.requests import Request, Sampling
from curate.llm.schemas import REPEATS, array, characters_for, greedy, record, text, tokens_for
from curate.llm.structured import Answer

VERSION = 2
QUESTION_LETTERS, QUERY_LETTERS = 300, 120
CONTEXT = ("context", "distractors", "unanswerable")


@method
class SearchInstructGenerator(ShotSettings):
    """New questions around the target's, answered from passages of a corpus."""

    version: ClassVar[int] = VERSION
    needs: ClassVar[tuple[str, ...]] = ("target",)
    reads: ClassVar[tuple[str, ...]] = ("corpus",)
    later: ClassVar[tuple[str, ...]] = (*ShotSettings.later, *CONTEXT)

    method: Literal["search_instruct"] = "search_instruct"
    corpus: Corpus = Field(
        description="documents, as records with a text or as plain text: a file, folder or glob, a URL, "
        "or a data set of the Hugging Face Hub",
        examples=["docs/*.md", {"path": "owner/name", "split": "train"}],
    )
    rounds: int = Field(40, ge=1, description="times that new questions are asked for")
    seeds: int = Field(5, ge=1, description="target prompts shown each time")
    questions: int = Field(5, ge=1, le=20, description="asked for each time")
    passages: int = Field(3, ge=1, le=20, description="given for an answer")
    words: int = Field(200, ge=20, description="of a passage at most")
    least: float = Field(
        0.2, ge=-1, le=1, description="least cosine of the best passage to a query"
    )
    support: float = Field(
        0.5, ge=0, le=1, description="least share of an answer's words in passages it names"
    )
    question_temperature: float = Field(0.7, ge=0, description="of new questions")
    answer_temperature: float = Field(0.1, ge=0, description="of answers")
    max_tokens: int = Field(512, ge=64, description="of an answer")
    context: bool = Field(
        False, description="keep passages in the row, numbered, before the question"
    )
    distractors: int = Field(
        4, ge=0, le=50, description="passages near the query in a row that do not hold the answer"
    )
    unanswerable: float = Field(
        0.2, ge=0, le=1, description="share of rows without the answer's passage, which decline"
    )

    @model_validator(mode="after")
    def _check_context(self) -> "SearchInstructGenerator":
        fields = type(self).model_fields
        alone = [name for name in CONTEXT[1:] if getattr(self, name) != fields[name].default]
        if alone and not self.context:
            raise ValueError(f"{alone[0]} says what is in a row's passages: give context: true")
        return self

    def generate(self, run: Generation) -> None:
        """Ask for questions, find passages for each, and have them answered."""
        passages = read_passages(self.corpus, self.words, run.digests.get("corpus"))
        search = PassageSearch(run, self, passages)
        drafts = ask_each(run, "query", search.ask_questions(), search.ask_query, take_query)
        drafts = search.find(drafts)
        drafts = ask_each(run, "answer", drafts, search.ask_answer, search.take_answer)
        if not self.context:
            run.filter(drafts)
            return
        rows = search.add_context(run.candidate_filter.filter(drafts))
        run.tables["corpus"] = corpus_table(
            search.ids, [row for row in rows if row.reject_reason is None]
        )
        run.record(rows)

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        calls = self.rounds * (1 + 2 * self.questions)
        return Workload(
            calls=calls, answer_tokens=self.max_tokens, rows=self.rounds * self.questions
        )

    def section(self, record: GeneratorRecord) -> Section | None:
        """Return what the report tells of every method, and what of the corpus the rows cover."""
        section = generator_section(record)
        return section and replace(section, blocks=(*section.blocks, *corpus_blocks(record)))


class PassageSearch:
    """The stages of the method over one corpus."""

    def __init__(
        self, run: Generation, params: SearchInstructGenerator, passages: Sequence[Passage]
    ) -> None:
        self.run, self.params = run, params
        self.texts = {p.passage_id: p.text for p in passages}
        self.ids = list(self.texts)
        self.retriever = Retriever(list(self.texts.values()), run.embed)
        self.answer_schema = record(
            passages={
                "type": "array",
                "items": {"type": "integer", "minimum": 1, "maximum": 99},
                "minItems": 0,
                "maxItems": params.passages,
            },
            answer={"type": "string", "maxLength": characters_for(params.max_tokens)},
            answerable={"type": "boolean"},
        )

    def ask_questions(self) -> list[Candidate]:
        """Return the new questions; those that are there already and lost rounds are dropped."""
        run, count = self.run, self.params.questions
        sampling = Sampling(
            temperature=self.params.question_temperature,
            max_tokens=tokens_for(count * QUESTION_LETTERS),
            repeats=REPEATS,
        )
        schema = questions_schema(count)
        shots = Shots(run, self.params.shots_by, run.target)
        seeds = [
            shots.choose(self.params.seeds, run.rng("seeds", k)) for k in range(self.params.rounds)
        ]
        requests = [
            run.request(
                "questions",
                [k],
                sampling,
                schema=schema,
                questions=[" ".join(example.prompt.split()) for example in examples],
                count=count,
            )
            for k, examples in enumerate(seeds)
        ]
        drafts: list[Candidate] = []
        for k, answer in enumerate(run.ask_one("questions", requests)):
            parents = tuple(example.row_id for example in seeds[k])
            drafts += self._take_questions(k, parents, answer)
        return run.candidate_filter.screen(
            drafts, RougeIndex([example.prompt for example in run.target])
        )

    def _take_questions(
        self, number: int, parents: tuple[str, ...], answer: Answer
    ) -> list[Candidate]:
        if not was_sent(answer):
            return []
        method = self.run.method
        reason = reject_reason_of(answer)
        if reason:
            lost = Candidate([], method, parents, 1, {"round": number})
            return [lost.drop(reason, answer.reason)]
        drafts = []
        for place, question in enumerate(answer.value["questions"]):
            notes = {"round": number, "place": place}
            turns: list[Message] = [{"role": "user", "content": question.strip()}]
            draft = Candidate(turns, method, parents, 1, notes)
            if len(question) >= QUESTION_LETTERS:
                draft = draft.drop(
                    RejectReason.TRUNCATED, f"question of {len(question)} characters"
                )
            drafts.append(draft)
        return drafts

    def ask_query(self, draft: Candidate) -> Request:
        """Return the request for a search query."""
        sampling = greedy(tokens_for(QUERY_LETTERS))
        return self.run.request(
            "query", _name(draft), sampling, schema=QUERY_SCHEMA, question=draft.prompt
        )

    def find(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts with the ids of their passages, those dropped for which none is near."""
        pending = [i for i, draft in enumerate(drafts) if draft.reject_reason is None]
        queries = [drafts[i].notes["query"] for i in pending]
        results = list(drafts)
        hits = self.retriever.find(queries, self.params.passages)
        for i, passage_hits in zip(pending, hits, strict=True):
            results[i] = self._with_evidence(results[i], passage_hits)
        return results

    def _with_evidence(self, draft: Candidate, hits: Sequence[Hit]) -> Candidate:
        best = max((hit.cosine for hit in hits), default=-1.0)
        evidence = [self.ids[hit.number] for hit in hits]
        grounded = draft.add_notes(evidence=evidence, cosine=round(best, 4))
        if best < self.params.least:
            return grounded.drop(
                RejectReason.UNSUPPORTED, f"no passage is near: cosine {best:.2f} at best"
            )
        return grounded

    def add_context(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts, those that are kept with passages before their question."""
        params = self.params
        shares = ContextShares(params.distractors, params.unanswerable, params.support)
        writer = ContextWriter(self.run, shares, self.texts, self.retriever)
        return writer.add(drafts, params.passages)

    def ask_answer(self, draft: Candidate) -> Request:
        """Return the request for an answer; the passages come last."""
        passages = [self.texts[passage_id] for passage_id in draft.notes["evidence"]]
        size = self.params.max_tokens
        sampling = Sampling(
            temperature=self.params.answer_temperature,
            max_tokens=size + tokens_for(6 * self.params.passages),
            repeats=REPEATS,
        )
        return self.run.request(
            "answer",
            _name(draft),
            sampling,
            schema=self.answer_schema,
            question=draft.prompt,
            mark=f"--- {mark_of(*passages)} ---",
            passages=passages,
        )

    def take_answer(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with its answer, dropped if its passages do not bear it out."""
        value = answer.value
        evidence = draft.notes["evidence"]
        numbers = list(dict.fromkeys(value["passages"]))
        cited = [evidence[n - 1] for n in numbers if n <= len(evidence)]
        answered = replace(
            draft,
            messages=pair(draft.prompt, value["answer"].strip()),
            notes={**draft.notes, "cited": cited},
        )
        if not value["answerable"]:
            return answered.drop(RejectReason.UNSUPPORTED, "the passages are said not to answer it")
        rejection = find_truncation(value, self.answer_schema)
        if rejection:
            return answered.drop(*rejection)
        beyond = [n for n in numbers if n > len(evidence)]
        if beyond or not numbers:
            what = f"passage {beyond[0]} of {len(evidence)}" if beyond else "no passage"
            return answered.drop(RejectReason.UNSUPPORTED, f"it names {what}")
        fault = unsupported(
            answered.response,
            "\n".join([draft.prompt, *(self.texts[passage_id] for passage_id in cited)]),
            self.params.support,
        )
        return answered.drop(RejectReason.UNSUPPORTED, fault) if fault else answered


def take_query(draft: Candidate, answer: Answer) -> Candidate:
    """Return the draft with its search query."""
    query = " ".join(answer.value["query"].split())
    return draft.add_notes(query=query)


def questions_schema(count: int) -> Mapping[str, JSON]:
    """Return the schema of a list of questions."""
    items = text(QUESTION_LETTERS)
    return record(questions=array(items, count))


QUERY_SCHEMA = record(query=text(QUERY_LETTERS))


def _name(draft: Candidate) -> tuple[int, int]:
    return draft.notes["round"], draft.notes["place"]
