"""The recipe's part `generate`: engine, limits, prompts and methods."""

from collections.abc import Sequence

from pydantic import Field

from curate.core.params import Params
from curate.generate.generation import Generator
from curate.llm.engines.parameters import EngineParams, TransformersParams
from curate.llm.limits import Limits


class GenerationSettings(Params):
    """Rows that a language model makes; they join the pool before the stages."""

    engine: EngineParams = TransformersParams()
    limits: Limits = Limits()
    prompts: str | None = Field(
        None,
        description="folder whose METHOD/NAME.j2 come before the built-in prompts",
        examples=["prompts/"],
    )
    methods: Sequence[Generator] = Field(min_length=1, description="generators, in this order")
