"""Rules: faults of single rows that need no model to be seen.

    rule         a row fails if
    encoding     a turn holds what a wrong decoding leaves behind: U+FFFD, control characters, Ã© for é
    markup       the response holds tags, entities or template braces outside of code, or the furniture
                 of a web page ("all rights reserved"), or too much of the prompt is markup; not where
                 the prompt speaks of such
    placeholder  the response holds lorem ipsum, [insert ...], asdf, or is N/A or TODO; not where the
                 prompt says the same
    length       prompt or response has fewer or more characters than allowed
    language     prompt or response is surely in a language that is not allowed (off unless given)
    repetition   too much of the response lies in lines or word 10-grams that it has said before, or it
                 ends in one piece five times in a row
    refusal      the response begins by declining
    copied       the whole prompt, instruction included, stands in the response
    unfinished   a long response breaks off within a sentence or a block of code
    words        a turn holds a word of a list (off unless given)

Each can be switched off (`refusal: off`) or given other constants (`length: {response: [20, 4000]}`).
The reason is that of the first rule in this order that a row fails, the score the number of rules that
it fails. Measures are stored apart from verdicts, so constants can be moved later without the texts.

Line and n-gram shares are those of Gopher (Rae et al. 2021, arXiv:2112.11446, table A1), which are made
for web pages. Departures: shares of words instead of characters for n-grams; 10-grams from 0.2 instead
of 0.1 on, since 1.2 % of GSM8K's answers, which restate their problem sentence by sentence, are above
0.1, and 0.15 % above 0.2; no top n-grams, of which short answers have too many. All other constants are
our own, set so that few clean rows of GSM8K, P3 and GPTeacher go.

Cost: 0.02 to 0.05 ms a row on two cores, 0.25 ms more with `language`, so a million rows take a minute
or five. Memory is that of a batch of 8,192 rows, and of the measures, some 100 bytes a row.

Pitfalls: the patterns of refusals, placeholders and code are English ones. Letters with [Your Name] are
not taken for placeholders, and verses, lists and signatures not for broken-off texts. A row may ask for
what a rule forbids in words that no pattern knows: look at what a rule drops (`action: flag`) first.
System turns and earlier answers are looked at for encoding and words only.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BeforeValidator, Field, model_validator

from curate.clean.heuristics import language, measures
from curate.clean.heuristics.words import read_words
from curate.errors import UserError
from curate.reasons import Reason
from curate.registry import Params, StageData, StageResult, StepRun, stage
from curate.store import Artifact, Step
from curate.tables import read_table

Share = Annotated[float, Field(ge=0, le=1)]


class EncodingRule(Params):
    """No turn may hold characters that a wrong decoding leaves behind."""


class MarkupRule(Params):
    """No response may hold debris of markup, and no prompt more than a share of it."""

    prompt: Share = Field(0.2, description="most of a prompt's characters that may be markup")


class PlaceholderRule(Params):
    """No response may hold a placeholder, or be one."""


class LengthRule(Params):
    """Fewest and most characters."""

    prompt: tuple[int, int] = Field((3, 50_000), description="fewest and most characters")
    response: tuple[int, int] = Field((1, 50_000), description="fewest and most characters")

    @model_validator(mode="after")
    def _check(self) -> "LengthRule":
        for name, (fewest, most) in self:
            if not 0 <= fewest <= most:
                raise ValueError(f"{name}: write fewest and most characters, as in [20, 4000]")
        return self


class LanguageRule(Params):
    """Prompt and response, where they have some 40 letters, must be in one of these languages."""

    allowed: list[str] = Field(min_length=1, description="ISO 639-1 codes, e.g. [en, de]")
    confidence: Share = Field(0.8, description="how sure the detector must be of another language")


class RepetitionRule(Params):
    """How much of a response may say again what it has said."""

    lines: Share = Field(0.2, description="most of its characters in repeated lines")
    grams: Share = Field(
        0.2, description="most of its words in repeated 10-grams, from 50 words on"
    )
    loops: bool = Field(True, description="it may not end in one piece five times in a row")


class RefusalRule(Params):
    """No response may begin by declining to answer."""


class CopiedRule(Params):
    """No response may hold the whole prompt, from 8 words on."""

    share: float = Field(
        0.9, ge=0.5, le=1, description="of the prompt's words, both its ends among them"
    )


class UnfinishedRule(Params):
    """No long response may break off."""

    characters: int = Field(400, ge=0, description="shorter responses are not looked at")


class WordsRule(Params):
    """No turn may hold a word of a list."""

    file: str = Field(description="words or phrases, one a line; # begins a comment")


def _read_switch(value: Any) -> Any:
    """Return what `on` and `off` stand for: the rule's defaults, and none."""
    return {} if value is True else None if value is False else value


Switch = BeforeValidator(_read_switch)


class RulesParams(Params):
    """Drop rows that fail a rule."""

    kind: Literal["rules"] = "rules"
    encoding: Annotated[EncodingRule | None, Switch] = EncodingRule()
    markup: Annotated[MarkupRule | None, Switch] = MarkupRule()
    placeholder: Annotated[PlaceholderRule | None, Switch] = PlaceholderRule()
    length: Annotated[LengthRule | None, Switch] = LengthRule()
    language: Annotated[LanguageRule | None, Switch] = Field(None, description="off unless given")
    repetition: Annotated[RepetitionRule | None, Switch] = RepetitionRule()
    refusal: Annotated[RefusalRule | None, Switch] = RefusalRule()
    copied: Annotated[CopiedRule | None, Switch] = CopiedRule()
    unfinished: Annotated[UnfinishedRule | None, Switch] = UnfinishedRule()
    words: Annotated[WordsRule | None, Switch] = Field(None, description="off unless given")
    action: Literal["drop", "flag"] = Field(
        "drop", description="flag keeps all rows, and says in the tables which fail"
    )


def prepare_rules(
    run: StepRun, inputs: Mapping[str, Artifact], params: RulesParams
) -> Mapping[str, Artifact]:
    """Return the artifact with measures.parquet."""
    words = read_words(params.words.file) if params.words else []
    if params.language:
        _check_languages(params.language.allowed)
    told = {
        "languages": params.language is not None,
        "words": hashlib.blake2b("\n".join(words).encode(), digest_size=16).hexdigest(),
    }
    step = Step(
        "rules-measures",
        measures.VERSION,
        measures.write_measures,
        inputs,
        told,
        {"words": words},
    )
    return {measures.NAME: run.execute(step)}


def _check_languages(codes: list[str]) -> None:
    unknown = language.unknown_languages(codes)
    if unknown:
        raise UserError(
            f"rules.language.allowed: {', '.join(unknown)}: no language that can be told; "
            "write ISO 639-1 codes, e.g. [en, de, zh]"
        )


@stage(
    RulesParams,
    version=1,
    prepare=prepare_rules,
    movable=tuple(name for name in RulesParams.model_fields if name not in ("kind", "words")),
)
def rules(data: StageData, params: RulesParams) -> StageResult:
    """Judge every row by its measures.

    The evidence has a column for each rule that is on: whether the row fails it; with `language` also
    prompt_language and response_language (null where a text is too short to tell). Table counts, a
    line for each rule: how many rows fail it, and for how many it is the first and so the reason.
    """
    told = read_table(data.prepared[measures.NAME])
    found = _reasons(params, told.columns)
    names = list(found)
    languages = [f"{side}_language" for side in measures.SIDES] if params.language else []
    judged = told.select("row_id", *languages, **found)
    failed = [pl.col(name).is_not_null() for name in names]
    score = pl.sum_horizontal(failed) if failed else pl.lit(0)
    reason = pl.coalesce(names) if names else pl.lit(None, dtype=pl.String)
    dropped = reason.is_not_null() & (params.action == "drop")
    evidence = judged.select(
        "row_id",
        keep=~dropped,
        reason=pl.when(dropped).then(reason),
        score=score.cast(pl.Float64),
        threshold=pl.lit(None, dtype=pl.Float64),
        twin_id=pl.lit(None, dtype=pl.String),
        **{name: pl.col(name) for name in languages},
        **dict(zip(names, failed, strict=True)),
    )
    return StageResult(evidence, {"counts": _count(evidence, names)})


def _count(evidence: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Return rule, failed, first and share (of all rows that fail it), in the order of the rules."""
    rows = []
    before = pl.lit(value=False)
    for name in names:
        alone = pl.col(name) & ~before
        failed, first = evidence.select(pl.col(name).sum(), alone.sum().alias("first")).row(0)
        rows.append((name, failed, first, failed / max(evidence.height, 1)))
        before = before | pl.col(name)
    schema = {"rule": pl.String, "failed": pl.Int64, "first": pl.Int64, "share": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _reasons(params: RulesParams, columns: list[str]) -> dict[str, pl.Expr]:
    """Return for each rule that is on, in their order, the reason for which a row fails it, or null."""
    found = {
        name: expression(getattr(params, name))
        for name, expression in RULES.items()
        if getattr(params, name) is not None
    }
    lacking = [name for name, one in found.items() if not {*one.meta.root_names()} <= {*columns}]
    if lacking:
        raise UserError(
            f"rules.{lacking[0]}: was off in the run, so nothing is measured for it; "
            "run the recipe with it"
        )
    return found


def _fails(condition: pl.Expr, reason: Reason) -> pl.Expr:
    return pl.when(condition).then(pl.lit(reason.value))


def _length(rule: LengthRule) -> pl.Expr:
    sides = [(pl.col(f"{name}_chars"), bounds) for name, bounds in rule]
    short = pl.any_horizontal(chars < bounds[0] for chars, bounds in sides)
    long = pl.any_horizontal(chars > bounds[1] for chars, bounds in sides)
    return pl.coalesce(_fails(short, Reason.TOO_SHORT), _fails(long, Reason.TOO_LONG))


def _language(rule: LanguageRule) -> pl.Expr:
    other = [
        ~pl.col(f"{side}_language").is_in(rule.allowed)
        & (pl.col(f"{side}_confidence") >= rule.confidence)
        for side in measures.SIDES
    ]
    return _fails(pl.any_horizontal(other), Reason.WRONG_LANGUAGE)


def _repetition(rule: RepetitionRule) -> pl.Expr:
    again = (pl.col("repeated_lines") > rule.lines) | (pl.col("repeated_grams") > rule.grams)
    return _fails(again | (pl.col("loop") > 0) if rule.loops else again, Reason.REPETITION)


def _markup(rule: MarkupRule) -> pl.Expr:
    much = pl.col("markup_share") > rule.prompt
    return _fails(pl.col("markup").is_not_null() | much, Reason.MARKUP)


def _unfinished(rule: UnfinishedRule) -> pl.Expr:
    long = pl.col("response_chars") >= rule.characters
    return _fails(long & pl.col("open_end").is_not_null(), Reason.UNFINISHED)


# In the order in which a row's reason is looked for.
RULES: Mapping[str, Any] = {
    "encoding": lambda _: _fails(pl.col("damage").is_not_null(), Reason.ENCODING_DAMAGE),
    "markup": _markup,
    "placeholder": lambda _: _fails(pl.col("placeholder").is_not_null(), Reason.PLACEHOLDER),
    "length": _length,
    "language": _language,
    "repetition": _repetition,
    "refusal": lambda _: _fails(pl.col("refusal").is_not_null(), Reason.REFUSAL),
    "copied": lambda rule: _fails(pl.col("copied") >= rule.share, Reason.PROMPT_COPIED),
    "unfinished": _unfinished,
    "words": lambda _: _fails(pl.col("word").is_not_null(), Reason.TOXIC),
}
