"""The process that compares mathematical answers: math-verify behind limits of memory and time.

Reads a line of JSON for each comparison, [gold, answer], both LaTeX, and writes a line: true, false, or
null where one of them cannot be read. A line [gold] asks whether that can be read. What takes more than
some seconds of processor time (the first argument) ends the process, and what takes more memory than
MEMORY is null.

It is run as a file and imports nothing of ours, since an expression that somebody sent is worked on
here: no keys in the environment, no writing of files.
"""

import json
import logging
import resource
import sys
from typing import Any

from latex2sympy2_extended.latex2sympy2 import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

MEMORY = 1 << 30
READ = [
    LatexExtractionConfig(
        boxed_match_priority=-1,
        # Units are read before, by a list: here all would be taken off unseen.
        normalization_config=NormalizationConfig(
            basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none",
            equations=False,
        ),
    )
]  # fmt: skip


def read(text: str) -> list[Any]:
    """Return the expressions that a text is; none if it cannot be read."""
    # The kernel's limits end what takes too long; the library's own alarm cannot.
    return list(parse(f"${text}$", READ, fallback_mode="no_fallback", parsing_timeout=None))


def compare(gold: str, answer: str | None = None) -> bool | None:
    """Return whether an answer equals the gold one; None where it cannot be said."""
    try:
        golds = read(gold)
        if answer is None:
            return bool(golds) or None
        answers = read(answer) if golds else []
        if not golds or not answers:
            return None
        return bool(verify(golds, answers, timeout_seconds=None, raise_on_error=True))
    except (Exception, RecursionError, MemoryError):
        return None


def limit_time(seconds: int) -> None:
    """Give the next comparison its share of processor time; the kernel ends the process behind it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    whole = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (whole, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def main() -> None:
    """Answer lines until there are no more."""
    logging.disable(logging.CRITICAL)
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)
    ):  # fmt: skip
        resource.setrlimit(limit, (value, value))
    for line in sys.stdin:
        limit_time(int(sys.argv[1]))
        sys.stdout.write(json.dumps(compare(*json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
