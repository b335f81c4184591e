"""Names of people, by a model that labels words: presidio-analyzer with a pipeline of spaCy's."""

import functools
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.clean.heuristics.personal import Kind, Span
from curate.core.errors import UserError

# The pipeline reads no longer text; presidio asks for a language, whichever the pipeline has.
LONGEST, LANGUAGE, PERSON = 1_000_000, "en", "PERSON"


@dataclass(frozen=True)
class PersonName:
    """Names of people, as a pipeline of spaCy's labels them.

    Args:
        model: an installed package (en_core_web_sm) or a folder.
    """

    model: str
    kind: Kind = "name"
    hint: str = r"\p{L}{2}"

    @functools.cached_property
    def _analyzer(self) -> Any:
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # noqa: PLC0415
        from presidio_analyzer.nlp_engine import NlpEngineProvider  # noqa: PLC0415
        from presidio_analyzer.predefined_recognizers import SpacyRecognizer  # noqa: PLC0415

        models = [{"lang_code": LANGUAGE, "model_name": self.model}]
        engine = NlpEngineProvider(
            nlp_configuration={"nlp_engine_name": "spacy", "models": models}
        ).create_engine()
        people = SpacyRecognizer(supported_language=LANGUAGE, supported_entities=[PERSON])
        registry = RecognizerRegistry(recognizers=[people], supported_languages=[LANGUAGE])
        return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[LANGUAGE])

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where names stand in a text."""
        for name in self._analyzer.analyze(text[:LONGEST], language=LANGUAGE, entities=[PERSON]):
            yield Span("name", name.start, name.end)


def check_names(model: str) -> str:
    """Return the version of a pipeline that is there, empty for a folder's.

    Raises:
        UserError: presidio-analyzer or the pipeline is not installed; nothing is ever downloaded.
    """
    if not _installed("presidio_analyzer"):
        raise UserError(
            "pii.names needs presidio-analyzer, which is not installed; run `pip install "
            f"presidio-analyzer` and `python -m spacy download {_named(model)}`, or take names out of "
            "the recipe"
        )
    if Path(model).is_dir():
        return ""
    if not _installed(model):
        raise UserError(
            f"pii.names: there is no package or folder {model!r} with a spaCy pipeline; run `python -m "
            f"spacy download {_named(model)}`, and name it as it is imported"
        )
    return str(getattr(importlib.import_module(model), "__version__", ""))


def _named(model: str) -> str:
    """Return the name of a pipeline that can be downloaded."""
    return model if model.isidentifier() else "en_core_web_sm"


def _installed(package: str) -> bool:
    return package.isidentifier() and importlib.util.find_spec(package) is not None
