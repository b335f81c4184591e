"""One peer's deduplication of one file of texts, in this process, with its own tool's defaults.

python peers.py TOOL TEXTS.jsonl RESULT.json     (texts: {"id": 0, "text": "..."} a line)

Result: seconds from texts in memory to a decision on each (text-dedup and datatrove: from the file, as
they work on files), peak memory in MiB, and the ids kept. Run by bench_dedup.py with the interpreter of
an environment that has the tools; this file imports nothing of curate but the embedder for semhash.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

THRESHOLD = 0.7
NGRAM = 5
PERMUTATIONS = 256
SEMANTIC_THRESHOLD = 0.9


def five_grams(text: str) -> list[str]:
    """Return the text's word 5-grams, or the text where words are fewer."""
    import regex

    words = regex.findall(r"[\p{L}\p{M}\p{N}]+", text.lower())
    return [" ".join(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)] or [text]


def datasketch(texts: list[str], file: Path) -> list[int]:
    """Insert one by one, keep what the index has nothing similar to: its documented use."""
    from datasketch import MinHash, MinHashLSH

    index, kept = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), []
    for i, text in enumerate(texts):
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([gram.encode() for gram in five_grams(text)])
        if not index.query(sketch):
            index.insert(str(i), sketch)
            kept.append(i)
    return kept


def rensa_readme(texts: list[str], file: Path) -> list[int]:
    """Return what rensa's README example keeps: words split at white space, 128 permutations."""
    import rensa

    dedup = rensa.RMinHashDeduplicator(threshold=THRESHOLD, num_perm=128, use_lsh=True)
    fresh = dedup.add_pairs((str(i), text.split()) for i, text in enumerate(texts))
    return [i for i, new in enumerate(fresh) if new]


def rensa_5grams(texts: list[str], file: Path) -> list[int]:
    """Return what the same example keeps on 5-grams with as many permutations as curate has."""
    import rensa

    dedup = rensa.RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
    fresh = dedup.add_pairs((str(i), five_grams(text)) for i, text in enumerate(texts))
    return [i for i, new in enumerate(fresh) if new]


def text_dedup(texts: list[str], file: Path) -> list[int]:
    """Run its command line."""
    from datasets import load_from_disk

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, "-m", "text_dedup.minhash", "--path", "json", "--data_files",
                   str(file), "--split", "train", "--cache_dir", f"{folder}/cache", "--output",
                   str(out), "--column", "text", "--ngram", str(NGRAM), "--num_perm",
                   str(PERMUTATIONS), "--threshold", str(THRESHOLD), "--min_length", "1",
                   "--num_proc", "2"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2_000:])
        return [int(i) for i in load_from_disk(str(out))["id"]]


def datatrove(texts: list[str], file: Path) -> list[int]:
    """Run its four steps with FineWeb's settings (14 bands of 8), signatures by two workers."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder) / "parts"
        parts.mkdir()
        lines = file.read_text().strip("\n").split("\n")
        for n in range(2):
            half = lines[n * len(lines) // 2 : (n + 1) * len(lines) // 2]
            (parts / f"{n}.jsonl").write_text("\n".join(half) + "\n")
        config = MinhashConfig(n_grams=NGRAM)
        signature, buckets, remove, out = (f"{folder}/{n}" for n in ("s", "b", "r", "o"))
        stages = [
            ([JsonlReader(str(parts)), MinhashDedupSignature(signature, config)], 2),
            ([MinhashDedupBuckets(signature, buckets, config=config)], config.num_buckets),
            ([MinhashDedupCluster(buckets, remove, config=config)], 1),
            ([JsonlReader(str(parts)), MinhashDedupFilter(remove),
              JsonlWriter(out, compression=None)], 2),
        ]  # fmt: skip
        for pipeline, tasks in stages:
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=2).run()
        documents = [
            json.loads(line)["id"]
            for path in sorted(Path(out).glob("*.jsonl"))
            for line in path.read_text().strip("\n").split("\n")
        ]
        return sorted(int(i) for i in documents)


def semhash(texts: list[str], file: Path) -> list[int]:
    """Run its self-deduplication on the embeddings that curate uses as well."""
    import numpy as np
    from semhash import SemHash

    class StoredEmbeddings:
        """Hands out embeddings that were made before, by position."""

        def encode(self, inputs: list[str], **kwargs: object) -> "np.ndarray":
            raise AssertionError("embeddings are given")

    vectors = np.load(file.with_suffix(".npy"))
    index = SemHash.from_embeddings(vectors, texts, model=StoredEmbeddings())
    result = index.self_deduplicate(threshold=SEMANTIC_THRESHOLD)
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        first.setdefault(text, i)
    return sorted(first[text] for text in result.selected)


TOOLS: dict[str, Callable[[list[str], Path], list[int]]] = {
    "datasketch": datasketch,
    "rensa-readme": rensa_readme,
    "rensa-5grams": rensa_5grams,
    "text-dedup": text_dedup,
    "datatrove": datatrove,
    "semhash": semhash,
}


def main() -> None:
    """Run the tool and write its result."""
    tool, file, result = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    texts = [json.loads(line)["text"] for line in file.read_text().strip("\n").split("\n")]
    started = time.perf_counter()
    kept = TOOLS[tool](texts, file)
    seconds = time.perf_counter() - started
    report = {"seconds": seconds, "kept": [int(i) for i in kept]}
    result.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
