"""The engines, by their configuration; what is heavy is imported when one is loaded."""

from typing import Any

from pydantic import TypeAdapter

from curate.core.keyed import EngineSource
from curate.core.wants import Wants
from curate.llm.engines.batchrecords import BATCHES
from curate.llm.engines.engine import Engine
from curate.llm.engines.loading import identify_engine, load_engine
from curate.llm.engines.parameters import EngineParams, OpenAIParams
from curate.models.settings import ModelNames

__all__ = ["EngineParams", "engine_of", "engine_wants", "identify_engine", "load_engine"]


def engine_wants(engine: EngineSource | None, **_others: object) -> Wants:
    """Return what a call that asks an engine wants: a GPU for a model in this process."""
    return Wants(gpus=int(engine is not None and engine.engine["kind"] != "openai"))


def engine_of(source: EngineSource) -> Engine:
    """Return the engine that a call is given."""
    params: Any = TypeAdapter(EngineParams).validate_python(source.engine)
    models = ModelNames.model_validate(source.models)
    if isinstance(params, OpenAIParams) and params.batch is not None:
        return load_engine(params, models, source.cache.with_name(BATCHES))
    return load_engine(params, models)
