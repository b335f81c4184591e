"""What prompts came to as preference pairs, for the report's section of `prefer`."""

import polars as pl

from curate.core.numerals import counted, number, percent
from curate.core.section import Bar, Block, DataTable, Heading, paragraph
from curate.generate.generator_section import GeneratorRecord

STATES = {
    "paired": "a pair: the judge is sure which answer is better",
    "undecided": "no pair: the judge is not sure enough",
    "unjudged": "no pair: the judge gave nothing usable in one of the orders",
    "no pair": "no pair: there were no two different answers",
    "unsent": "not judged, since a limit was reached",
}


def pairs_blocks(record: GeneratorRecord) -> tuple[Block, ...]:
    """Return how many prompts came to a pair and why others did not, none without their table."""
    name = f"generated/{record.outcome.method}-prompts"
    if not record.run.has(name):
        return ()
    prompts = record.run.table(name).collect()
    counts = dict(prompts.group_by("state").len().iter_rows())
    lines = tuple(
        (words, number(counts[state]), Bar(counts[state] / max(counts.values())))
        for state, words in STATES.items()
        if state in counts
    )
    paired = prompts.filter(state="paired")
    share = paired.height / max(prompts.height, 1)
    prompts_in_all = counted(prompts.height, "prompt")
    lead = f"{number(paired.height)} of {prompts_in_all} ({percent(share)}) came to a pair"
    median = paired.select(pl.col("confidence").median()).item()
    sureness = "" if median is None else f", with a median confidence of {median:.2f}"
    return (
        Heading("Pairs"),
        paragraph(f"{lead}{sureness}."),
        DataTable(("Prompts that came to …", "#Prompts", ""), lines),
    )
