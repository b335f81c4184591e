"""How a model doubts without knowing what is right: the entropy of its own answers.

R-Tuning-U (Zhang et al. 2024, arXiv:2311.09677): k = 5 answers to a row's conversation at temperature
0.7; H = -sum of p ln p over the shares of the values that they name, from 0 (all the same) to ln k. The
half of the rows with the lowest entropy is what the model is sure of.

Answers are alike if they name the same value (curate.answers.values.group_alike); one that names none
counts by its words. Ties at the middle go by content hash, so that the order of the rows plays no part.
Cost: five calls a row. Departure: the row's conversation stands alone, without examples, as rehearsal
asks it too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from curate.answers.values import group_alike
from curate.judge.probes import METHOD, Probe, probe_request, text_of
from curate.llm.ask import EngineClient
from curate.llm.asking import ask_all, seed_of
from curate.llm.requests import Sampling
from curate.llm.schemas import REPEATS

SAMPLES, TEMPERATURE = 5, 0.7


def entropy_of(values: Sequence[object]) -> float:
    """Return the entropy in nats of a histogram of values."""
    shares = np.array(list(Counter(values).values())) / len(values)
    return abs(float(-(shares * np.log(shares)).sum()))


def measure_entropy(
    client: EngineClient, probes: Sequence[Probe], most: int, seed: int
) -> dict[str, float]:
    """Return the entropy of each row's sampled answers; rows of which fewer than two came have none.

    Args:
        client: the model.
        probes: the rows.
        most: tokens of an answer.
        seed: of the run.

    Raises:
        UserError: the engine no longer answers.
    """
    requests = []
    for probe in probes:
        own = seed_of(seed, probe.content_hash, "uncertain")
        sampling = Sampling(
            temperature=TEMPERATURE,
            max_tokens=probe.most_tokens(most),
            n=SAMPLES,
            repeats=REPEATS,
            seed=own,
        )
        requests.append(probe_request(probe, [], sampling))
    entropies = {}
    for probe, answers in zip(probes, ask_all(client, requests, METHOD), strict=True):
        texts = [text for answer in answers if (text := text_of(answer)) is not None]
        if len(texts) > 1:
            entropies[probe.row_id] = entropy_of(group_alike(probe.form, texts))
    return entropies


def surer_half(entropies: Mapping[str, float], hashes: Mapping[str, str]) -> set[str]:
    """Return the rows of the lower half; the middle one of an odd number is in it."""
    ordered = sorted(entropies, key=lambda row_id: (entropies[row_id], hashes[row_id], row_id))
    return set(ordered[: (len(ordered) + 1) // 2])
