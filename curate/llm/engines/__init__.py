"""The engines, by their configuration; what is heavy is imported when one is loaded."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from curate.llm.engines.engine import Engine
from curate.llm.engines.loading import identify_engine, load_engine
from curate.llm.engines.parameters import EngineParams
from curate.models.settings import ModelNames

__all__ = ["EngineParams", "engine_of", "identify_engine", "load_engine"]


def engine_of(runtime: Mapping[str, Any]) -> Engine:
    """Return the engine that the runtime of a step names: `engine` and `models`, as plain values."""
    params: Any = TypeAdapter(EngineParams).validate_python(runtime["engine"])
    return load_engine(params, ModelNames.model_validate(runtime["models"]))
