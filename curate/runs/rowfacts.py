"""What the evidence of a run says of one row: fate, verdicts, nearness, other methods' rankings."""

from dataclasses import dataclass

import polars as pl

from curate.clean.differing import differing_pairs
from curate.clean.guards import guard_label
from curate.core.numerals import fraction, similarity
from curate.core.pins import OVERRIDDEN, PINNED
from curate.core.reasons import Reason, explain_reason
from curate.runs.folder import RunFolder
from curate.runs.plan import StoredSelection, stored_selections
from curate.selectors.scored import why_unscored

NEAREST = 3


@dataclass(frozen=True)
class StageVerdict:
    """What a stage said of a row, with its score and what it saw; `differing` are rows like it.

    overridden: the reason for which it would drop a row that is marked by hand to keep. pinned: it keeps
    the row for all later stages.
    """

    stage: str
    keep: bool
    reason: str | None
    score: str
    detail: str
    differing: tuple[str, ...]
    overridden: str | None = None
    pinned: bool = False

    @property
    def word(self) -> str:
        """Return the verdict: kept, why in spite of the stage, or dropped."""
        if not self.keep:
            return f"dropped ({self.reason})"
        if self.overridden is not None:
            return f"kept, as it is marked by hand; the stage would drop it ({self.overridden})"
        return "kept, for all later stages" if self.pinned else "kept"


@dataclass(frozen=True)
class NearTarget:
    """A target example, and how similar a row is to it by the selection's method."""

    row_id: str
    similarity: float


@dataclass(frozen=True)
class ComparedFate:
    """What another method than the run's own would have done with a row; the reason is in words."""

    name: str
    fate: str
    rank: int
    reason: str
    score: float | None


def fate_sentence(run: RunFolder, row: dict[str, object]) -> str:
    """Return what became of a row of the ledger, and why."""
    reason = explain_reason(str(row["reason"]))
    if row["reason"] == Reason.KEPT:
        return f"selected: it {reason}."
    if row["fate"] == "selected":
        return f"selected: rank {row['rank']} {reason}{_score(row)}."
    if row["reason"] == Reason.UNSCORED:
        own = stored_selections(run)[0]
        return (
            f"not selected: it {reason} by {own.label}: {_why_unscored(run, own, row['row_id'])}."
        )
    if row["fate"] == "not_selected":
        return f"not selected: rank {row['rank']} {reason}{_score(row)}."
    if str(row["stage"]).startswith("confidence"):
        reason = _least_likely(run, str(row["stage"])) or reason
    details = _details(run, str(row["stage"]), str(row["row_id"]))
    score = f" ({details})" if details else _score(row)
    return f"dropped by the stage {row['stage']}: it {reason}{score}."


def _why_unscored(run: RunFolder, selection: StoredSelection, row_id: object) -> str:
    """Return why a method has no score for a row."""
    scores = run.table(selection.scores).filter(pl.col("row_id") == row_id).collect()
    return str(why_unscored(scores, selection.params)[0])


def _least_likely(run: RunFolder, stage: str) -> str | None:
    """Return the reason of a low score: the share of the scored rows that are below the limit."""
    scored = run.table(f"evidence/{stage}").filter(pl.col("score").is_not_null())
    low = pl.col("score") < pl.col("threshold")
    share = scored.select(low.mean()).collect().item()
    return None if share is None else f"has a response among the least likely {fraction(share)}"


def _details(run: RunFolder, stage: str, row_id: str) -> str:
    """Return what a stage saw in a row, as its table of details has it; nothing if it has none."""
    name = f"evidence/{stage}-details"
    if not run.has(name):
        return ""
    details = run.table(name).filter(pl.col("row_id") == row_id).select("detail").collect()
    return "; ".join(details["detail"].drop_nulls())


def _score(row: dict[str, object]) -> str:
    if row["score"] is None:
        return ""
    limit = "" if row["threshold"] is None else f", limit {row['threshold']:.4g}"
    return f" (score {row['score']:.4f}{limit})"


def leaked_words(run: RunFolder, row: dict[str, object]) -> str | None:
    """Return the words that a dropped row shares with the eval example that it leaks."""
    hits = f"evidence/{row['stage']}-hits"
    if not run.has(hits):
        return None
    same_pair = (pl.col("row_id") == row["row_id"]) & (pl.col("eval_id") == row["duplicate_of"])
    spans = run.table(hits).filter(same_pair).select("span").collect()["span"]
    return str(spans[0]) if len(spans) else None


def nearest_examples(run: RunFolder, row_id: str, most: int = NEAREST) -> list[NearTarget]:
    """Return the target examples that a row is most similar to, where the method compares them."""
    if not run.has("evidence/scores"):
        return []
    scores = run.table("evidence/scores")
    target = run.rows("target")
    if target is None or "similarities" not in scores.collect_schema():
        return []
    values = scores.filter(pl.col("row_id") == row_id).select("similarities").collect()
    if not values.height or values["similarities"][0] is None:
        return []
    ids = target.select("row_id").collect()["row_id"].to_list()
    ordered = sorted(zip(values["similarities"][0], ids, strict=True), reverse=True)
    return [NearTarget(target_id, value) for value, target_id in ordered[:most]]


def compared_fates(run: RunFolder, row_id: str) -> list[ComparedFate]:
    """Return what the methods that the run compares with its own would have done with a row."""
    fates = []
    for selection in stored_selections(run)[1:]:
        ranking_rows = run.table(selection.ranking).filter(pl.col("row_id") == row_id).collect()
        for line in ranking_rows.to_dicts():
            fate = "selected" if line["selected"] else "not selected"
            reason = explain_reason(line["reason"])
            if line["reason"] == Reason.UNSCORED:
                reason += f" ({_why_unscored(run, selection, row_id)})"
            fates.append(ComparedFate(selection.name, fate, line["rank"], reason, line["score"]))
    return fates


def stage_verdicts(run: RunFolder, row_id: str) -> list[StageVerdict]:
    """Return what each stage that judged a row said of it, in the order of the stages."""
    names = [s["stage"] for s in run.manifest["stages"] if run.has(f"evidence/{s['stage']}")]
    verdicts = []
    for name in names:
        table = run.table(f"evidence/{name}")
        if "keep" not in table.collect_schema():
            continue
        for line in table.filter(pl.col("row_id") == row_id).collect().to_dicts():
            detail, similar = _details(run, name, row_id), _differing(run, name, row_id)
            hand = line.get(OVERRIDDEN), bool(line.get(PINNED))
            own = line["keep"], line["reason"], _score(line)
            verdicts.append(StageVerdict(name, *own, detail, similar, *hand))
    return verdicts


def _differing(run: RunFolder, stage: str, row_id: str) -> tuple[str, ...]:
    """Return the kept rows that are similar to a kept row but differ in what tells rows apart."""
    pairs = differing_pairs(run, stage)
    if pairs is None:
        return ()
    own = (pl.col("row_id") == row_id) | (pl.col("other_id") == row_id)
    other = pl.when(pl.col("row_id") == row_id).then("other_id").otherwise("row_id")
    near = pairs.filter(own).select(other.alias("other"), "similarity", "differs").head(NEAREST)
    return tuple(
        f"similar to {name} ({similarity(value)}), but the {guard_label(differs)} differ"
        f"{'s' if differs == 'system' else ''}"
        for name, value, differs in near.collect().iter_rows()
    )
