"""What a stage does and takes."""

from curate.clean.semantic import MODEL, MODEL_LENGTH, SemanticStage
from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.selector import ResponseLimit
from curate.core.stage import Stage
from curate.estimate.base_model import BaseModel
from curate.estimate.embedding import embedding_pace
from curate.estimate.lines import DROPS, EstimateLine
from curate.judge.confidence import ConfidenceStage


def stage_line(
    params: Stage, config: Config, pool: Table, rows: int, base: BaseModel
) -> EstimateLine:
    """Return a stage's line, with seconds where a model reads or embeds the rows."""
    kind = params.method
    if isinstance(params, ConfidenceStage):
        # Once with prompts, once without them; the second pass is the shorter one.
        tokens = base.mean_tokens("pool", params.max_length) * (2 * rows)
        name = params.embedder or config.models.embedder
        seconds = base.seconds(tokens) + embedding_pace(pool, "example", name) * rows
        unread = base.unread("pool", [ResponseLimit(params.max_length)])
        does = "; ".join([f"scores rows; {config.models.base}, {name}", *unread])
        return EstimateLine(kind, rows, does, round(tokens.likely), seconds)
    if params.asks:
        summary = f"at most {params.most_calls(rows):,} calls of a model; {DROPS}"
        return EstimateLine(kind, rows, summary, asks=True)
    if not isinstance(params, SemanticStage):
        return EstimateLine(kind, rows, DROPS)
    if params.embedder == MODEL:
        tokens = base.mean_tokens("pool", MODEL_LENGTH) * rows
        seconds = base.seconds(tokens)
        return EstimateLine(
            kind, rows, f"{DROPS}; {config.models.base}", round(tokens.likely), seconds
        )
    name = params.embedder or config.models.embedder
    seconds = embedding_pace(pool, params.compare, name) * rows
    return EstimateLine(kind, rows, f"{DROPS}; {name}", seconds=seconds)
