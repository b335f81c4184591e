"""What generation methods ask and make at most."""

from curate.estimate.lines import EstimateLine
from curate.generate.generation import Generator
from curate.generate.settings import GenerationSettings


def generation_lines(
    settings: GenerationSettings, targets: int, pool_rows: int, prompts: int = 0
) -> list[EstimateLine]:
    """Return a line for each method that makes rows, and one for the pool with these."""
    lines = [
        _method_line(
            params, settings, prompts if "prompts" in params.needed() else targets, pool_rows
        )
        for params in settings.methods
    ]
    generated_rows = sum(line.rows for line in lines)
    summary = f"{pool_rows:,} of the pool and up to {generated_rows:,} made"
    limits = [(name, getattr(settings.limits, name)) for name in ("calls", "tokens", "cost")]
    set_limits = ", ".join(f"{limit:,} {name}" for name, limit in limits if limit is not None)
    if set_limits:
        summary += f"; the limits: {set_limits}"
    return [*lines, EstimateLine("joined", pool_rows + generated_rows, summary, up_to=True)]


def _method_line(
    generator: Generator, settings: GenerationSettings, targets: int, pool_rows: int
) -> EstimateLine:
    """Return what a method asks and makes at most, within the limits."""
    limits, work = settings.limits, generator.cost(targets, pool_rows)
    calls = work.calls if limits.calls is None else min(work.calls, limits.calls)
    rows = work.calls if work.rows is None else work.rows
    if not work.calls:
        return EstimateLine("generate", rows, f"{generator.method}, no calls", 0, up_to=True)
    # Where the limit cuts calls off, no more rows can come than those calls would bring.
    rows = min(rows, -(-rows // work.calls) * calls)
    longest = calls * work.answer_tokens
    # The calls that a limit leaves may be those with the longest answers.
    tokens = longest if work.written_tokens is None else min(longest, work.written_tokens)
    summary = f"{generator.method}, at most {calls:,} calls"
    cut = f" (limits.calls; {work.calls:,} without)"
    summary += cut if calls < work.calls else " and answers drawn anew"
    summary += f", answers up to {work.answer_tokens:,} tokens" if work.answer_tokens else ""
    if limits.tokens is not None:
        tokens = min(tokens, limits.tokens)
    return EstimateLine("generate", rows, summary, tokens, up_to=True)
