"""The engine of a recipe: chosen by its kind, identified without loading it, imported when needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from curate.llm.engines import EngineParams, identify_engine, load_engine
from curate.llm.engines.parameters import OpenAIParams, TransformersParams, VllmParams
from curate.models.settings import ModelNames

REPO = Path(__file__).parents[3]
ADAPTER: TypeAdapter[Any] = TypeAdapter(EngineParams)


def test_the_kind_chooses_the_engine() -> None:
    assert ADAPTER.validate_python({"kind": "transformers"}) == TransformersParams()
    assert ADAPTER.validate_python({"kind": "vllm", "context": 9}) == VllmParams(context=9)
    assert ADAPTER.validate_python({"method": "vllm", "context": 9}) == VllmParams(context=9)
    params = ADAPTER.validate_python(
        {"kind": "openai", "model": "m", "endpoints": [{"url": "http://h/v1/"}]}
    )
    assert isinstance(params, OpenAIParams) and params.endpoints[0].url == "http://h/v1"
    assert ADAPTER.validate_python(params.model_dump()) == params


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"kind": "ollama"},
        {"kind": "transformers", "url": "http://h"},
        {"kind": "openai", "model": "m"},
        {"kind": "openai", "model": "m", "endpoints": []},
        {"kind": "openai", "model": "m", "endpoints": [{"url": "http://h", "api_key": "sk"}]},
    ],
)
def test_a_mistake_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(bad)


def test_the_identity_is_that_of_the_loaded_engine(tiny: Path) -> None:
    models = ModelNames(base=str(tiny), dtype="float32")
    engine = load_engine(TransformersParams(), models)
    assert engine.identity() == identify_engine(TransformersParams(), models)
    assert engine.identity() != identify_engine(TransformersParams(dtype="bfloat16"), models)
    assert engine.identity() != identify_engine(VllmParams(), models)
    server = OpenAIParams(model="m", endpoints=[{"url": "http://h/v1"}])
    assert load_engine(server, models).identity() == identify_engine(server, models)


@pytest.mark.system
def test_nothing_heavy_is_imported_before_an_engine_is_loaded() -> None:
    script = (
        "import sys, curate.llm.ask, curate.llm.engines\n"
        "print([m for m in ('torch', 'transformers', 'httpx', 'vllm', 'llguidance', 'jsonschema')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO)
    assert done.stdout.strip() == "[]", done.stderr
