"""What is proposed without importing a recipe or a method is what these know."""

from curate.config.recipe import Config
from curate.core.completion import KEYS, export_formats, method_names
from curate.core.methods import methods_in
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.generate.generation import Generator
from curate.pool.exporter import Exporter


def test_methods_and_formats_are_those_that_are_registered() -> None:
    own = {
        name
        for family in (Stage, Selector, Generator)
        for name, cls in methods_in(family).items()
        if cls.__module__.startswith("curate.")
    }
    assert set(method_names("")) == own | {"race"}
    assert export_formats("sharegpt_") == ["sharegpt_preference"]
    assert set(export_formats("")) <= set(methods_in(Exporter))


def test_keys_are_those_of_a_recipe() -> None:
    schema = Config.model_json_schema()
    for key in KEYS:
        first, *inner = key.split(".")
        assert first in schema["properties"], key
        if first == "prove" and inner:
            assert inner[0] in schema["$defs"]["ProofSettings"]["properties"], key
        if first in ("models", "run") and inner:
            owner = {"models": "ModelNames", "run": "RunSettings"}[first]
            assert inner[0] in schema["$defs"][owner]["properties"], key
