"""The order in parts: how near each comes to the target, and what a model trained on it reaches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import orjson

from curate.core.chart import Dumbbell, Dumbbells, Strip, Strips
from curate.core.numerals import measure, number, percent, similarity
from curate.core.section import (
    Block,
    Cell,
    Code,
    Columns,
    DataTable,
    Figure,
    Inline,
    Lines,
    Quiet,
    Quote,
    Section,
    Strong,
    note,
    paragraph,
)
from curate.proof.described import PartValues, QuantileValues
from curate.proof.metrics import METRICS
from curate.runs.folder import RunFolder, inside

TABLE = "evidence/quantiles"
ANCHOR, TITLE = "quantiles", "The order in parts"


@dataclass(frozen=True)
class OrderPart:
    """A part of the order: its ranks, what it is near to (None without a target), what it trains.

    trained: of each fine-tune; none where no part was trained on. tokens: of a row, on average.
    """

    part: int
    first_rank: int
    last_rank: int
    tokens: float | None
    similarity: float | None = None
    coverage: float | None = None
    near: int | None = None
    targets: int = 0
    trained: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Return the name of its line."""
        return f"part {self.part}"

    @property
    def near_share(self) -> float | None:
        """Return the share of the target examples that it comes near to; None without a limit."""
        return None if self.near is None else self.near / self.targets

    @property
    def mean(self) -> float:
        """Return what its fine-tunes reach on average."""
        return sum(self.trained) / len(self.trained)


def quantiles_section(run: RunFolder, embedder: str) -> Section | None:
    """Return what the report says of the parts of the order; None where neither half is there.

    Args:
        run: the finished run.
        embedder: the model by whose embeddings nearness is measured.
    """
    proof = _read_proof(run)
    parts = _parts(run, proof)
    blocks: list[Block] = []
    if proof:
        blocks.append(paragraph(Strong(proof["sentence"])))
    if not parts:
        return Section(ANCHOR, TITLE, tuple(blocks)) if blocks else None
    figures = [_near_figure(parts), _trained_figure(parts, proof)]
    columns: list[tuple[Block, ...]] = [(figure,) for figure in figures if figure]
    texts = tuple(_texts(parts, proof, embedder))
    # The texts stand beside a figure that is alone.
    beside, below = ((texts,), ()) if len(columns) == 1 else ((), texts)
    blocks += [Columns((*columns, *beside)), *below, _table(parts, proof)]
    return Section(ANCHOR, TITLE, tuple(blocks))


def _read_proof(run: RunFolder) -> QuantileValues | None:
    """Return what proof.json says of the parts; None where no fine-tune of them was asked for."""
    path = inside(run.path, "proof.json")
    if not path.is_file():
        return None
    quantiles: QuantileValues | None = orjson.loads(path.read_bytes()).get("quantiles")
    return quantiles


def _parts(run: RunFolder, proof: QuantileValues | None) -> list[OrderPart]:
    trained = {line["part"]: line for line in proof["parts"]} if proof else {}
    columns = [
        "part",
        "first_rank",
        "last_rank",
        "tokens",
        "similarity",
        "coverage",
        "near",
        "targets",
    ]
    measured = {}
    if run.has(TABLE):
        lines = run.table(TABLE).select(columns).collect().rows()
        measured = {part: OrderPart(part, *line) for part, *line in lines}
    return [_part(measured.get(part), trained.get(part)) for part in sorted({*measured, *trained})]


def _part(measured: OrderPart | None, trained: PartValues | None) -> OrderPart:
    """Return a part from what is near to it, or from what it trains, or both."""
    if trained is None:
        assert measured is not None
        return measured
    reached = tuple(trained.get("by_seed", ()))
    if measured is not None:
        return replace(measured, trained=reached)
    tokens = trained["tokens"] / trained["rows"] if trained["tokens"] and trained["rows"] else None
    first, last = trained["first_rank"], trained["last_rank"]
    return OrderPart(trained["part"], first, last, tokens, trained=reached)


def _near_figure(parts: Sequence[OrderPart]) -> Figure | None:
    pairs = tuple(
        Dumbbell(part.name, part.similarity, part.coverage)
        for part in parts
        if part.similarity is not None and part.coverage is not None
    )
    if not pairs:
        return None
    described = "; ".join(
        f"{pair.name} {similarity(pair.all_rows)} and {similarity(pair.selected)}" for pair in pairs
    )
    words = (
        f"Similarity of a part's rows to the target, and of the target to the part: {described}."
    )
    keys = (
        ("control", "its rows to the nearest target example, on average"),
        ("accent", "target examples to its nearest row"),
    )
    chart = Dumbbells(pairs, words, "similarity")
    return Figure(chart, paragraph(""), title="How near each part is to the target", keys=keys)


def _trained_figure(parts: Sequence[OrderPart], proof: QuantileValues | None) -> Figure | None:
    strips = tuple(Strip(part.name, part.trained, part.mean) for part in parts if part.trained)
    if not strips or proof is None:
        return None
    metric = METRICS[proof["metric"]]
    means = "; ".join(f"{strip.name} {measure(strip.mean)}" for strip in strips)
    words = f"{metric.label} of models trained on each part: {means}."
    keys = (("control", "a fine-tune"), ("accent", "their mean"))
    caption = paragraph(f"; dashed: the untuned model. {metric.label.capitalize()}, {metric.unit}.")
    chart = Strips(strips, metric.label, words, limit=proof["base"])
    return Figure(chart, caption, title="What a model trained on each part reaches", keys=keys)


def _texts(
    parts: Sequence[OrderPart], proof: QuantileValues | None, embedder: str
) -> Iterator[Block]:
    """Yield what the parts are, and what their figures rest on."""
    first, last = parts[0], parts[-1]
    cut: list[Inline] = [
        f"All rows that have a score, in the order of the method, cut into {len(parts)} equal parts, "
        "the best-ranked first. "
    ]
    if first.similarity is not None:
        cut += [
            f"A row of the first part has a similarity of {similarity(first.similarity)} to the target "
            f"example nearest to it, on average, one of the last {similarity(last.similarity)}: the "
            "cosine of their ",
            Quote(embedder),
            " embeddings, one yardstick whatever the method ranks by.",
        ]
    yield paragraph(*cut)
    if not proof:
        yield note(
            "This does not say whether nearer rows train a better model: ",
            Code("prove: {quantiles: 5}"),
            " trains on each part.",
        )
    elif first.trained:
        yield note(
            f"Each part was trained on as often and by the same seeds, on {number(proof['rows'])} rows "
            "of it drawn at random, at the same places of every part. If the order means nothing, each "
            f"of the {number(proof['orders'])} orders of the parts is as likely, which the p value "
            "counts. Parts may differ in length: see the tokens of their rows."
        )


def _table(parts: Sequence[OrderPart], proof: QuantileValues | None) -> DataTable:
    columns: list[tuple[str, list[Cell]]] = [
        ("Part", [part.name for part in parts]),
        ("#Ranks", [f"{number(part.first_rank)} to {number(part.last_rank)}" for part in parts]),
        ("#Tokens of a row", [_or_dash(part.tokens, number) for part in parts]),
    ]
    if parts[0].similarity is not None:
        columns += [
            ("#Similarity of its rows", [_or_dash(p.similarity, _fixed) for p in parts]),
            (
                "#Of the target to its nearest row",
                [_or_dash(p.coverage, _fixed) for p in parts],
            ),
            ("#Target examples near", [_or_dash(p.near_share, percent) for p in parts]),
        ]
    if proof and parts[0].trained:
        columns.append(
            (f"#{METRICS[proof['metric']].label.capitalize()}", [_reached(part) for part in parts])
        )
    names, cells = zip(*columns, strict=True)
    return DataTable(names, tuple(zip(*cells, strict=True)))


def _or_dash(value: float | None, words: Callable[[float], str]) -> str:
    return "–" if value is None else words(value)


def _fixed(value: float) -> str:
    return similarity(value, fixed=True)


def _reached(part: OrderPart) -> Cell:
    """Return the mean over fine-tunes, and each of them below it."""
    mean = Strong(measure(part.mean))
    several = len(part.trained) > 1
    return Lines((mean, Quiet(" ".join(map(measure, part.trained))))) if several else mean
