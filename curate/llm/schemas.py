"""JSON schemas of structured answers, how many tokens they take, and how they are sampled."""

from collections.abc import Mapping
from typing import Any

from curate.core.jsontypes import JSON
from curate.llm.requests import Sampling

# Small models write the same again and again; it ends the answer, which is then drawn anew.
REPEATS = 5
CHARACTERS_A_TOKEN = 3
OVERHEAD = 32


def tokens_for(characters: int) -> int:
    """Return how many tokens surely hold so many characters of JSON in most languages."""
    return characters // CHARACTERS_A_TOKEN + OVERHEAD


def characters_for(tokens: int) -> int:
    """Return how long a text may be so that so many tokens hold it."""
    return max(tokens - OVERHEAD, OVERHEAD) * CHARACTERS_A_TOKEN


def greedy(max_tokens: int) -> Sampling:
    """Return how a model writes its likeliest words, and is stopped where it repeats itself."""
    return Sampling(temperature=0, max_tokens=max_tokens, repeats=REPEATS)


def text(most: int) -> dict[str, Any]:
    """Return the schema of a text that is not empty."""
    return {"type": "string", "minLength": 1, "maxLength": most}


def record(**properties: Mapping[str, JSON]) -> dict[str, Any]:
    """Return the schema of an object with all of these properties, in their order."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def array(items: Mapping[str, JSON], most: int, least: int = 1) -> dict[str, Any]:
    """Return the schema of a list of so many items."""
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def tidy(words: str) -> str:
    """Return a short phrase on one line, without quotes or full stop around it."""
    return " ".join(words.split()).strip(" .\"'`*")
