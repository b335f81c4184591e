"""Self-reflection: a model says of an answer whether it is correct, incorrect, or that it is not sure.

S = mean of two answers to "is this correct?"         correct 1, not sure 0.5, incorrect 0

Of BSDetector (Chen and Mueller 2023, arXiv:2308.16175), whose confidence is BETA O + (1 - BETA) S.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from curate.core.jsontypes import JSON
from curate.core.rows import Message
from curate.llm.requests import Request, Sampling, chat
from curate.llm.structured import Answer

# The weight of observed consistency against self-reflection.
BETA = 0.7
REFLECTIONS = ("reflect", "doubt")
REFLECTION_TOKENS = 16
CERTAINTY = {"A": 1.0, "B": 0.0, "C": 0.5}
REFLECTION_SCHEMA: Mapping[str, JSON] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": list(CERTAINTY)}},
    "required": ["answer"],
    "additionalProperties": False,
}


def reflection(messages: Sequence[Message]) -> Request:
    """Return a question whose answer is A (correct), B (incorrect) or C (not sure)."""
    sampling = Sampling(temperature=0, max_tokens=REFLECTION_TOKENS)
    return chat(messages, sampling=sampling, schema=REFLECTION_SCHEMA)


def certainty(answers: Sequence[Answer]) -> float | None:
    """Return the mean of usable self-reflections; None if there is none."""
    certainties = [CERTAINTY[answer.value["answer"]] for answer in answers if answer.ok]
    return float(np.mean(certainties)) if certainties else None
