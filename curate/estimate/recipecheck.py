"""What `curate check` says of a recipe: how its files are read, what a run would do and cost."""

from collections.abc import Iterator
from dataclasses import dataclass

from curate.config.recipe import Config
from curate.core.versions import versions_sentence
from curate.estimate.gpu import gpu_sentences
from curate.estimate.lines import EstimateLine, minutes_range
from curate.estimate.recipe import estimate
from curate.pipeline.inputs import input_sets
from curate.pipeline.reuse import reused_artifacts
from curate.pool.describe import FileSummary, summarise_files
from curate.pool.remotecopies import remote_copies


@dataclass(frozen=True)
class RecipeCheck:
    """A sound recipe, and what a run of it would do and cost.

    Attributes:
        files: what each input file is read as.
        lines: the stages, with rows, tokens and seconds.
        gpu: what it needs on a GPU, in words.
        reused: how many results of earlier runs it would find.
        versions: that some of these were made with other libraries, in words; else None.
        drops: whether stages may drop rows, so that it takes less.
    """

    files: list[FileSummary]
    lines: list[EstimateLine]
    gpu: list[str]
    reused: int
    versions: str | None
    drops: bool

    def text(self, name: str) -> Iterator[str]:
        """Yield the check of a recipe of this name as lines."""
        for summary in self.files:
            yield from summary.lines()
        yield ""
        yield from self._stages()
        yield from self.gpu
        if self.reused:
            yield f"{self.reused:,} stored results of earlier runs would be reused"
        if self.versions:
            yield f"warning: {self.versions}"
        high = minutes_range(self.lines)[1]
        fewer = ", less where stages drop rows" if high >= 1 and self.drops else ""
        yield f"{name} is sound; {self._minutes()}{fewer}; nothing was run"

    def _stages(self) -> Iterator[str]:
        wide = 17 if any(line.up_to for line in self.lines) else 10
        yield f"{'stage':<16}{'rows':>{wide}}{'tokens':>12}{'minutes':>9}  what"
        for line in self.lines:
            rows = f"up to {line.rows:,}" if line.up_to else f"{line.rows:,}"
            tokens = f"{line.tokens:,}" if line.tokens else ""
            minutes = f"{line.seconds.likely / 60:.1f}" if line.seconds.likely else ""
            yield f"{line.stage:<16}{rows:>{wide}}{tokens:>12}{minutes:>9}  {line.does}"

    def _minutes(self) -> str:
        low, high = minutes_range(self.lines)
        apart = [
            ("the making of rows", any(line.up_to for line in self.lines)),
            ("the calls of a model", any(line.asks for line in self.lines)),
        ]
        beside = " and ".join(what for what, there in apart if there)
        minutes = "below a minute" if high < 1 else f"{low:.0f} to {high:.0f} minutes"
        return f"{minutes} here" + (f" beside {beside}" if beside else "")

    def record(self) -> dict[str, object]:
        """Return the check by names, for JSON."""
        low, high = minutes_range(self.lines)
        return {
            "files": [
                {
                    "role": one.role,
                    "name": one.name,
                    "container": one.container,
                    "rows": one.rows,
                    "rejected": one.rejected,
                    "warnings": one.warnings,
                }
                for one in self.files
            ],
            "stages": self.lines,
            "gpu": self.gpu,
            "reused": self.reused,
            "versions": self.versions,
            "minutes": {"low": low, "high": high},
        }


def check_recipe(recipe: Config) -> RecipeCheck:
    """Return what a run of a recipe would do and cost; nothing is run.

    Raises:
        UserError: an input is at fault.
    """
    # Files are looked for once: what is left out is named once, and no branch moves in between.
    with remote_copies():
        sets = input_sets(recipe)
        files = summarise_files({role: one.entries for role, one in sets.items()}, recipe.seed)
        summaries, lines = list(files), estimate(recipe, sets)
    reused = reused_artifacts(recipe)
    return RecipeCheck(
        summaries,
        lines,
        list(gpu_sentences(recipe, lines)),
        len(reused),
        versions_sentence((a.name, a.versions) for a in reused),
        bool(recipe.stages),
    )
