"""Translate: rows in other languages, with what no translation may touch, and the way back measured.

    translate   prompt and response of a row, into each language
    rules       code, links, placeholders, numbers, letters of options and keys of JSON are those of the
                source (curate.generate.invariants); the language is the one that was asked for
                (curate.text.language), as far as a text is long enough to tell, and no
                sentence is as it was
    back        the translation alone, into the language of the source
    round trip  chrF of what comes back to the source, prompt and response each (curate.text.chrf); the
                names of the source are in the translation or come back

*Published* is chrF (Popović 2015, W15-3049); that round trips filter synthetic translations is common
practice, and the rules and the threshold are ours. chrF and not the embedder's cosine, since the
embedded one reads English. Names are words with a capital within a sentence; of languages that write
all nouns so (German, Luxembourgish) only those with a capital inside.

System turns stay as they are. The source row is the only parent; `language` is in the new row's record.
The table `rows` says of each row and language what became of it.

Calls: 2 for each row and language, 1 where the rules drop the first.

Pitfalls: a round trip forgives what a model does wrong both ways, and punishes free translations;
look at some of both. Small models copy, or answer what they should translate.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.workload import Workload
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.drafts import ask_each, find_truncation
from curate.generate.generation import Generation, SeedExample
from curate.generate.invariants import KEY, describe_change, find_changed_invariant
from curate.generate.particulars import CODE, WORD, find_names
from curate.generate.sift import AnyScriptFilters
from curate.generate.starts import StartParams, choose_starts, count_starts, system_of
from curate.llm.requests import Request
from curate.llm.schemas import characters_for, greedy, record, text
from curate.llm.structured import Answer
from curate.text.chrf import chrf
from curate.text.language import find_languages, unknown_languages
from curate.text.languagenames import language_name

VERSION = 1
PARTS = ("prompt", "response")
# A text of fewer words may be the same in both languages.
FEWEST_WORDS = 3
# Languages whose nouns have a capital, and those that are hardly told from each other.
CAPITAL_NOUNS = ("de", "lb")
TWINS = (("bs", "hr", "sr"), ("nn", "no"), ("id", "ms"), ("wuu", "yue", "zh"))
ROW_SCHEMA = pl.Schema(
    {
        "row_id": pl.String(),
        "source_language": pl.String(),
        "language": pl.String(),
        "prompt_chrf": pl.Float64(),
        "response_chrf": pl.Float64(),
        "state": pl.String(),
        "detail": pl.String(),
    }
)


@method
class TranslateGenerator(StartParams):
    """Rows in other languages, checked by rules and by the way back."""

    version: ClassVar[int] = VERSION

    method: Literal["translate"] = "translate"
    filters: AnyScriptFilters = AnyScriptFilters()
    to: list[str] = Field(
        min_length=1, description="ISO 639-1 codes of languages", examples=[["de", "fr"]]
    )
    source: str | None = Field(
        None, description="language of the rows; that of each is found out if null", examples=["en"]
    )
    round_trip: float = Field(
        0.5, ge=0, le=1, description="least chrF of what comes back, of prompt and response each"
    )
    max_tokens: int = Field(2_048, ge=64, description="of a prompt and its response together")

    @model_validator(mode="after")
    def _check(self) -> "TranslateGenerator":
        codes = [*self.to, *([self.source] if self.source else [])]
        if unknown := unknown_languages(codes):
            raise ValueError(f"no language has the code {unknown[0]!r}; give ISO 639-1, such as de")
        if len(set(codes)) < len(codes):
            raise ValueError("to: each language can be named once, and that of the rows not at all")
        return self

    def generate(self, run: Generation) -> None:
        """Translate each row into each language, check it, translate it back, and compare."""
        translating = Translating(run, self)
        try:
            drafts = ask_each(
                run, "translate", translating.drafts(), translating.ask, translating.take
            )
            drafts = run.candidate_filter.filter(translating.check_languages(drafts))
            drafts = ask_each(run, "back", drafts, translating.ask_back, translating.take_back)
            run.record(drafts)
        finally:
            run.tables["rows"] = translating.table()

    def cost(self, targets: int, pool_rows: int) -> Workload:
        """Return what it asks and makes at most."""
        rows = count_starts(self, targets, pool_rows) * len(self.to)
        return Workload(calls=2 * rows, answer_tokens=self.max_tokens, rows=rows)


class Translating:
    """The stages of the method over the rows that it starts from."""

    def __init__(self, run: Generation, params: TranslateGenerator) -> None:
        self.run, self.params = run, params
        starts = choose_starts(run, params)
        self.starts = {example.row_id: example for example in starts}
        languages = [params.source] * len(starts) if params.source else source_languages(starts)
        self.languages = dict(zip(self.starts, languages, strict=True))
        self.schema = record(**{part: text(characters_for(params.max_tokens)) for part in PARTS})

    def drafts(self) -> list[Candidate]:
        """Return a draft for each row and each language that it is not in."""
        return [
            Candidate(
                [], self.run.method, (row_id,), 1, {"language": language, "source_language": own}
            )
            for row_id, own in self.languages.items()
            for language in self.params.to
            if language != own
        ]

    def ask(self, draft: Candidate) -> Request:
        """Return the request for the translation."""
        source = self._source(draft)
        return self._request("there", draft, source.prompt, source.response, _language(draft))

    def ask_back(self, draft: Candidate) -> Request:
        """Return the request for the way back, in which nothing of the source stands."""
        language = self.languages[draft.parents[0]]
        return self._request("back", draft, draft.prompt, draft.response, language)

    def _request(
        self, way: str, draft: Candidate, prompt: str, response: str, language: str
    ) -> Request:
        return self.run.request(
            "translate",
            [way, draft.parents[0], _language(draft)],
            greedy(self.params.max_tokens),
            schema=self.schema,
            question=prompt,
            response=response,
            language=language_name(language),
        )

    def take(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with its turns, dropped if it is cut or something is lost."""
        source = self._source(draft)
        prompt, response = (answer.value[part].strip() for part in PARTS)
        translation = replace(draft, messages=pair(prompt, response, system_of(source)))
        if truncation := find_truncation(answer.value, self.schema):
            return translation.drop(*truncation)
        if (prompt, response) == (source.prompt.strip(), source.response.strip()):
            return translation.drop(RejectReason.NOT_EVOLVED, "it is as it was")
        for part in PARTS:
            before, after = getattr(source, part), getattr(translation, part)
            if change := find_changed_invariant(before, after):
                return translation.drop(RejectReason.MEANING_CHANGED, f"{part}: {change}")
            if before.strip() == after and is_sentence(before):
                return translation.drop(RejectReason.NOT_EVOLVED, f"the {part} is as it was")
        return translation

    def check_languages(self, drafts: Sequence[Candidate]) -> list[Candidate]:
        """Return the drafts, those dropped of which a part, or the whole, is in another language."""
        texts = [
            words
            for draft in drafts
            for words in (draft.prompt, draft.response, f"{draft.prompt}\n{draft.response}")
        ]
        languages = iter(find_languages(_prose(texts))["language"])
        results = []
        for draft in drafts:
            others = [
                language
                for language in (next(languages), next(languages), next(languages))
                if language is not None and not _same_language(language, _language(draft))
            ]
            if others and draft.reject_reason is None:
                detail = f"{others[0]}, not {_language(draft)}"
                draft = draft.drop(RejectReason.WRONG_LANGUAGE, detail)
            results.append(draft)
        return results

    def take_back(self, draft: Candidate, answer: Answer) -> Candidate:
        """Return the draft with its chrF, dropped if too little comes back, or a name does not."""
        source = self._source(draft)
        scores = {part: chrf(answer.value[part], getattr(source, part)) for part in PARTS}
        measured = draft.add_notes(
            **{f"{part}_chrf": round(score, 4) for part, score in scores.items()}
        )
        worst = min(PARTS, key=lambda part: scores[part])
        if scores[worst] < self.params.round_trip:
            detail = f"{worst}: chrF {scores[worst]:.2f} of what comes back"
            return measured.drop(RejectReason.MEANING_CHANGED, detail)
        for part in PARTS:
            texts = (getattr(draft, part), answer.value[part])
            if lost := lost_names(getattr(source, part), texts, self.languages[source.row_id]):
                detail = f"{part}: {describe_change('name', lost, [])}"
                return measured.drop(RejectReason.MEANING_CHANGED, detail)
        return measured

    def _source(self, draft: Candidate) -> SeedExample:
        return self.starts[draft.parents[0]]

    def table(self) -> pl.DataFrame:
        """Return what became of each row in each language: kept, why it went, or what was not sent."""
        by_pair = {(c.parents[0], _language(c)): c for c in self.run.candidates}
        lines = [
            self._line(row_id, language, by_pair.get((row_id, language)))
            for row_id in self.starts
            for language in self.params.to
        ]
        return pl.DataFrame(lines, schema=ROW_SCHEMA, orient="row")

    def _line(self, row_id: str, language: str, row: Candidate | None) -> tuple[str | None, ...]:
        own = self.languages[row_id]
        if row is None:
            state = "is in it" if own == language else "unsent"
            return row_id, own, language, None, None, state, ""
        scores = (row.notes.get(f"{part}_chrf") for part in PARTS)
        state = "kept" if row.reject_reason is None else row.reject_reason.value
        return row_id, own, language, *scores, state, row.detail


def source_languages(starts: Sequence[SeedExample]) -> list[str]:
    """Return the language of each row; of one too short to tell, that of most others.

    Raises:
        UserError: of none the language can be told.
    """
    texts = [f"{example.prompt}\n{example.response}" for example in starts]
    languages = find_languages(_prose(texts))["language"]
    most = languages.drop_nulls().mode().sort()
    if most.is_empty():
        raise UserError(
            f"translate: none of {len(starts):,} rows is long enough to tell its language; name it, "
            "such as `source: en`"
        )
    return languages.fill_null(most[0]).to_list()


def is_sentence(text: str) -> bool:
    """Return whether a text has some words, one of them in small letters: no name, formula or label."""
    words = [word for word in WORD.findall(KEY.sub(" ", CODE.sub(" ", text))) if len(word) > 1]
    return len(words) >= FEWEST_WORDS and any(word.islower() for word in words)


def lost_names(source: str, texts: Sequence[str], language: str) -> list[str]:
    """Return the names of a source that none of some texts has."""
    names = find_names(source)
    if language in CAPITAL_NOUNS:
        names = {name for name in names if not name[1:].islower()}
    words = {_bare(word) for one in texts for word in WORD.findall(one)}
    return sorted(name for name in names if _bare(name) not in words)


def _bare(word: str) -> str:
    return word.removesuffix("'s").removesuffix("’s").casefold()


def _prose(texts: Sequence[str]) -> pl.Series:
    """Return texts without their code and links, which are in no language."""
    return pl.Series([CODE.sub(" ", one) for one in texts], dtype=pl.String)


def _same_language(one: str, other: str) -> bool:
    return one == other or any(one in twins and other in twins for twins in TWINS)


def _language(draft: Candidate) -> str:
    language: str = draft.notes["language"]
    return language
