"""The engines, by their configuration; what is heavy is imported when one is loaded."""

from curate.generate.engines.config import EngineParams, identify_engine, load_engine

__all__ = ["EngineParams", "identify_engine", "load_engine"]
