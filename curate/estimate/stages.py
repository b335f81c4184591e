"""What a stage does and takes."""

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.stage import Stage
from curate.estimate.base_model import BaseModel
from curate.estimate.embedding import Embedding
from curate.estimate.lines import EstimateLine, calls_sentences


def stage_line(
    stage: Stage, config: Config, pool: Table, rows: int, base: BaseModel
) -> EstimateLine:
    """Return a stage's line, with seconds where a model reads or embeds the rows."""
    work, models = stage.cost(rows), config.models
    tokens = base.read_tokens(work, rows)
    seconds = base.seconds(tokens) + Embedding(pool, models.embedder).seconds(work)
    names = [models.base] * bool(work.read_rows)
    names += [work.embedder or models.embedder] * bool(work.embedded_rows)
    does = [*calls_sentences(work), stage.does, *([", ".join(names)] if names else [])]
    if stage.pins and stage is not config.stages[0]:
        does.append(
            "marks to keep bring back no row that an earlier stage drops: let it stand first"
        )
    does += base.unread("pool", work.limit)
    return EstimateLine(
        stage.method, rows, "; ".join(does), round(tokens.likely), seconds, asks=work.calls > 0
    )
