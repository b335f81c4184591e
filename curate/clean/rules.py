r"""Rules: faults of single rows that need no model to be seen.

    rule         a row fails if
    encoding     a turn holds what a wrong decoding leaves behind: U+FFFD, control characters, Ã© for é
    markup       the response holds tags, entities or template braces outside of code, or the furniture
                 of a web page ("all rights reserved"), or too much of the prompt is markup; not where
                 the prompt speaks of such
    placeholder  the response holds lorem ipsum, [insert ...], # your code here, or is N/A, TODO or
                 <No Output>; not where the prompt says the same; or the prompt ends in <noinput>
    length       prompt or response has fewer or more characters than allowed
    language     prompt or response is surely in a language that is not allowed (off unless given)
    repetition   too much of the response lies in lines or word 10-grams that it has said before, or it
                 ends in one piece five times in a row
    refusal      the response begins by declining
    copied       the whole prompt, instruction included, stands in the response, or is it, and
                 little else
    unfinished   a long response breaks off within a sentence or a block of code
    escapes      a turn holds \n, \" and the like as they were typed; not where the row speaks of code
    merged       another task stands in the row: "18. Instruction: ...", "### Response:"
    missing      a short prompt speaks of a text, picture or page that it does not hold
    claims       the response says that it did what no text does ("The alarm has been set."), or the
                 prompt asks for a picture
    tools        a call is no JSON, names no declared tool, lacks an argument, has one of another type,
                 or a number or address that no turn before it says
    words        a turn holds a word of a list (off unless given)

Each can be switched off (`refusal: off`) or given other constants (`length: {response: [20, 4000]}`).
The reason is that of the first rule in this order that a row fails, the score the number of rules that
it fails. Measures are stored apart from verdicts, so constants can be moved later without the texts.

Line and n-gram shares are those of Gopher (Rae et al. 2021, arXiv:2112.11446, table A1), which are made
for web pages. Departures: shares of words instead of characters for n-grams; 10-grams from 0.35
instead of 0.1 on, since of GSM8K's answers, which restate their problem sentence by sentence, 1.2 % are
above 0.1, 0.16 % above 0.2 and none above 0.32; no top n-grams, of which short answers have too
many. All other constants are our own, set so that no clean row of GSM8K, P3 and GPTeacher goes. Of the
kinds of faults that the maintainers of AlpacaDataCleaned list, all have a rule but wrong answers.

Cost: 0.02 to 0.05 ms a row on two cores, 0.25 ms more with `language`, so a million rows take a minute
or five. Memory is that of some batches of rows.

Pitfalls: the patterns of placeholders and code are English ones; those of refusals, other tasks, claims
and missing inputs know German, French, Spanish, Russian, Chinese and Japanese too. Letters with
[Your Name] are not taken for placeholders, and verses, lists and signatures not for broken-off texts. A
row may ask for what a rule forbids in words that no pattern knows: look first at what a rule drops
(`action: flag`). System turns and earlier answers are looked at for encoding and words only. Of a
preference pair the chosen answer alone is looked at: a rejected one may be there for its faults.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import BeforeValidator, Field

from curate.clean.heuristics import measures
from curate.clean.heuristics.findings import RULES, Finding
from curate.clean.heuristics.parameters import (
    ActionRule,
    CopiedRule,
    EncodingRule,
    EscapesRule,
    LanguageRule,
    LengthRule,
    MarkupRule,
    MergedRule,
    MissingRule,
    PlaceholderRule,
    RefusalRule,
    RepetitionRule,
    ToolsRule,
    UnfinishedRule,
    WordsRule,
)
from curate.clean.heuristics.words import WordList, read_words
from curate.clean.heuristics_section import rules_section
from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.tableparts import concatenated, survivor_parts
from curate.text.language import unknown_languages


def _read_switch(value: Any) -> Any:
    """Return what `on` and `off` stand for: the rule's defaults, and none."""
    return {} if value is True else None if value is False else value


Switch = BeforeValidator(_read_switch)


@method
class RulesStage(Stage):
    """Drop rows that fail a rule."""

    version: ClassVar[int] = 4
    rethresholdable: ClassVar[tuple[str, ...]] = (
        *(name for name in RULES if name != "words"),
        "action",
    )

    method: Literal["rules"] = "rules"
    encoding: Annotated[EncodingRule | None, Switch] = EncodingRule()
    markup: Annotated[MarkupRule | None, Switch] = MarkupRule()
    placeholder: Annotated[PlaceholderRule | None, Switch] = PlaceholderRule()
    length: Annotated[LengthRule | None, Switch] = LengthRule()
    language: Annotated[LanguageRule | None, Switch] = Field(
        None, description="off unless given", examples=[{"allowed": ["en"]}]
    )
    repetition: Annotated[RepetitionRule | None, Switch] = RepetitionRule()
    refusal: Annotated[RefusalRule | None, Switch] = RefusalRule()
    copied: Annotated[CopiedRule | None, Switch] = CopiedRule()
    unfinished: Annotated[UnfinishedRule | None, Switch] = UnfinishedRule()
    escapes: Annotated[EscapesRule | None, Switch] = EscapesRule()
    merged: Annotated[MergedRule | None, Switch] = MergedRule()
    missing: Annotated[MissingRule | None, Switch] = MissingRule()
    claims: Annotated[ActionRule | None, Switch] = ActionRule()
    tools: Annotated[ToolsRule | None, Switch] = ToolsRule()
    words: Annotated[WordsRule | None, Switch] = Field(
        None, description="off unless given", examples=[{"file": "words.txt"}]
    )
    action: Literal["drop", "flag"] = Field(
        "drop", description="flag keeps all rows, and says in the tables which fail"
    )

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return the table of what the rules measure."""
        words = read_words(self.words.file) if self.words else []
        if self.language:
            _check_languages(self.language.allowed or [])
        parts = run.map(
            measures.write_measures,
            survivor_parts(data),
            self.language is not None,
            WordList(words),
        )
        return {measures.NAME: concatenated(run, [Table(part, measures.NAME) for part in parts])}

    def section(self, record: StageRecord) -> Section:
        """Return how many rows fail each rule."""
        return rules_section(record, self.action)

    def decide(self, data: StageData) -> StageResult:
        """Judge every row by its measures.

        The evidence has a column for each rule that is on: whether the row fails it; with `language`
        also prompt_language and response_language (null where a text is too short to tell). Table
        counts, a line for each rule: how many rows fail it, and for how many it is the first and so the
        reason. Table details, a line for each rule that a row fails: what gave it away.
        """
        measured = data.prepared[measures.NAME].scan()
        findings = _findings(self, measured.collect_schema().names())
        evidence = self._judge(measured, findings)
        counts = _count(evidence, list(findings))
        return StageResult(evidence, {"counts": counts, "details": _details(measured, findings)})

    def _judge(self, measured: pl.LazyFrame, findings: Mapping[str, Finding]) -> pl.LazyFrame:
        """Return the evidence on measured rows."""
        names = list(findings)
        languages = [f"{side}_language" for side in measures.SIDES] if self.language else []
        judged = measured.select(
            "row_id", *languages, **{name: finding.reason for name, finding in findings.items()}
        )
        failed = [pl.col(name).is_not_null() for name in names]
        score = pl.sum_horizontal(failed) if failed else pl.lit(0)
        reason = pl.coalesce(names) if names else pl.lit(None, dtype=pl.String)
        dropped = reason.is_not_null() & (self.action == "drop")
        return judged.select(
            "row_id",
            keep=~dropped,
            reason=pl.when(dropped).then(reason),
            score=score.cast(pl.Float64),
            threshold=pl.lit(None, dtype=pl.Float64),
            duplicate_of=pl.lit(None, dtype=pl.String),
            **{name: pl.col(name) for name in languages},
            **dict(zip(names, failed, strict=True)),
        )


def _check_languages(codes: list[str]) -> None:
    unknown = unknown_languages(codes)
    if unknown:
        raise UserError(
            f"rules.language.allowed: {', '.join(unknown)}: no language that can be told; "
            "write ISO 639-1 codes, e.g. [en, de, zh]"
        )


def _details(measured: pl.LazyFrame, findings: Mapping[str, Finding]) -> pl.LazyFrame:
    """Return row_id, rule and detail (what gave the row away) of each rule that a row fails."""
    lines = [
        measured.filter(finding.reason.is_not_null()).select(
            "row_id", rule=pl.lit(name), detail=finding.detail
        )
        for name, finding in findings.items()
    ]
    schema = {"row_id": pl.String, "rule": pl.String, "detail": pl.String}
    return pl.concat([pl.LazyFrame(schema=schema), *lines])


def _count(evidence: pl.LazyFrame, names: list[str]) -> pl.DataFrame:
    """Return rule, failed, first and share (of all rows that fail it), in the order of the rules."""
    sums = [pl.len().alias("rows")]
    before = pl.lit(value=False)
    for name in names:
        alone = pl.col(name) & ~before
        sums += [pl.col(name).sum(), alone.sum().alias(f"first {name}")]
        before = before | pl.col(name)
    summed = evidence.select(sums).collect().row(0, named=True)
    most = max(summed["rows"], 1)
    rows = [(n, summed[n], summed[f"first {n}"], summed[n] / most) for n in names]
    schema = {"rule": pl.String, "failed": pl.Int64, "first": pl.Int64, "share": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _findings(params: RulesStage, columns: list[str]) -> dict[str, Finding]:
    """Return what each rule that is on finds, in their order."""
    findings = {
        name: find(getattr(params, name))
        for name, find in RULES.items()
        if getattr(params, name) is not None
    }
    lacking = [
        name
        for name, finding in findings.items()
        if not {*finding.reason.meta.root_names()} <= {*columns}
    ]
    if lacking:
        raise UserError(
            f"rules.{lacking[0]}: was off in the run, so nothing is measured for it; "
            "run the recipe with it"
        )
    return findings
