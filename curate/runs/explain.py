"""Why a row met its fate, in words and from the evidence alone."""

from collections.abc import Sequence

import polars as pl

from curate.core.errors import UserError
from curate.core.reasons import EXPLAINED, Reason
from curate.core.rows import Message, prompt_text, turn_text
from curate.core.stage import EVAL_SETS
from curate.models.imitations import imitation_sentences
from curate.models.scripts import script_sentences
from curate.runs.folder import RunFolder
from curate.runs.lineage import explain_candidate, lineage_lines
from curate.runs.rehearsed import explain_prior
from curate.runs.rowfacts import (
    NEAREST,
    compared_fates,
    fate_sentence,
    leaked_words,
    nearest_examples,
    stage_verdicts,
)
from curate.selectors.compared import candidate_names
from curate.text.words import find_words

# Of rows that went for these, `duplicate_of` is the row that a stage made of them.
REPLACED = (
    Reason.SYSTEM_MERGED,
    Reason.CORRECTED,
    Reason.MASKED,
    Reason.REHEARSED,
    Reason.RELABELLED,
    Reason.CORRECTED_BY_HAND,
)
EXCERPT_CHARS = 1_000
EXAMPLES = {
    "target": "an example of the target",
    "eval": "an example of the eval set, which only the leak check and the proof read",
    "protected": "an example of a protected set, which only the leak check reads",
    "watch": "an example of a watch set, which only the leak check and the proof read",
}
AROUND_CHARS = 200
CLOSE_IDS = 5


def explain_row(run: RunFolder, row_id: str) -> list[str]:
    """Return lines that tell a row's fate, every stage's verdict on it, and its text.

    Raises:
        UserError: the run has no such row.
    """
    ledger_rows = run.table("ledger").filter(pl.col("row_id") == row_id).collect()
    if not ledger_rows.height:
        return (
            explain_candidate(run, row_id)
            or explain_prior(run, row_id)
            or _explain_example(run, row_id)
            or _explain_reject(run, row_id)
        )
    row = ledger_rows.row(0, named=True)
    lines = [f"{row_id}  ({row['source']}, {row['origin']})", "", fate_sentence(run, row)]
    if row["fate"] == "dropped":
        lines += _duplicate(run, row) if row["duplicate_of"] else []
    else:
        lines += _nearest(run, row_id)
        lines += _elsewhere(run, row_id)
        lines += _raced(run)
    lines += lineage_lines(run, row_id)
    lines += _imitations(run, row_id)
    lines += _script(run, row_id)
    lines += ["", "Stages", *_verdicts(run, row_id)]
    messages = run.messages("pool", row_id)
    lines += ["", f"Text{_size(messages)}", *_text(messages)]
    rejected = run.rejected(row_id)
    if rejected.turns:
        lines += ["", rejected.title, *_text(rejected.turns)]
    return lines


def _size(messages: Sequence[Message] | None) -> str:
    """Return how long a conversation is, as a plan's filter knows it."""
    if messages is None:
        return ""
    characters = sum(len(message["content"]) for message in messages)
    return f" ({len(messages)} turns, {characters:,} characters)"


def _imitations(run: RunFolder, row_id: str) -> list[str]:
    if not run.has("evidence/imitations"):
        return []
    own = run.table("evidence/imitations").filter(pl.col("row_id") == row_id).collect()
    return ["", *imitation_sentences(own)] if own.height else []


def _script(run: RunFolder, row_id: str) -> list[str]:
    if not run.has("evidence/scripts"):
        return []
    own = run.table("evidence/scripts").filter(pl.col("row_id") == row_id).collect()
    return ["", *script_sentences(own)] if own.height else []


def _scored(score: float | None) -> str:
    return "" if score is None else f" (score {score:.4g})"


def _duplicate(run: RunFolder, row: dict[str, object]) -> list[str]:
    """Return the row that a dropped one duplicates, or the eval example whose prompt it holds."""
    duplicate_of = str(row["duplicate_of"])
    leaks = str(row["reason"]).startswith("leak")
    relation = "Holds the prompt of" if leaks else "Duplicate of"
    lines = ["", f"{'Replaced by' if row['reason'] in REPLACED else relation} {duplicate_of}"]
    if row["reason"] == Reason.CORRECTED:
        lines += _comparison(run, row)
    if not leaks:
        return lines + _text(run.messages("pool", duplicate_of))
    example = next(filter(None, (run.messages(role, duplicate_of) for role in EVAL_SETS)), None)
    span = leaked_words(run, row)
    if not span:
        return lines + _text(example)
    lines += [f"  shared words: {_middle_cut(span)}", ""]
    lines += _where_held(run, str(row["row_id"]), span)
    return [*lines, "", "Where the eval example holds them", *_around(example, span)]


def _where_held(run: RunFolder, row_id: str, span: str) -> list[str]:
    """Return where a row holds shared words, in its rejected answer if nowhere else."""
    messages, rejected = run.messages("pool", row_id), run.rejected(row_id).turns
    if not _holds(messages, span) and _holds(rejected, span):
        return ["Where its rejected answer holds them", *_around(rejected, span)]
    return ["Where the row holds them", *_around(messages, span)]


def _holds(messages: Sequence[Message] | None, span: str) -> bool:
    texts = [turn_text(message) for message in messages or ()]
    return any(find_words(text, span) for text in [*texts, prompt_text(messages or ())])


def _comparison(run: RunFolder, row: dict[str, object]) -> list[str]:
    """Return how sure the comparison was that the new response is better."""
    table = run.table(f"evidence/{row['stage']}").filter(pl.col("row_id") == row["row_id"])
    confidence = table.select("confidence").collect()["confidence"]
    return [f"  judged better, asked in both orders, with confidence {confidence[0]:.4g}"]


def _around(messages: Sequence[Message] | None, span: str) -> list[str]:
    """Return what is around a run of words in the first turn that holds it, the run in brackets."""
    if messages is None:
        return _text(messages)
    # A run may go on from one user turn to the next.
    prompt = Message(role="user", content=prompt_text(messages))
    for message in [*messages, prompt]:
        content = message["content"]
        place = find_words(content, span)
        if place is not None:
            start, stop = place
            before = content[max(start - AROUND_CHARS, 0) : start]
            after = content[stop : stop + AROUND_CHARS]
            cut = "[...] " if start > AROUND_CHARS else ""
            more = " [...]" if len(content) > stop + AROUND_CHARS else ""
            excerpt = f"{cut}{before}[[{_middle_cut(content[start:stop])}]]{after}{more}"
            return [_indent(message["role"], excerpt)]
    return _text(messages)


def _middle_cut(text: str) -> str:
    half = EXCERPT_CHARS // 2
    return text if len(text) <= EXCERPT_CHARS else f"{text[:half]} [...] {text[-half:]}"


def _nearest(run: RunFolder, row_id: str) -> list[str]:
    nearest = nearest_examples(run, row_id)
    lines = ["", f"Nearest target examples (by {run.own_select['method']})"] if nearest else []
    for one in nearest:
        lines += [f"  {one.similarity:.4f}  {one.row_id}"]
        lines += [f"    {line}" for line in _text(run.messages("target", one.row_id))]
    return lines


def _elsewhere(run: RunFolder, row_id: str) -> list[str]:
    """Return what the methods that the run compares with its own would have done with a row."""
    lines = [
        f"  {one.name}: {one.fate}, rank {one.rank:,} {one.reason}{_scored(one.score)}"
        for one in compared_fates(run, row_id)
    ]
    raced = "raced and " if run.config.race is not None else ""
    title = f"By the {raced}compared methods"
    return ["", title, *lines] if lines else []


def _verdicts(run: RunFolder, row_id: str) -> list[str]:
    lines = []
    for one in stage_verdicts(run, row_id):
        lines.append(
            f"  {one.stage}: {one.word}{': ' if one.detail else ''}{one.detail or one.score}"
        )
        lines += [f"    {line}" for line in one.differing]
    return lines or ["  none ran before the selection"]


def _raced(run: RunFolder) -> list[str]:
    """Return which method won the race that the recipe asked for."""
    race = run.config.race
    if race is None:
        return []
    names = ", ".join(candidate_names(race))
    return ["", f"Selected by {run.manifest['race']['winner']}, which won the race of {names}"]


def _explain_example(run: RunFolder, row_id: str) -> list[str]:
    """Return what a target, eval or protected example is to the run's rows; nothing for other ids."""
    role = next((role for role in EXAMPLES if run.messages(role, row_id)), None)
    if role is None:
        return []
    lines = [row_id, "", f"{EXAMPLES[role]}; such rows are never selected."]
    leaks = run.table("ledger").filter(fate="dropped", duplicate_of=row_id).head(NEAREST).collect()
    if leaks.height:
        lines += ["", "Rows dropped because they hold it", *(f"  {i}" for i in leaks["row_id"])]
    nearest = run.table("evidence/select").filter(nearest_id=row_id).sort("rank")
    if (rows := nearest.head(NEAREST).collect()).height:
        lines += ["", "Best-ranked rows that are nearest to it"]
        lines += [f"  {i}, rank {rank}" for i, rank in rows.select("row_id", "rank").iter_rows()]
    return [*lines, "", "Text", *_text(run.messages(role, row_id))]


def _explain_reject(run: RunFolder, row_id: str) -> list[str]:
    place = pl.format("{}/{}:{}", "source", "file", "position")
    records = run.table("rejects").filter(place == row_id).collect()
    if not records.height:
        raise UserError(_unknown(run, row_id))
    row = records.row(0, named=True)
    reason = EXPLAINED[Reason(row["reason"])]
    return [
        row_id,
        "",
        f"rejected at ingest: the record {reason} ({row['field']}).",
        "",
        "Record",
        f"  {row['raw'][:EXCERPT_CHARS]}",
    ]


def _unknown(run: RunFolder, row_id: str) -> str:
    ids = run.table("ledger").select("row_id")
    similar = ids.filter(pl.col("row_id").str.contains(row_id, literal=True)).head(CLOSE_IDS)
    close = similar.collect()["row_id"].to_list() or ids.head(2).collect()["row_id"].to_list()
    return f"{run.path} has no row {row_id!r}; ids look like {', '.join(close)}"


def _text(messages: Sequence[Message] | None) -> list[str]:
    if messages is None:
        return ["  (its text is no longer in the store)"]
    lines = []
    for message in messages:
        text = turn_text(message)
        more = " [...]" if len(text) > EXCERPT_CHARS else ""
        lines.append(_indent(message["role"], f"{text[:EXCERPT_CHARS]}{more}"))
    return lines


def _indent(role: str, text: str) -> str:
    return f"  [{role}] {text}".replace("\n", "\n      ")
