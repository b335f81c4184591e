"""What the report says of how rows were compared."""

import pytest

from curate.clean.duplicates_section import survivor
from curate.clean.exact import ExactStage
from curate.clean.fuzzy import FuzzyStage
from curate.clean.semantic import SemanticStage
from curate.core.methods import find_method
from curate.core.stage import Stage
from tests.report.sections import blocks_of


@pytest.mark.parametrize(
    ("params", "phrase"),
    [
        ({"method": "exact", "compare": "prompt", "fold": []}, "prompts"),
        ({"method": "exact", "fold": ["space"]}, "whole rows, but for white space"),
        (
            {"method": "exact", "compare": "response", "fold": ["space", "case", "numbers"]},
            "responses, but for white space, letter case and which numbers they hold",
        ),
        (
            {"method": "exact", "compare": "prompt", "fold": ["case"], "conflicts": True},
            "whole rows, but for letter case",
        ),
        (
            {"method": "fuzzy", "compare": "prompt", "unit": "char", "ngram": 9, "numbers": False},
            "prompts, by the character 9-grams that they share",
        ),
        (
            {"method": "semantic", "embedder": "lm", "numbers": False},
            "whole rows, by base model embeddings",
        ),
        (
            {"method": "semantic", "embedder": "minilm", "numbers": True},
            "whole rows with the same numbers, by minilm embeddings",
        ),
    ],
)
def test_what_was_compared_is_told(params: dict[str, object], phrase: str) -> None:
    stage = find_method(Stage, str(params["method"])).model_validate(params)
    if isinstance(stage, SemanticStage):
        texts = stage.compared_texts("static")
    else:
        assert isinstance(stage, ExactStage | FuzzyStage)
        texts = stage.compared_texts()
    assert "".join(blocks_of(texts.words, str)) == phrase


@pytest.mark.parametrize(
    ("keep", "phrase"),
    [
        ("longest", "the longest"),
        ({"sources": ["gold", "web"]}, "by source: gold, web, others"),
        ({"highest": "quality.score"}, "the highest quality.score"),
    ],
)
def test_who_survives_is_told(keep: object, phrase: str) -> None:
    policy = ExactStage.model_validate({"keep": keep}).keep
    assert "".join(blocks_of(survivor(policy), str)) == phrase
