"""Rows of any number that look like a real pool to a stage: topics, templates, numbers, copies.

Words are the whole words of the static embedder's tokenizer, so embeddings are spread as those of real
texts are. A thousand rows are made at a time by a seed of their own: a smaller pool is the beginning of
a larger one, and each thousand brings topics of its own, as a pool does that grows by new material. A
tenth of them is another row of the thousand with two words changed, a twentieth a copy; a third opens
with one of 50 templates, and a third holds numbers.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from curate.models.embed import load_model
from curate.models.static import StaticModel

CHUNK = 1_000
TOPICS, TOPIC_WORDS = 50, 60
SHORTEST, LONGEST = 30, 90
TEMPLATES = 50
NEAR, COPIES = 0.1, 0.05


def vocabulary() -> list[str]:
    """Return whole lower-case words, by their token number: often the commoner first."""
    model = load_model("static")
    assert isinstance(model, StaticModel)
    tokens = sorted(model.tokenizer.get_vocab().items(), key=lambda item: item[1])
    words = [token[1:] for token, _ in tokens if token.startswith("▁")]
    return [word for word in words if word.isascii() and word.isalpha() and word.islower()]


def rows_of(seed: int, words: list[str]) -> list[tuple[str, str]]:
    """Return a thousand pairs of prompt and answer."""
    rng = np.random.default_rng([7, seed])
    templates = [
        " ".join(np.random.default_rng(i).choice(words[:300], 8)) for i in range(TEMPLATES)
    ]
    topics = rng.integers(0, len(words), (TOPICS, TOPIC_WORDS))
    texts: list[list[str]] = []
    for kind in rng.random(CHUNK):
        if kind < NEAR + COPIES and texts:
            text = list(texts[rng.integers(len(texts))])
            for at in rng.integers(0, len(text), 2) if kind < NEAR else ():
                text[at] = words[rng.integers(len(words))]
            texts.append(text)
            continue
        size = int(rng.integers(SHORTEST, LONGEST))
        common = rng.zipf(1.2, size) % len(words)
        own = topics[rng.integers(TOPICS)][rng.integers(0, TOPIC_WORDS, size)]
        text = [words[i] for i in np.where(rng.random(size) < 0.5, common, own)]
        if rng.random() < 1 / 3:
            text[0] = templates[rng.integers(TEMPLATES)]
        if rng.random() < 1 / 3:
            text[-1] = str(rng.integers(10_000))
        texts.append(text)
    halves = ((text[: len(text) // 2], text[len(text) // 2 :]) for text in texts)
    return [(" ".join(prompt), " ".join(answer)) for prompt, answer in halves]


def write_pool(path: Path, count: int, first: int = 0) -> None:
    """Write so many rows as JSON Lines, from the thousand with this number on."""
    words = vocabulary()
    with path.open("w", encoding="utf-8") as file:
        for row in _rows(count, first, words):
            file.write(json.dumps({"prompt": row[0], "completion": row[1]}) + "\n")


def _rows(count: int, first: int, words: list[str]) -> Iterator[tuple[str, str]]:
    for start in range(0, count, CHUNK):
        yield from rows_of(first + start // CHUNK, words)[: count - start]
