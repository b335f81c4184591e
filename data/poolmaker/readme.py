"""The README of the data folder, with its counts taken from the rows themselves."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from .base import Draft, Family
from .corpus import COUNT
from .refusals import REQUESTS
from .rows import FILES, Row, record, text_of

TEXT = """# Bundled pool

A made-up pool of instruction rows for trying out and testing `curate`. All texts come from the
templates in `poolmaker/`; nothing is taken from another data set, and the people in it are only
first names. {total} pool rows over {families} task families, {target} target examples and
{held_out} held-out eval examples of one of these families, `{name}`.

That family turns a casual message about an appointment into its weekday and time in one fixed form,
`Fri 15:25`, with `-` for what the message leaves out. The prompts never state the form. {target_rows}
of the {total} rows ({share:.1f} %) are of this family, {target_clean} of them clean.

## Files

| file | rows | what it is |
| --- | ---: | --- |
{files}
| `target.jsonl` | {target} | target examples |
| `eval.jsonl` | {held_out} | eval examples, not to be trained on |
| `watch.jsonl` | {watch} | held-out examples of the other families: what tuning must not harm |
| `watch-refusals.jsonl` | {refusals} | requests to decline, and how: to be watched as well |
| `truth.jsonl` | {total} | one line for every pool row, in pool order |
| `corpus.jsonl` | {documents} | raw documents to make rows from; three fifths speak of dates |

Rows have {mean:.0f} words on average, prompt and response together, and {most} at most.

One row of each file:

{samples}

`truth.jsonl` names a row by file and position: the line number in `.jsonl` and `.jsonl.gz`, the
element number in the `.json` array, both from 1. Its `family` repeats the row's `task`, also where
an off-topic row only claims it. `correct_response` is given for wrong answers and for leaks with
another response.

The `licence` values in `pairs.jsonl` are made up like the rest, to have something to filter by.

## Families

| family | task | rows | clean |
| --- | --- | ---: | ---: |
{family_table}

## Defects

| defect | rows | meaning |
| --- | ---: | --- |
{defect_table}

Of two twins the later one in pool order (files by name, then position) carries the defect. Clean
rows share less than half of their word 5-grams (Jaccard) with each other, and near-duplicates
between 0.7 and 0.95 with their twin. A leaked row covers more than half of the words of an eval
prompt with shared word 8-grams; no other row does, and no target example. Of a prompt of the
watch sets no row covers as much.

## Regenerate

    python data/make_pool.py

It needs Python 3.11 and nothing else. `--seed` (0) and `--out` (this folder) are its options.
This file is written by the same command.

## Licence

Apache-2.0, as the project.
"""

MEANINGS = {
    "exact_duplicate": "copy of an earlier row, the same up to white space and Unicode form",
    "near_duplicate": "copy of an earlier row with a few words changed",
    "wrong_answer": "response of the right form with wrong content",
    "leaked_eval": "an eval prompt, verbatim, in longer text or with few words changed",
    "empty": "no prompt or no response",
    "broken": "not a usable row: invalid JSON or UTF-8, a missing field, a wrong type or role",
    "off_topic": "scraping leftovers as prompt, response or both",
}
ABOUT_FILES = (
    "instruction, input and output, gzipped", "messages, some with a system turn or several turns",
    "prompt and completion, with a licence field", "one JSON array of questions and answers",
)  # fmt: skip


def sample(title: str, value: object) -> str:
    return f"`{title}`\n\n```json\n{json.dumps(value, ensure_ascii=False)}\n```"


def shortest(rows: Sequence[Row]) -> Row:
    """A row that shows the format without filling the page."""
    sound = [row for row in rows if row.defect is None and len(row.response) > 20]
    return min(sound, key=lambda row: (len(text_of(row.turns)), row.row_id))


def samples(files: dict[str, list[Row]], target: dict[str, Draft]) -> str:
    parts = [sample(f"pool/{name}", record(shortest(rows))) for name, rows in files.items()]
    name, draft = min(target.items(), key=lambda item: len(item[1].prompt))
    turns = [
        {"role": "user", "content": draft.prompt},
        {"role": "assistant", "content": draft.response},
    ]
    parts.append(sample("target.jsonl", {"id": name, "messages": turns}))
    return "\n\n".join(parts)


def readme(
    files: dict[str, list[Row]],
    families: Sequence[Family],
    target: dict[str, Draft],
    held_out: dict[str, Draft],
    watch: int,
) -> str:
    rows = [row for members in files.values() for row in members]
    lengths = [len(text_of(row.turns).split()) for row in rows if row.defect != "broken"]
    all_of = Counter(row.family for row in rows)
    clean = Counter(row.family for row in rows if row.defect is None)
    defects = Counter(row.defect for row in rows if row.defect)
    name = families[0].name
    return TEXT.format(
        total=len(rows),
        documents=COUNT,
        watch=watch,
        refusals=len(REQUESTS),
        families=len(families),
        target=len(target),
        held_out=len(held_out),
        name=name,
        target_rows=all_of[name],
        target_clean=clean[name],
        share=100 * all_of[name] / len(rows),
        mean=sum(lengths) / len(lengths),
        most=max(lengths),
        files="\n".join(
            f"| `pool/{file}` | {len(files[file])} | {about} |"
            for file, about in zip(FILES, ABOUT_FILES, strict=True)
        ),
        samples=samples(files, target),
        family_table="\n".join(
            f"| `{f.name}` | {f.about} | {all_of[f.name]} | {clean[f.name]} |" for f in families
        ),
        defect_table="\n".join(
            f"| `{defect}` | {defects[defect]} | {meaning} |"
            for defect, meaning in MEANINGS.items()
        )
        + f"\n| none | {len(rows) - sum(defects.values())} | clean |",
    )
