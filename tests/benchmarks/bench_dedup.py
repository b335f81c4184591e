"""Deduplication measured: against planted truth, against exhaustive search, against peers, at scale.

    python tests/benchmarks/bench_dedup.py bundled
    python tests/benchmarks/bench_dedup.py real FILES... [--peers PYTHON] [--text-dedup PYTHON]
    python tests/benchmarks/bench_dedup.py answers FILES...
    python tests/benchmarks/bench_dedup.py million [ROWS]

bundled: recall and precision of each level on the defects planted in data/pool (data/truth.jsonl).

real: what counts as truth where templates share passages is the rule itself, applied exhaustively in
plain Python: all pairs with a Jaccard similarity of word 5-grams of at least 0.7. A drop is right if a
kept row is that similar; a kept row is a miss if an earlier kept row is. Peers get the same texts, one
after the other in processes of their own, and are judged by the same rule. PYTHON is the interpreter of
an environment with datasketch, rensa, datatrove[io,processing], spacy, semhash and regex; text-dedup's
pins want an environment of their own. Semantic: pairs and drops against the full product of vectors.

answers: what fuzzy and semantic drop of at most 15,000 rows of the files, and how many of the drops have
the response of their twin, by texts alone (semantic: and numbers, as it always did) and by default.

million: ROWS (1,000,000) synthetic rows of 60 words, a tenth near and a twentieth exact copies, through
ingest, exact and fuzzy in one process.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import regex
from pools import REPO, run_stages

from curate.config.recipe import Config
from curate.core.store import Store
from curate.pipeline import curation
from curate.pipeline.run import Run
from curate.text.compared import compared_text

PEERS = ("datasketch", "rensa-readme", "rensa-5grams", "datatrove")
THRESHOLD, NGRAM = 0.7, 5
ANSWER_ROWS = 15_000
# Other tools, and the truth, look at texts alone.
TEXTS_ALONE = {"system": False, "numbers": False, "responses": False}
COSINE = 0.9
WORDS = 60


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tell_steps(run: Run) -> None:
    for artifact in run.artifacts:
        facts = {k: v for k, v in artifact.counts.items() if k not in ("rejected",)}
        print(
            f"  {artifact.name:<18}{artifact.seconds:>9.2f} s "
            f"{artifact.peak_memory_mb:>8.0f} MiB  {facts}"
        )


# --- bundled ------------------------------------------------------------------------------------


def bundled() -> None:
    truth = pl.read_ndjson(REPO / "data" / "truth.jsonl")
    levels = {
        "exact": ("exact_duplicate", []),
        "fuzzy": ("near_duplicate", [{"kind": "exact", "fold": ["space"]}]),
        "semantic": ("near_duplicate", [{"kind": "exact", "fold": ["space"]}]),
        "leaks": ("leaked_eval", []),
    }
    print(f"{'level':<10}{'planted':>9}{'dropped':>9}{'right':>7}{'recall':>8}{'precision':>11}")
    for kind, (defect, before) in levels.items():
        with tempfile.TemporaryDirectory() as folder:
            stage = {"kind": kind, **({"fold": ["space"]} if kind == "exact" else {})}
            run = run_with_examples([*before, stage], Path(folder))
            verdicts = pl.read_parquet(run.artifacts[-2].file("evidence.parquet"))
        dropped = set(verdicts.filter(keep=False)["row_id"])
        planted = set(truth.filter(pl.col("defect") == defect)["row_id"])
        twins = set(truth.filter(pl.col("defect") == defect)["twin_id"].drop_nulls())
        # Of a planted pair either may go: which one is the policy's choice.
        right = {row for row in dropped if row in planted or row in twins}
        print(
            f"{kind:<10}{len(planted):>9}{len(dropped):>9}{len(right):>7}"
            f"{len(right) / len(planted):>8.3f}{len(right) / max(len(dropped), 1):>11.3f}"
        )


def run_with_examples(stages: list[dict[str, Any]], store: Path) -> Run:
    kept = Store(store)
    config = Config.model_validate(
        {"name": "bench", "pool": [{"path": str(REPO / "data" / "pool" / "*"), "source": "bundled"}],
         "target": {"path": str(REPO / "data" / "target.jsonl"),
                    "eval": str(REPO / "data" / "eval.jsonl")},
         "stages": stages, "store": str(store), "select": {"method": "random", "budget": {"rows": 1}}}
    )  # fmt: skip
    run = Run(config, kept, lambda steps: [kept.ensure(step) for step in steps])
    curation.read_inputs(run)
    curation.run_stages(run)
    return run


# --- real ---------------------------------------------------------------------------------------


def grams(text: str) -> frozenset[str]:
    words = regex.findall(r"[\p{L}\p{M}\p{N}]+", text.lower())
    several = frozenset(" ".join(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1))
    return several or frozenset([" ".join(text.lower().split())])


def similar_pairs(sets: Sequence[frozenset[str]]) -> dict[int, dict[int, float]]:
    """Return all pairs of at least THRESHOLD, exhaustively: two sets that similar share a rare n-gram.

    Of two sets with |A & B| >= t |A|, the |A| - ceil(t |A|) + 1 rarest members of each must meet
    (prefix filter; Chaudhuri et al. 2006, doi:10.1109/ICDE.2006.9).
    """
    frequency: dict[str, int] = defaultdict(int)
    for members in sets:
        for gram in members:
            frequency[gram] += 1
    seen: dict[str, list[int]] = defaultdict(list)
    near: dict[int, dict[int, float]] = defaultdict(dict)
    for i, members in enumerate(sets):
        rare = sorted(members, key=lambda gram: (frequency[gram], gram))
        prefix = rare[: len(rare) - int(np.ceil(THRESHOLD * len(rare))) + 1]
        for j in {j for gram in prefix for j in seen[gram]}:
            other = sets[j]
            if min(len(members), len(other)) < THRESHOLD * max(len(members), len(other)):
                continue
            shared = len(members & other)
            similarity = shared / (len(members) + len(other) - shared)
            if similarity >= THRESHOLD:
                near[i][j] = near[j][i] = similarity
        for gram in prefix:
            seen[gram].append(i)
    return near


def judge(kept: Sequence[int], near: dict[int, dict[int, float]], total: int) -> dict[str, float]:
    """Return precision, recall and F1 of a tool's drops by the rule."""
    stay = set(kept)
    dropped = [i for i in range(total) if i not in stay]
    right = sum(any(j in stay for j in near[i]) for i in dropped)
    missed = sum(any(j < i and j in stay for j in near[i]) for i in stay)
    precision = right / max(len(dropped), 1)
    recall = right / max(right + missed, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {"dropped": len(dropped), "precision": precision, "recall": recall, "f1": f1}


def real(files: Sequence[str], peers: str | None, text_dedup: str | None) -> None:
    pool = [
        {"path": str(Path(f).resolve()), "source": f"s{i}", "strip_end": "<|endoftext|>"}
        for i, f in enumerate(files)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        curate_result = own_process(pool, [{"kind": "fuzzy", **TEXTS_ALONE}], folder)
        texts = [
            json.loads(line)["text"]
            for line in (folder / "texts.jsonl").read_text().strip("\n").split("\n")
        ]
        size = sum(map(len, texts))
        print(
            f"{len(texts):,} rows, {size / 1e6:.0f} MB of text; word {NGRAM}-grams at {THRESHOLD}"
        )
        started = time.perf_counter()
        near = similar_pairs([grams(text) for text in texts])
        print(
            f"truth: {sum(map(len, near.values())) // 2:,} pairs of {len(near):,} rows, exhaustively, "
            f"in {time.perf_counter() - started:.0f} s"
        )
        print(f"{'tool':<14}{'seconds':>9}{'rows/s':>9}{'MiB':>7}{'dropped':>9}"
              f"{'precision':>11}{'recall':>8}{'F1':>7}")  # fmt: skip
        for tool, result in [("curate", curate_result), *peer_results(folder, peers, text_dedup)]:
            if "error" in result:
                print(f"{tool:<14}{result['error']}")
                continue
            scores = judge(result["kept"], near, len(texts))
            print(
                f"{tool:<14}{result['seconds']:>9.1f}{len(texts) / result['seconds']:>9,.0f}"
                f"{result['peak_mb']:>7,.0f}{scores['dropped']:>9,.0f}"
                f"{scores['precision']:>11.4f}{scores['recall']:>8.4f}{scores['f1']:>7.4f}",
                flush=True,
            )
        semantic(pool, texts, folder, peers)


def own_process(
    pool: list[dict[str, Any]], stages: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    """Run curate's stages in a process of their own, which writes the texts compared as well."""
    job = {"pool": pool, "stages": stages, "folder": str(folder)}
    output, peak = run_watched([sys.executable, __file__, "_stages", json.dumps(job)], folder)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return {**result, "peak_mb": peak}


def run_watched(command: list[str], folder: Path) -> tuple[str, float]:
    """Run a command; return what it printed and the peak memory of it and its children, in MiB.

    Raises:
        RuntimeError: it failed; the last line that it wrote to stderr.
    """
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        done = subprocess.Popen(command, stdout=out, stderr=err, text=True, cwd=folder)
        watched, peak = psutil.Process(done.pid), 0.0
        while done.poll() is None:
            with contextlib.suppress(psutil.Error):
                family = [watched, *watched.children(recursive=True)]
                peak = max(peak, sum(one.memory_info().rss for one in family) / 2**20)
            time.sleep(0.05)
        out.seek(0)
        err.seek(0)
        if done.returncode:
            raise RuntimeError((err.read().strip().splitlines() or ["no word"])[-1][:150])
        return out.read(), peak


def stages_job(job: dict[str, Any]) -> None:
    run = run_stages(job["pool"], job["stages"], Path(job["folder"]) / "store")
    last = run.artifacts[-2]
    rows = run.rows.read()
    ids = rows.select("row_id").with_row_index("at")
    kept = pl.read_parquet(last.file("evidence.parquet")).filter("keep").join(ids, on="row_id")
    texts = rows.select(id=pl.int_range(pl.len()).cast(pl.String), text=compared_text("example"))
    texts.write_ndjson(Path(job["folder"]) / "texts.jsonl")
    steps = run.artifacts[1:-1]
    print(
        json.dumps(
            {
                "seconds": sum(step.seconds for step in steps),
                "by_step": {step.name: step.seconds for step in steps},
                "kept": kept["at"].sort().to_list(),
            }
        )
    )


def peer_results(
    folder: Path, peers: str | None, text_dedup: str | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    interpreters = [(tool, peers) for tool in PEERS] + [("text-dedup", text_dedup)]
    for tool, python in interpreters:
        if python:
            yield tool, peer_result(folder, tool, python)


def peer_result(folder: Path, tool: str, python: str) -> dict[str, Any]:
    path = folder / f"{tool}.json"
    script = Path(__file__).with_name("peers.py")
    command = [python, str(script), tool, str(folder / "texts.jsonl"), str(path)]
    try:
        _, peak = run_watched(command, folder)
    except RuntimeError as error:
        return {"error": str(error)}
    result: dict[str, Any] = json.loads(path.read_text())
    return {**result, "peak_mb": peak}


def semantic(
    pool: list[dict[str, Any]], texts: Sequence[str], folder: Path, peers: str | None
) -> None:
    """Compare the semantic stage with the full product of the vectors, and with semhash on them."""
    from curate.models.embed import embed_texts

    started = time.perf_counter()
    vectors = embed_texts(list(texts), "static")
    embedding = time.perf_counter() - started
    np.save(folder / "texts.npy", vectors)
    near = cosine_pairs(vectors)
    curate_result = own_process(pool, [{"kind": "semantic", **TEXTS_ALONE}], folder)
    searching = sum(s for n, s in curate_result["by_step"].items() if "embed" not in n)
    print(f"\nsemantic at {COSINE}, static embedder: {embedding:.1f} s to embed for either tool")
    print(
        f"{'tool':<14}{'seconds':>9}{'MiB':>7}{'dropped':>9}{'precision':>11}{'recall':>8}{'F1':>7}"
    )
    results = [("curate", {**curate_result, "seconds": searching})]
    if peers:
        results.append(("semhash", peer_result(folder, "semhash", peers)))
    for tool, result in results:
        if "error" in result:
            print(f"{tool:<14}{result['error']}")
            continue
        scores = judge(result["kept"], near, len(texts))
        print(
            f"{tool:<14}{result['seconds']:>9.1f}{result['peak_mb']:>7,.0f}{scores['dropped']:>9,.0f}"
            f"{scores['precision']:>11.4f}{scores['recall']:>8.4f}{scores['f1']:>7.4f}"
        )
    pairs = pl.read_parquet(next((folder / "store").glob("semantic-pairs-*/pairs.parquet")))
    brute = sum(map(len, near.values())) // 2
    print(f"pairs at {COSINE} by the full product: {brute:,}; stored as such or as copies: "
          f"{pairs.filter(pl.col('similarity') >= COSINE).height:,}")  # fmt: skip


def cosine_pairs(vectors: "np.ndarray[Any, Any]") -> dict[int, dict[int, float]]:
    near: dict[int, dict[int, float]] = defaultdict(dict)
    for start in range(0, len(vectors), 1_024):
        product = vectors[start : start + 1_024] @ vectors.T
        for i, j in zip(*np.nonzero(product >= COSINE), strict=True):
            if start + i != j:
                near[start + int(i)][int(j)] = float(product[i, j])
    return near


# --- answers -----------------------------------------------------------------------------------


def answers(files: Sequence[str]) -> None:
    """Print drops and the share of them with the response of the twin."""
    pool = [
        {"path": str(Path(f).resolve()), "source": "s", "strip_end": "<|endoftext|>",
         "sample": ANSWER_ROWS}
        for f in files
    ]  # fmt: skip
    for kind, numbers in (("fuzzy", False), ("semantic", True)):
        alone = {"kind": kind, "system": False, "numbers": numbers, "responses": False}
        for name, stage in (("texts alone", alone), ("default", {"kind": kind})):
            with tempfile.TemporaryDirectory() as folder:
                run = run_stages(pool, [stage], Path(folder) / "store")
                verdicts = pl.read_parquet(run.artifacts[-2].file("evidence.parquet"))
                texts = run.rows.read().select(
                    "row_id", text=compared_text("response").str.strip_chars()
                )
            twins = texts.rename({"row_id": "duplicate_of", "text": "twin"})
            gone = (
                verdicts.filter(keep=False).join(texts, on="row_id").join(twins, on="duplicate_of")
            )
            same = gone.filter(pl.col("text") == pl.col("twin")).height
            share = same / max(gone.height, 1)
            print(f"{kind:<10}{name:<13}{verdicts.height:>7} rows {gone.height:>6} dropped, "
                  f"{share:.1%} with the response of the twin", flush=True)  # fmt: skip


# --- million ------------------------------------------------------------------------------------


def million(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planted = write_synthetic(folder / "pool.jsonl", count)
        pool = [{"path": str(folder / "pool.jsonl"), "source": "made"}]
        started = time.perf_counter()
        run = run_stages(pool, [{"kind": "exact"}, {"kind": "fuzzy"}], folder / "store")
        print(f"{count:,} rows of {WORDS} words: {time.perf_counter() - started:.0f} s, "
              f"peak {peak_mb():,.0f} MiB in all")  # fmt: skip
        tell_steps(run)
        disk = sum(f.stat().st_size for f in (folder / "store").rglob("*") if f.is_file())
        print(f"  store: {disk / 2**20:,.0f} MiB; planted: {planted}")


def write_synthetic(path: Path, count: int) -> dict[str, int]:
    """Write rows of random words: 85 % new, 10 % another row with a word changed, 5 % copies."""
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{i}" for i in range(50_000)])
    planted = {"near": 0, "exact": 0}
    with path.open("w") as file:
        for start in range(0, count, 10_000):
            size = min(10_000, count - start)
            words = rng.zipf(1.3, size=(size, WORDS)) % len(vocabulary)
            kind = rng.random(size)
            source = rng.integers(0, max(size // 2, 1), size)
            copied = (kind > 0.85) & (np.arange(size) >= size // 2)
            words[copied] = words[source[copied]]
            near = copied & (kind <= 0.95)
            at = rng.integers(0, WORDS, size)
            words[near, at[near]] = rng.integers(0, len(vocabulary), int(near.sum()))
            planted["near"] += int(near.sum())
            planted["exact"] += int((copied & ~near).sum())
            for line in vocabulary[words]:
                prompt, answer = " ".join(line[:40]), " ".join(line[40:])
                file.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")
    return planted


def main() -> None:
    """Run one of the parts."""
    if sys.argv[1:2] == ["_stages"]:
        stages_job(json.loads(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=["bundled", "real", "answers", "million"])
    parser.add_argument("arguments", nargs="*")
    parser.add_argument("--peers")
    parser.add_argument("--text-dedup")
    given = parser.parse_args()
    if given.part == "bundled":
        bundled()
    elif given.part == "answers":
        answers(given.arguments)
    elif given.part == "real":
        real(given.arguments, given.peers, given.text_dedup)
    else:
        million(int(given.arguments[0]) if given.arguments else 1_000_000)


if __name__ == "__main__":
    main()
