"""What tuning taught: texts of the tuned model that the base would not write, and rows by their gain."""

from dataclasses import dataclass

import polars as pl

from curate.core.rows import Message
from curate.report.examples import RowView, read_rows, show_example
from curate.report.texts import RowText, show_row
from curate.runs.folder import RunFolder

TEXTS, ROWS = "evidence/novelty-texts", "evidence/novelty-rows"
MOST_ROWS = 5


@dataclass(frozen=True)
class NoveltyText:
    """A text of contrastive generation and the prompt it follows, if any; gain in nats a token."""

    target_id: str | None
    text: RowText
    gain: float | None
    ended: bool


@dataclass(frozen=True)
class RowGain:
    """A selected row's gain: the loss of its response before and after tuning, in nats a token."""

    row: RowView
    base: float
    tuned: float


@dataclass(frozen=True)
class NoveltyView:
    """Novelty of tuning: texts as they were drawn, and rows of most and least gain, of `count`."""

    texts: tuple[NoveltyText, ...]
    most: tuple[RowGain, ...]
    least: tuple[RowGain, ...]
    count: int
    gain: float
    worse: int
    iterative: bool


def gather_taught(run: RunFolder) -> NoveltyView | None:
    """Return what tuning on the selection taught, None where nobody asked."""
    if not run.has(TEXTS):
        return None
    texts = run.table(TEXTS).collect()
    gains = run.table(ROWS).drop_nulls("gain").sort("gain", "row_id", descending=[True, False])
    rows = gains.collect()
    ends = pl.concat(
        [rows.head(MOST_ROWS), rows.tail(max(min(MOST_ROWS, rows.height - MOST_ROWS), 0))]
    )
    targets = {name for name in texts["target_id"] if name is not None}
    rows_by_id = read_rows(run, {*ends["row_id"], *targets})

    def row_gains(part: pl.DataFrame) -> tuple[RowGain, ...]:
        lines = part.select("row_id", "base_loss", "tuned_loss").iter_rows()
        return tuple(RowGain(show_example(i, rows_by_id, {}, None), b, t) for i, b, t in lines)

    def text(line: dict[str, object]) -> NoveltyText:
        target = line["target_id"]
        prompt = run.messages("target", str(target)) if target is not None else None
        turns: list[Message] = [*(prompt or [])[:-1]] or [{"role": "user", "content": ""}]
        row_text = show_row([*turns, {"role": "assistant", "content": str(line["text"])}])
        name = None if target is None else str(target)
        return NoveltyText(name, row_text, line["gain"], bool(line["ended"]))  # type: ignore[arg-type]

    return NoveltyView(
        texts=tuple(text(line) for line in texts.to_dicts()),
        most=row_gains(ends.head(MOST_ROWS)),
        least=row_gains(ends[MOST_ROWS:].reverse()),
        count=rows.height,
        gain=float(rows["gain"].mean() or 0.0),  # type: ignore[arg-type]
        worse=rows.filter(pl.col("gain") <= 0).height,
        iterative=bool(run.manifest["config"]["prove"]["novelty"]["iterative"]),
    )
