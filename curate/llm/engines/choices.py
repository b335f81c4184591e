"""What a server says of the first token: of its likeliest tokens, the chances of some words."""

import math
from collections.abc import Iterable, Sequence

# As many of the likeliest tokens as servers of OpenAI's protocol and vLLM give.
MOST = 20


def match_choices(
    choices: Sequence[str], likeliest: Iterable[tuple[str, float]]
) -> tuple[float, ...]:
    """Return the log-probability of each word among tokens, NaN for one that is not among them.

    White space around a token is not looked at: the same word with and without it is one.
    """
    tokens = [(token.strip(), logprob) for token, logprob in likeliest]
    sums = [sum(math.exp(logprob) for token, logprob in tokens if token == c) for c in choices]
    return tuple(math.log(mass) if mass > 0 else math.nan for mass in sums)
