"""What the vllm engine costs beside vLLM itself: the same prompts, model and process, turn about.

    VLLM_CPU_KVCACHE_SPACE=1 .venv-vllm/bin/python tests/benchmarks/bench_vllm.py [CALLS]

CALLS (64) chats of several lengths, sampled with a seed, 64 tokens each. "direct" hands vLLM the
conversations themselves, as its users do (LLM.chat); "engine" is curate's, which renders and tokenises
them. "client" adds what a run adds: limits, bill and a cache on disk, empty at first. Prefix caching is
off, so that no round profits from the one before. Prints tokens a second of each round, the ratios of
the medians, and the peak memory.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from curate.llm.ask import EngineClient
from curate.llm.cache import Cache
from curate.llm.engines.loading import load_engine
from curate.llm.engines.parameters import VllmParams
from curate.llm.requests import Call, Request, Sampling, chat

ROUNDS = 3
TOKENS = 64
WORDS = ["river", "stone", "winter", "market", "letter", "garden", "engine", "harbour", "copper"]


def requests_of(count: int, salt: int) -> list[Request]:
    """Return chats of 10 to 120 words; the salt makes other ones of the same lengths."""
    requests = []
    for k in range(count):
        words = [WORDS[(k * 7 + salt + i) % len(WORDS)] for i in range(10 + k * 37 % 110)]
        sampling = Sampling(temperature=0.8, top_p=0.95, max_tokens=TOKENS, seed=1_000 * salt + k)
        requests.append(
            chat(f"Number {k}. Write a story with these: {' '.join(words)}", sampling=sampling)
        )
    return requests


def direct(engine: Any, requests: list[Request]) -> int:
    from vllm import SamplingParams

    sampling = [
        SamplingParams(temperature=0.8, top_p=0.95, max_tokens=TOKENS, seed=Call(r).server_seed)
        for r in requests
    ]
    chats: Any = [[dict(m) for m in r.messages] for r in requests]
    outputs = engine._llm.chat(chats, sampling, use_tqdm=False)
    return sum(len(o.outputs[0].token_ids) for o in outputs)


def through_engine(engine: Any, requests: list[Request]) -> int:
    return sum(c.completion_tokens for c in engine.complete([Call(r) for r in requests]))


def through_asker(engine: Any, requests: list[Request]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        client = EngineClient(engine, cache=Cache(Path(folder) / "completions.sqlite"))
        client.ask(requests, stage="bench")
        return client.bill.total().completion_tokens


def main() -> None:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    models: Any = SimpleNamespace(base="smollm2-135m", dtype="bfloat16", trust_remote_code=False)
    options = {"enforce_eager": True, "enable_prefix_caching": False}
    engine: Any = load_engine(VllmParams(context=2_048, options=options), models)
    ways = {"direct": direct, "engine": through_engine, "client": through_asker}
    for way in ways.values():
        way(engine, requests_of(8, 99))
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name, way in ways.items():
            requests = requests_of(count, number)
            started = time.perf_counter()
            tokens = way(engine, requests)
            speeds[name].append(tokens / (time.perf_counter() - started))
            print(
                f"round {number} {name:<8}{tokens:>7} tokens {speeds[name][-1]:>8.1f} tokens/s",
                flush=True,
            )
    engine.close()
    base = statistics.median(speeds["direct"])
    for name, rates in speeds.items():
        median = statistics.median(rates)
        print(f"{name:<8} median {median:.1f} tokens/s, ratio {median / base:.3f}")
    peak = sum(
        resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"peak memory, both processes: {peak / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
