"""chrF: the character n-gram F-score of a text against a reference, from 0 to 1.

    precision, recall   shares of n-grams that both have, each as often, averaged over n = 1 .. 6
    F = (1 + b^2) p r / (b^2 p + r), b = 2: recall weighs twice

Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation", W15-3049; b = 2 after her
2016 paper (W16-2341). *Published*; computed exactly, as sacreBLEU 2 does it by default for one sentence:
white space is left out, and orders of which one of the texts is too short for have no part in the means.
It knows no language and no tokens, so it holds for every script, where the embedded sentence embedder
reads English.
"""

from collections import Counter

ORDER, BETA = 6, 2.0


def chrf(text: str, reference: str) -> float:
    """Return the chrF of a text against a reference; 0 where nothing can be compared."""
    one, other = ("".join(part.split()) for part in (text, reference))
    orders = range(1, min(ORDER, len(one), len(other)) + 1)
    if not orders:
        return 0.0
    matches = [(_grams(one, n) & _grams(other, n)).total() for n in orders]
    precision = sum(m / (len(one) - n + 1) for m, n in zip(matches, orders, strict=True))
    recall = sum(m / (len(other) - n + 1) for m, n in zip(matches, orders, strict=True))
    if not precision:
        return 0.0
    weight = BETA**2
    return (1 + weight) * precision * recall / (weight * precision + recall) / len(orders)


def _grams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))
