"""In which language a text is, by py3langid (naive Bayes over byte n-grams)."""

import functools
from collections.abc import Sequence
from typing import Any

import polars as pl

# The first characters tell the language of a longer text as well, in a fraction of the time.
READ = 300
# Bytes of letters: shorter texts are names, numbers and labels, of which any answer is a guess.
FEWEST = 40


def find_languages(texts: pl.Series) -> pl.DataFrame:
    """Return language (ISO 639) and confidence (0 to 1) of each text; null where it is too short."""
    head, long = texts.str.slice(0, READ), has_language(texts)
    classifications = [
        _classify(text) if enough else (None, None) for text, enough in zip(head, long, strict=True)
    ]
    schema = {"language": pl.String, "confidence": pl.Float32}
    return pl.DataFrame(classifications, schema=schema, orient="row")


def has_language(texts: pl.Series) -> pl.Series:
    """Return which texts have letters enough to tell a language."""
    letters = texts.str.slice(0, READ).str.replace_all(r"\P{L}+", "")
    return letters.str.len_bytes() >= FEWEST


def unknown_languages(codes: Sequence[str]) -> list[str]:
    """Return which of some codes name no language that can be told."""
    supported_codes = set(_identifier().nb_classes)
    return [code for code in codes if code not in supported_codes]


@functools.lru_cache(maxsize=2**13)
def _classify(text: str) -> tuple[str, float]:
    """Return language and confidence of a text; selected rows are those of the pool once more."""
    language, confidence = _identifier().classify(text)
    return language, confidence


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
