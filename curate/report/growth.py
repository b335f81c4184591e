"""How a method of several hops grew: what each hop kept, how far it drifted, and the tree itself."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from curate.generate.outcome import CANDIDATES
from curate.report.examples import read_rows
from curate.report.wording import shorten
from curate.runs.folder import RunFolder

SEEDS, NODES = 6, 60
DOTS = 150
TEXT_CHARS = 180
NOTE_CHARS = 80
GUIDES = ("operator", "topic", "relation", "attribute", "persona")


@dataclass(frozen=True)
class Hop:
    """A distance from the seeds; `similarities` of kept prompts to their seeds are thinned out."""

    number: int
    candidates: int
    kept: int
    similarities: tuple[float, ...]
    mean: float | None


@dataclass
class TreeNode:
    """A node of the generation tree: a seed or a candidate, and the first of its `size` children.

    `fate` is that of the ledger, or "flawed" with the `reason`; None for seeds.
    """

    row_id: str
    guides: tuple[str, ...] = ()
    similarity: float | None = None
    fate: str | None = None
    reason: str | None = None
    text: str | None = None
    size: int = 0
    below: int = 0
    kept: int = 0
    children: list["TreeNode"] = field(default_factory=list)


@dataclass(frozen=True)
class Growth:
    """All hops, and the trees of the first of `seeds` seeds; no trees without a table of them."""

    hops: tuple[Hop, ...]
    trees: tuple[TreeNode, ...]
    seeds: int

    @property
    def drifts(self) -> bool:
        """Return whether any kept prompt has a similarity to its seed."""
        return any(hop.mean is not None for hop in self.hops)


def gather_growth(run: RunFolder, method: str) -> Growth | None:
    """Return None for a method that goes no further than its first hop and leaves no tree."""
    name = f"generated/{method}-tree"
    if run.has(name):
        tree = run.table(name).collect()
        grown = tree.filter(pl.col("hop") > 0)
        hops = tuple(_hop(n, grown.filter(hop=n)) for n in grown["hop"].unique().sort())
        return Growth(hops, tuple(_trees(run, tree)), tree.filter(hop=0).height)
    candidates = run.table(CANDIDATES).filter(method=method).select("hop", "flaw").collect()
    numbers = candidates["hop"].unique().sort()
    if len(numbers) < 2:
        return None
    counted = [(n, candidates.filter(hop=n)["flaw"]) for n in numbers]
    return Growth(tuple(Hop(n, len(f), f.null_count(), (), None) for n, f in counted), (), 0)


def _hop(number: int, candidates: pl.DataFrame) -> Hop:
    kept = candidates.filter(pl.col("kept"))
    values = kept["similarity"].drop_nulls().sort()
    mean = values.mean()
    return Hop(
        number=number,
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


def _trees(run: RunFolder, tree: pl.DataFrame) -> Iterator[TreeNode]:
    lines = tree.to_dicts()
    children: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line["parent"] is not None:
            children.setdefault(line["parent"], []).append(line)
    ledger = run.table("ledger").select("row_id", "fate").filter(
        pl.col("row_id").is_in(tree["row_id"].unique().implode())
    )  # fmt: skip
    fates = dict(ledger.collect().iter_rows())
    trees = [_grow(line, children, fates) for line in lines if line["hop"] == 0][:SEEDS]
    texts = _texts(run, [node.row_id for node in _walk(trees)])
    for node in _walk(trees):
        text = texts.get(node.row_id)
        node.text = shorten(text, TEXT_CHARS) if text is not None else None
    yield from trees


def _grow(
    seed: Mapping[str, Any], children: Mapping[str, Sequence[Mapping[str, Any]]],
    fates: Mapping[str, str],
) -> TreeNode:  # fmt: skip
    """Return a seed with the first NODES of what grew from it, the nearest to the seed first."""
    root = TreeNode(seed["row_id"])
    left, waiting = NODES, deque([root])
    while waiting:
        node = waiting.popleft()
        lines = children.get(node.row_id, ())
        node.size = len(lines)
        root.below += len(lines)
        root.kept += sum(line["kept"] for line in lines)
        for line in lines:
            grown = _node(line, fates)
            if left:
                node.children.append(grown)
                left -= 1
            # A candidate that was made twice is kept once, and has its children there.
            if line["kept"]:
                waiting.append(grown)
    return root


def _node(line: Mapping[str, Any], fates: Mapping[str, str]) -> TreeNode:
    return TreeNode(
        row_id=line["row_id"],
        guides=guides_of(line),
        similarity=line["similarity"],
        fate=fates.get(line["row_id"]) if line["kept"] else "flawed",
        reason=line["flaw"],
    )


def guides_of(notes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what guided the making of a candidate, short, the operator first."""
    guides = (notes.get(name) for name in GUIDES)
    return tuple(shorten(str(value).replace("_", " "), NOTE_CHARS) for value in guides if value)


def _walk(nodes: Iterable[TreeNode]) -> Iterator[TreeNode]:
    for node in nodes:
        yield node
        yield from _walk(node.children)


def _texts(run: RunFolder, ids: Sequence[str]) -> dict[str, str]:
    """Return the prompts of candidates and of seeds that the store still has."""
    is_listed = pl.col("row_id").is_in(sorted(set(ids)))
    prompts = run.table(CANDIDATES).filter(is_listed).select("row_id", "prompt").collect()
    seeds = {
        row_id: next((m["content"] for m in row["messages"] if m["role"] == "user"), "")
        for row_id, (_, row) in read_rows(run, ids).items()
    }
    return seeds | dict(prompts.iter_rows())
