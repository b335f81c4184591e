"""How a method of several hops grew: what each hop kept, how far it drifted, and its trees."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.core.chart import Strip, Strips
from curate.core.escape import shorten
from curate.core.numerals import measure, number, overlap, percent, similarity
from curate.core.runrecord import RunTables
from curate.core.section import (
    Block,
    Branch,
    DataTable,
    Details,
    Figure,
    Heading,
    Inline,
    Quote,
    RowId,
    RowPart,
    Strong,
    Tree,
    note,
    paragraph,
)
from curate.generate.candidates import explain_reject
from curate.generate.outcome import CANDIDATES

SEEDS, NODES = 6, 60
DOTS = 150
NOTE_CHARS = 80
GUIDES = ("operator", "topic", "relation", "attribute", "persona")
FATES: Mapping[str, Inline] = {
    "selected": Strong("selected"),
    "not_selected": "not selected",
    "dropped": "dropped by a stage",
}


@dataclass(frozen=True)
class Hop:
    """A distance from the seeds; `similarities` of kept prompts to their seeds are thinned out."""

    number: int
    candidates: int
    kept: int
    similarities: tuple[float, ...] = ()
    mean: float | None = None


@dataclass(frozen=True)
class Growth:
    """All hops, and the trees of the first of `seeds` seeds; no trees without a table of them."""

    hops: tuple[Hop, ...]
    trees: tuple[Branch, ...] = ()
    seeds: int = 0


@dataclass(frozen=True)
class TreeLine:
    """A line of a tree's table: its number, its row, whether it is kept, else its flaw."""

    at: int
    row_id: str
    kept: bool
    flaw: str | None
    similarity: float | None
    guides: tuple[Quote, ...]


def growth_of(run: RunTables, method: str) -> Growth | None:
    """Return None for a method that goes no further than its first hop and leaves no tree."""
    name = f"generated/{method}-tree"
    if run.has(name):
        return _grown(run, run.table(name).with_row_index("at").collect())
    candidates = run.table(CANDIDATES).filter(method=method).select("hop", "flaw").collect()
    hops = candidates.group_by("hop").agg(pl.len(), pl.col("flaw").null_count()).sort("hop")
    return Growth(tuple(Hop(*line) for line in hops.iter_rows())) if hops.height > 1 else None


def _grown(run: RunTables, tree: pl.DataFrame) -> Growth:
    seeds, grown = tree.filter(hop=0), tree.filter(pl.col("hop") > 0)
    hops = tuple(_hop(n, grown.filter(hop=n)) for n in grown["hop"].unique().sort())
    children: dict[str, list[TreeLine]] = {}
    for line in grown.to_dicts():
        children.setdefault(line["parent"], []).append(_tree_line(line))
    ids = tree["row_id"].unique().implode()
    ledger = run.table("ledger").select("row_id", "fate").filter(pl.col("row_id").is_in(ids))
    descent = Descent(children, dict(ledger.collect().iter_rows()))
    trees = (descent.tree_from(_tree_line(seed)) for seed in seeds.head(SEEDS).to_dicts())
    return Growth(hops, tuple(trees), seeds.height)


def _tree_line(line: dict[str, Any]) -> TreeLine:
    names = ("at", "row_id", "kept", "flaw", "similarity")
    return TreeLine(guides=guides_of(line), **{name: line[name] for name in names})


def _hop(at: int, candidates: pl.DataFrame) -> Hop:
    kept = candidates.filter(pl.col("kept"))
    values = kept["similarity"].drop_nulls().sort()
    mean = values.mean()
    return Hop(
        number=at,
        candidates=candidates.height,
        kept=kept.height,
        similarities=tuple(_thin(values.to_list())),
        mean=float(mean) if isinstance(mean, float) else None,
    )


def _thin(ordered: Sequence[float]) -> Iterable[float]:
    """Return at most DOTS of the values, at even ranks."""
    if len(ordered) <= DOTS:
        return ordered
    return (ordered[i * (len(ordered) - 1) // (DOTS - 1)] for i in range(DOTS))


@dataclass(frozen=True)
class Descent:
    """What grew from each row, and the fate of each row in the run."""

    children: Mapping[str, Sequence[TreeLine]]
    fates: Mapping[str, str]

    def children_of(self, line: TreeLine) -> Sequence[TreeLine]:
        """Return the children of a line; a candidate that was made twice has them where it is kept."""
        return self.children.get(line.row_id, ()) if line.kept else ()

    def descendants(self, seed: TreeLine) -> list[TreeLine]:
        """Return all that grew from a seed, the nearest to it first."""
        lines: list[TreeLine] = []
        waiting = deque([seed])
        while waiting:
            below = self.children_of(waiting.popleft())
            lines += below
            waiting += below
        return lines

    def tree_from(self, seed: TreeLine) -> Branch:
        """Return a seed with the first NODES of what grew from it."""
        lines = self.descendants(seed)
        facts = f"{number(len(lines))} made, {number(sum(line.kept for line in lines))} kept"
        return self._branch(seed, frozenset(line.at for line in lines[:NODES]), (facts,))

    def _branch(self, line: TreeLine, drawn: frozenset[int], facts: tuple[Inline, ...]) -> Branch:
        below = self.children_of(line)
        return Branch(
            separated(line.guides) or (RowId(line.row_id),),
            facts,
            RowPart(line.row_id, ""),
            tuple(self._branch(b, drawn, self._facts(b)) for b in below if b.at in drawn),
            len(below),
            faded=not line.kept,
        )

    def _facts(self, line: TreeLine) -> tuple[Inline, ...]:
        below = len(self.children_of(line))
        return (
            "" if line.similarity is None else f"{overlap(line.similarity)} ",
            FATES.get(self.fates.get(line.row_id, ""), "")
            if line.kept
            else explain_reject(line.flaw or ""),
            f", {number(below)} below" if below else "",
        )


def hop_table(growth: Growth | None) -> tuple[Block, ...]:
    """Return a table of the hops; nothing for a method without."""
    if growth is None:
        return ()
    drifts = any(hop.mean is not None for hop in growth.hops)
    columns = ("Hop", "#Made", "#Kept", "#Yield", *["#Mean similarity to the seed"] * drifts)
    lines = tuple(
        (
            str(hop.number), number(hop.candidates), number(hop.kept),
            percent(hop.kept / hop.candidates), *[measure(hop.mean)] * drifts,
        )
        for hop in growth.hops
    )  # fmt: skip
    return Heading("Hop by hop"), DataTable(columns, lines)


def drift(growth: Growth | None) -> tuple[Block, ...]:
    """Return a chart of how similar kept prompts are to their seeds; nothing where none has a seed."""
    hops = [hop for hop in growth.hops if hop.mean is not None] if growth else []
    if not hops:
        return ()
    strips = tuple(Strip(f"Hop {hop.number}", hop.similarities, hop.mean) for hop in hops)
    means = "; ".join(f"hop {hop.number} {similarity(hop.mean)} on average" for hop in hops)
    words = f"Similarity of kept prompts to their seeds: {means}."
    caption = paragraph(
        "a kept prompt: the cosine of its embedding to that of the target example it grew from. What "
        "falls from hop to hop drifts away."
    )
    keys = (("accent", "mean"), ("control", ""))
    return (Figure(Strips(strips, "similarity", words, zero=True), caption, keys=keys),)


def tree_details(growth: Growth, method: str) -> Details:
    """Return the trees behind a word."""
    count = len(growth.trees)
    seeds = (
        f"{count} of {number(growth.seeds)} seeds"
        if growth.seeds > count
        else f"{number(count)} seeds"
        if count > 1
        else "one seed"
    )
    words = (
        "Below each seed what was made of it, with the operator and what guided it, the cosine to the "
        f"seed and what became of it. generated/{method}-tree.parquet has it all."
    )
    tree = Tree(growth.trees, growth.seeds)
    return Details(f"How it grew, from {seeds}", (note(words), tree))


def guides_of(notes: Mapping[str, object]) -> tuple[Quote, ...]:
    """Return what guided the making of a candidate, short, the operator first."""
    words = [str(notes[name]).replace("_", " ") for name in GUIDES if notes.get(name)]
    return tuple(Quote(shorten(text, NOTE_CHARS), strong=not at) for at, text in enumerate(words))


def separated(parts: Sequence[Inline]) -> tuple[Inline, ...]:
    """Return parts with a dot between them."""
    return tuple(one for part in parts for one in (" · ", part))[1:]
