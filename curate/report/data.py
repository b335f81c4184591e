"""Everything that the report tells, gathered from a run folder into plain values.

Whole tables are only counted; texts are read for the rows that the page shows and for no others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.core.section import Section
from curate.models.imitations import imitation_sentences
from curate.models.scripts import script_sentences
from curate.report.ablation import Ablation, gather_ablation
from curate.report.distributions import (
    LanguageMix,
    LengthDistribution,
    gather_languages,
    gather_lengths,
)
from curate.report.embedded_rows import EmbeddedRows, gather_embedded_rows
from curate.report.examples import Examples, Rows, gather_examples
from curate.report.languages import SetLanguages, gather_set_languages
from curate.report.losses import Losses, gather_losses
from curate.report.page_rows import read_page_rows
from curate.report.proof import ProofPanel, read_proof
from curate.report.race import Race, gather_race
from curate.report.run_files import FileLink, file_links
from curate.report.selection import selection_sections
from curate.report.stages import stage_sections
from curate.report.wing_sections import (
    generated_sections,
    rehearsed_sections,
    taught_sections,
    written_sections,
)
from curate.runs.dropwarnings import DropWarning, drop_warnings
from curate.runs.folder import RunFolder, inside, open_run
from curate.runs.funnel import Funnel, gather_funnel

MOST_ORIGINS = 200
CHARTED = 15


@dataclass(frozen=True)
class MixLine:
    """A source, or an origin within one, in the pool and in the selection; shares are 0 to 1."""

    source: str
    origin: str | None
    pool: int
    selected: int
    pool_share: float
    selected_share: float

    @property
    def ratio(self) -> float | None:
        """Return how many times as frequent it is in the selection as in the pool."""
        return self.selected_share / self.pool_share if self.pool_share else None


@dataclass(frozen=True)
class Lengths:
    """How long rows are: tokens at the quantiles 0.1, 0.5 and 0.9, their mean and their sum."""

    low: float
    median: float
    high: float
    mean: float
    total: int


@dataclass(frozen=True)
class Mix:
    """What pool and selection are made of. `origins` is the head of a list of `origin_count`."""

    sources: tuple[MixLine, ...]
    origins: tuple[MixLine, ...]
    origin_count: int
    charted: tuple[MixLine, ...]
    others: MixLine | None
    kept_lengths: Lengths | None
    selected_lengths: Lengths | None


@dataclass(frozen=True)
class Cost:
    """What a stage cost; seconds and memory are those of its making, also where it was reused."""

    stage: str
    rows_in: int | None
    rows_out: int | None
    seconds: float
    share: float
    peak_memory_mb: float
    computed: int
    reused: int
    tokens: int | None
    calls: int
    generated: int
    price: float


@dataclass(frozen=True)
class Report:
    """The page's whole content."""

    manifest: Mapping[str, Any]
    select: Mapping[str, Any]
    proof: ProofPanel | None
    funnel: Funnel
    warnings: tuple[DropWarning, ...]
    mix: Mix
    race: Race | None
    ablation: Ablation | None
    examples: Examples
    embedded: EmbeddedRows
    losses: Losses | None
    lengths: LengthDistribution | None
    languages: LanguageMix | None
    set_languages: SetLanguages | None
    costs: tuple[Cost, ...]
    files: tuple[FileLink, ...] = ()
    imitations: tuple[str, ...] = ()
    not_comparable: tuple[tuple[str, int], ...] = ()
    scripts: tuple[str, ...] = ()
    written: tuple[Section, ...] = ()
    generation_sections: tuple[Section, ...] = ()
    stage_sections: tuple[Section, ...] = ()
    selection_sections: tuple[Section, ...] = ()
    taught: tuple[Section, ...] = ()
    page_rows: Rows = field(default_factory=dict)


def gather(path: Path) -> Report:
    """Return what the report of a finished run says.

    Raises:
        UserError: the folder is no finished run.
        ValueError: the run's tables contradict each other.
    """
    run = open_run(path)
    select, funnel = dict(run.own_select), gather_funnel(run)
    written, generated, taught = (
        written_sections(run),
        generated_sections(run),
        taught_sections(run),
    )
    by_stage = stage_sections(run)
    by_selection = (*selection_sections(run), *rehearsed_sections(run))
    sections = (*written, *generated, *by_stage, *by_selection, *taught)
    return Report(
        manifest=run.manifest,
        select=select,
        proof=read_proof(inside(path, "proof.json")),
        funnel=funnel,
        warnings=tuple(drop_warnings(run, funnel, "RUN")),
        mix=gather_mix(run),
        race=gather_race(run),
        ablation=gather_ablation(run),
        examples=gather_examples(run),
        embedded=gather_embedded_rows(run),
        losses=gather_losses(run),
        lengths=gather_lengths(run),
        languages=gather_languages(run),
        set_languages=gather_set_languages(run),
        costs=tuple(_costs(run.manifest["stages"])),
        files=file_links(run),
        imitations=_gather_imitations(run),
        not_comparable=tuple(
            (entry["stage"], entry["not_comparable"])
            for entry in run.manifest["stages"]
            if entry.get("not_comparable")
        ),
        scripts=_gather_scripts(run),
        written=written,
        generation_sections=generated,
        stage_sections=by_stage,
        selection_sections=by_selection,
        taught=taught,
        page_rows=read_page_rows(run, sections),
    )


def _gather_scripts(run: RunFolder) -> tuple[str, ...]:
    if not run.has("evidence/scripts"):
        return ()
    return tuple(script_sentences(run.table("evidence/scripts").collect()))


def _gather_imitations(run: RunFolder) -> tuple[str, ...]:
    if not run.has("evidence/imitations"):
        return ()
    return tuple(imitation_sentences(run.table("evidence/imitations").collect()))


def gather_mix(run: RunFolder) -> Mix:
    """Return what pool and selection are made of."""
    chosen = (pl.col("fate") == "selected").sum()
    counted = (
        run.table("ledger")
        .group_by("source", "origin")
        .agg(pool=pl.len().cast(pl.Int64), selected=chosen.cast(pl.Int64))
        .sort("selected", "pool", "source", "origin", descending=[True, True, False, False])
        .collect()
    )
    totals = int(counted["pool"].sum()), int(counted["selected"].sum())
    by_source = counted.group_by("source").agg(pl.col("pool", "selected").sum())
    sources = by_source.sort("selected", "pool", "source", descending=[True, True, False])
    largest = pl.max_horizontal(pl.col("pool") / totals[0], pl.col("selected") / totals[1])
    charted = counted.filter(largest.rank("ordinal", descending=True) <= CHARTED)
    rest = counted.join(charted, on=["source", "origin"], how="anti", nulls_equal=True)
    ranking = run.table("evidence/select")
    others = _mix_line(totals, "", None, int(rest["pool"].sum()), int(rest["selected"].sum()))
    return Mix(
        sources=tuple(_mix_line(totals, s, None, p, n) for s, p, n in sources.iter_rows()),
        origins=tuple(_mix_line(totals, *line) for line in counted.head(MOST_ORIGINS).iter_rows()),
        origin_count=counted.height,
        charted=tuple(_mix_line(totals, *line) for line in charted.iter_rows()),
        others=others if rest.height else None,
        kept_lengths=_lengths(ranking),
        selected_lengths=_lengths(ranking.filter("selected")),
    )


def _lengths(ranking: pl.LazyFrame) -> Lengths | None:
    """Return None where the run counted no tokens."""
    tokens = pl.col("tokens")
    facts = [tokens.quantile(q).alias(str(q)) for q in (0.1, 0.5, 0.9)]
    facts += [tokens.mean().alias("mean"), tokens.sum().alias("total")]
    unknown, *figures = ranking.select(tokens.null_count(), *facts).collect().row(0)
    return None if unknown else Lengths(*figures)


def _mix_line(
    totals: tuple[int, int], source: str, origin: str | None, pool: int, selected: int
) -> MixLine:
    return MixLine(source, origin, pool, selected, pool / totals[0], selected / totals[1])


def _costs(stages: Sequence[Mapping[str, Any]]) -> Iterator[Cost]:
    total = float(np.sum([entry["seconds"] for entry in stages])) or 1.0
    for entry in stages:
        llm = entry.get("llm", {})
        yield Cost(
            stage=entry["stage"],
            rows_in=entry.get("rows_in"),
            rows_out=entry.get("rows_out"),
            seconds=entry["seconds"],
            share=entry["seconds"] / total,
            peak_memory_mb=entry["peak_memory_mb"],
            computed=entry["steps"] - entry["cached"],
            reused=entry["cached"],
            tokens=entry.get("tokens"),
            calls=llm.get("calls", 0),
            generated=llm.get("tokens", 0),
            price=llm.get("cost", 0.0),
        )
