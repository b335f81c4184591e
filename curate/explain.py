"""Why a row met its fate, in words and from the evidence alone."""

from collections.abc import Sequence

import polars as pl

from curate.errors import UserError
from curate.folder import RunFolder
from curate.reasons import EXPLAINED, Reason

NEAREST = 3
SHOWN_CHARS = 1_000
CLOSE_IDS = 5


def explain_row(run: RunFolder, row_id: str) -> list[str]:
    """Return lines that tell a row's fate, every stage's verdict on it, and its text.

    Raises:
        UserError: the run has no such row.
    """
    found = run.table("ledger").filter(pl.col("row_id") == row_id).collect()
    if not found.height:
        return _explain_reject(run, row_id)
    row = found.row(0, named=True)
    lines = [f"{row_id}  ({row['source']}, {row['origin']})", "", _fate(row)]
    if row["fate"] == "dropped":
        lines += _twin(run, row)
    else:
        lines += _nearest(run, row_id)
    lines += ["", "Stages", *_verdicts(run, row_id)]
    messages = run.messages("pool", row_id)
    lines += ["", "Text", *_text(messages)]
    return lines


def _fate(row: dict[str, object]) -> str:
    reason = EXPLAINED[Reason(str(row["reason"]))]
    if row["fate"] == "selected":
        return f"selected: rank {row['rank']} {reason}{_score(row)}."
    if row["fate"] == "not_selected":
        return f"not selected: rank {row['rank']} {reason}{_score(row)}."
    return f"dropped by the stage {row['stage']}: it {reason}{_score(row)}."


def _score(row: dict[str, object]) -> str:
    if row["score"] is None:
        return ""
    limit = "" if row["threshold"] is None else f", limit {row['threshold']:.4g}"
    return f" (score {row['score']:.4f}{limit})"


def _twin(run: RunFolder, row: dict[str, object]) -> list[str]:
    twin = str(row["twin_id"])
    lines = ["", f"Its twin is {twin}"]
    role = "eval" if str(row["reason"]).startswith("leak") else "pool"
    hits = f"evidence/{row['stage']}-hits"
    if role == "eval" and run.has(hits):
        mine = (pl.col("row_id") == row["row_id"]) & (pl.col("eval_id") == twin)
        span = run.table(hits).filter(mine).select("span").collect()
        lines += [f"  shared words: {span['span'][0]}"] if span.height else []
    return lines + _text(run.messages(role, twin))


def _nearest(run: RunFolder, row_id: str) -> list[str]:
    scores = run.table("evidence/scores")
    target = run.rows("target")
    if target is None or "similarities" not in scores.collect_schema():
        return []
    values = scores.filter(pl.col("row_id") == row_id).select("similarities").collect()
    ids = target.select("row_id").collect()["row_id"].to_list()
    ordered = sorted(zip(values["similarities"][0], ids, strict=True), reverse=True)
    lines = ["", "Nearest target examples (cosine)"]
    for value, target_id in ordered[:NEAREST]:
        lines += [f"  {value:.4f}  {target_id}"]
        lines += [f"    {line}" for line in _text(run.messages("target", target_id))]
    return lines


def _verdicts(run: RunFolder, row_id: str) -> list[str]:
    names = [s["stage"] for s in run.manifest["stages"] if run.has(f"evidence/{s['stage']}")]
    lines = []
    for name in names:
        table = run.table(f"evidence/{name}")
        if "keep" not in table.collect_schema():
            continue
        found = table.filter(pl.col("row_id") == row_id).collect()
        if found.height:
            verdict = found.row(0, named=True)
            word = "kept" if verdict["keep"] else f"dropped ({verdict['reason']})"
            lines.append(f"  {name}: {word}{_score(verdict)}")
    return lines or ["  none ran before the selection"]


def _explain_reject(run: RunFolder, row_id: str) -> list[str]:
    place = pl.format("{}/{}:{}", "source", "file", "position")
    found = run.table("rejects").filter(place == row_id).collect()
    if not found.height:
        raise UserError(_unknown(run, row_id))
    row = found.row(0, named=True)
    reason = EXPLAINED[Reason(row["reason"])]
    return [
        row_id,
        "",
        f"rejected at ingest: the record {reason} ({row['field']}).",
        "",
        "Record",
        f"  {row['raw'][:SHOWN_CHARS]}",
    ]


def _unknown(run: RunFolder, row_id: str) -> str:
    ids = run.table("ledger").select("row_id")
    similar = ids.filter(pl.col("row_id").str.contains(row_id, literal=True)).head(CLOSE_IDS)
    close = similar.collect()["row_id"].to_list() or ids.head(2).collect()["row_id"].to_list()
    return f"{run.path} has no row {row_id!r}; ids look like {', '.join(close)}"


def _text(messages: Sequence[dict[str, str]] | None) -> list[str]:
    if messages is None:
        return ["  (its text is no longer in the store)"]
    lines = []
    for message in messages:
        content = message["content"][:SHOWN_CHARS]
        more = " [...]" if len(message["content"]) > SHOWN_CHARS else ""
        lines.append(f"  [{message['role']}] {content}{more}".replace("\n", "\n      "))
    return lines
