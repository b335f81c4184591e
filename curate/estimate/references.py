"""What a reference takes, the rows that `got` reads beside those of the pool: reading and embedding."""

from collections.abc import Iterator

from curate.config.recipe import Config
from curate.core.calls import StoreRunner
from curate.estimate.embedding import embedding_pace
from curate.estimate.lines import EstimateLine
from curate.selectors.got import GotSelector


def reference_lines(config: Config, run: StoreRunner) -> Iterator[EstimateLine]:
    """Yield a line for each reference of a selection; what is embedded alike is there once.

    Raises:
        UserError: a file of it is at fault.
    """
    done = []
    for member in [one for _, params in config.choices for one, _ in params.members()]:
        if not isinstance(member, GotSelector):
            continue
        embedder = member.embedder or config.models.embedder
        setting = member.reference, member.compare, embedder
        reference = member.reference_rows(config.seed)
        if reference is None or setting in done:
            continue
        done.append(setting)
        rows = reference.read(run)
        seconds = embedding_pace(rows, member.compare, embedder) * rows.height
        summary = f"rows of the reference of got; {embedder}"
        yield EstimateLine("reference", rows.height, summary, seconds=seconds)
