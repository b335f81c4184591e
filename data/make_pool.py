"""Write the bundled pool, its target and eval examples, its truth file and its README.

Everything comes from the templates in ``poolmaker`` and one seed; the same seed gives the
same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from poolmaker import appointment, extraction, knowledge, lexical, numbers, planting, reading
from poolmaker.base import Draft, Family
from poolmaker.corpus import documents
from poolmaker.dialogue import dressed
from poolmaker.overlap import Guard, Ledger, collapsed, tokens
from poolmaker.readme import readme
from poolmaker.refusals import refusals
from poolmaker.rows import (
    CHAT,
    FILE_CYCLE,
    FILES,
    Row,
    Turn,
    draw_extra,
    file_bytes,
    messages,
    single_turn,
    text_of,
)

TARGET_COUNT = 20
EVAL_COUNT = 120
WATCH_COUNT = 60
COPIES_PER_FAMILY = 4
WRONG_TARGET = 15
WRONG_OTHERS = 85
EMPTY_COUNT = 15
OFF_TOPIC_COUNT = 60

# Stricter than the rules the pool promises, so that another tokeniser does not cross them.
NEAR_LIMIT = 0.45
LEAK_LIMIT = 0.42
WORD_LIMIT = 110
# A shorter eval prompt could not be leaked in part.
EVAL_MIN_WORDS = 18

TARGET = appointment.FAMILY
OTHERS: tuple[Family, ...] = (
    *extraction.FAMILIES,
    *numbers.FAMILIES,
    *lexical.FAMILIES,
    *reading.FAMILIES,
    *knowledge.FAMILIES,
)


class Builder:
    """Collects rows that keep their distance from one another and from the eval examples."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.ledger = Ledger()
        self.guard = Guard()
        self.seen: set[str] = set()
        self.rows: list[Row] = []

    def rng(self, stage: str) -> random.Random:
        # A stream per stage keeps one family's templates from reshuffling all the others.
        return random.Random(f"{self.seed}:{stage}")

    def admits(self, text: str) -> bool:
        return (
            len(text.split()) <= WORD_LIMIT
            and collapsed(text) not in self.seen
            and self.guard.worst(text) <= LEAK_LIMIT
            and self.ledger.closest(text) < NEAR_LIMIT
        )

    def enter(self, text: str) -> None:
        self.ledger.add(text)
        self.seen.add(collapsed(text))

    def keep(self, row: Row) -> None:
        self.enter(text_of(row.turns))
        self.rows.append(row)

    def examples(self, prefix: str, count: int, digits: int) -> dict[str, Draft]:
        """Fresh target-family examples, guarded from then on."""
        rng = self.rng(prefix)
        drafts: dict[str, Draft] = {}
        while len(drafts) < count:
            draft = TARGET.make(rng)
            text = f"{draft.prompt}\n{draft.response}"
            if len(tokens(draft.prompt)) < EVAL_MIN_WORDS or not self.admits(text):
                continue
            self.enter(text)
            drafts[f"{prefix}-{len(drafts) + 1:0{digits}d}"] = draft
        for name, draft in drafts.items():
            self.guard.add(name, draft.prompt)
        return drafts

    def watched(self, count: int) -> dict[str, Draft]:
        """Held-out examples of the other families, drawn when the pool is done; it stays as it is."""
        rng = self.rng("watch")
        drafts: dict[str, Draft] = {}
        for number, family in enumerate(planting.spread(OTHERS, count)):
            draft = family.make(rng)
            while not self.keeps_apart(draft):
                draft = family.make(rng)
            self.enter(f"{draft.prompt}\n{draft.response}")
            drafts[f"watch-{number + 1:02d}"] = draft
        return drafts

    def keeps_apart(self, draft: Draft) -> bool:
        """Whether the pool neither holds an example nor gives its prompt away."""
        prompt = Guard()
        prompt.add("watch", draft.prompt)
        given_away = max(prompt.worst(text_of(row.turns)) for row in self.rows)
        return given_away <= LEAK_LIMIT and self.admits(f"{draft.prompt}\n{draft.response}")

    def fresh(self, rng: random.Random, family: Family, file: str, spoil: bool) -> Row:
        """A new row of the family, right or wrong, at a distance from all rows so far."""
        for _ in range(planting.ATTEMPTS):
            draft = family.make(rng)
            answer = draft.wrong if spoil else draft.response
            turns: tuple[Turn, ...] = single_turn(draft.prompt, answer)
            if file == CHAT:
                turns = dressed(rng, family, draft, answer)
            if draft.wrong == draft.response or not self.admits(text_of(turns)):
                continue
            row = Row(family.name, file, turns, draw_extra(rng, file))
            if spoil:
                row.defect, row.correct, row.reason = "wrong_answer", draft.response, draft.reason
            return row
        raise RuntimeError(f"family {family.name} has too few distinct rows")

    def add_fresh(self, family: Family, count: int, spoil: bool) -> None:
        rng = self.rng(f"{family.name}:{'wrong' if spoil else 'clean'}")
        start = rng.randrange(len(FILE_CYCLE))
        for number in range(count):
            file = FILE_CYCLE[(start + number) % len(FILE_CYCLE)]
            self.keep(self.fresh(rng, family, file, spoil))

    def add_copies(self, family: Family) -> None:
        rng = self.rng(f"{family.name}:copies")
        clean = [
            row for row in self.rows
            if row.family == family.name and row.defect is None and row.single
        ]  # fmt: skip
        copies = planting.exact_copies(rng, clean, COPIES_PER_FAMILY)
        copied = [row.twin for row in copies]
        # One twin each: a longer chain would have no single original.
        rest = [row for row in clean if not any(row is twin for twin in copied)]
        rng.shuffle(rest)
        for twin in rest:
            if len(copies) == 2 * COPIES_PER_FAMILY:
                break
            if row := planting.near_copy(rng, twin, self.near_at_most_one):
                self.ledger.add(text_of(row.turns))
                copies.append(row)
        if len(copies) < 2 * COPIES_PER_FAMILY:
            raise RuntimeError(f"family {family.name} has too few rows to copy")
        self.rows += copies

    def near_at_most_one(self, text: str) -> bool:
        """Whether a reworded row is near its twin alone."""
        near = sorted(self.ledger.overlaps(text).values(), reverse=True)
        apart = all(share < NEAR_LIMIT for share in near[1:])
        return apart and self.guard.worst(text) <= LEAK_LIMIT

    def add_spoiled(self, held_out: dict[str, Draft]) -> None:
        self.add_fresh(TARGET, WRONG_TARGET, spoil=True)
        for number, family in enumerate(OTHERS):
            share = WRONG_OTHERS // len(OTHERS) + (number < WRONG_OTHERS % len(OTHERS))
            self.add_fresh(family, share, spoil=True)
        for row in planting.leaks(self.rng("leaks"), TARGET, held_out, self.guard):
            self.rows.append(row)
        self.add_odd_rows()

    def add_odd_rows(self) -> None:
        rng = self.rng("odd")
        kinds = (
            (planting.empty_row, (TARGET, *OTHERS), EMPTY_COUNT),
            (planting.off_topic_row, OTHERS, OFF_TOPIC_COUNT),
        )
        for make, families, count in kinds:
            for number, family in enumerate(planting.spread(families, count)):
                row = make(rng, family, number)
                while not self.admits(text_of(row.turns)):
                    row = make(rng, family, number)
                self.keep(row)
        self.rows += planting.broken_rows(rng, (TARGET, *OTHERS))

    def in_order(self) -> dict[str, list[Row]]:
        """Shuffle each file, number its rows, and let the later twin carry the defect."""
        rng = self.rng("order")
        files = {name: [row for row in self.rows if row.file == name] for name in FILES}
        for name, rows in files.items():
            rng.shuffle(rows)
            for position, row in enumerate(rows, start=1):
                row.row_id = f"bundled/{name}:{position}"
        ordered = [row for rows in files.values() for row in rows]
        places = {row.row_id: place for place, row in enumerate(ordered)}
        for row in ordered:
            if row.twin and places[row.row_id] < places[row.twin.row_id]:
                turn_around(row)
        return files


def turn_around(row: Row) -> None:
    """Hand the defect over to a twin that comes later."""
    twin = row.twin
    assert twin is not None
    twin.defect, twin.reason, twin.twin = row.defect, row.reason, row
    row.defect, row.reason, row.twin = None, None, None


def truth_line(row: Row) -> dict[str, Any]:
    return {
        "row_id": row.row_id,
        "family": row.family,
        "defect": row.defect,
        "twin_id": row.twin.row_id if row.twin else None,
        "eval_id": row.eval_id,
        "correct_response": row.correct,
        "reason": row.reason,
    }


def jsonl(values: Iterable[object]) -> bytes:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()


def example_lines(drafts: dict[str, Draft]) -> bytes:
    return jsonl(
        {"id": name, "messages": messages(single_turn(draft.prompt, draft.response))}
        for name, draft in drafts.items()
    )


def build(seed: int) -> dict[str, bytes]:
    """All files, by their path below the output folder."""
    builder = Builder(seed)
    held_out = builder.examples("eval", EVAL_COUNT, digits=3)
    target = builder.examples("target", TARGET_COUNT, digits=2)
    for family in (TARGET, *OTHERS):
        builder.add_fresh(family, family.size, spoil=False)
    for family in (TARGET, *OTHERS):
        builder.add_copies(family)
    builder.add_spoiled(held_out)
    files = builder.in_order()
    outputs = {f"pool/{name}": file_bytes(name, rows) for name, rows in files.items()}
    outputs["target.jsonl"] = example_lines(target)
    outputs["eval.jsonl"] = example_lines(held_out)
    outputs["watch.jsonl"] = example_lines(builder.watched(WATCH_COUNT))
    outputs["watch-refusals.jsonl"] = jsonl(refusals())
    outputs["truth.jsonl"] = jsonl(truth_line(row) for rows in files.values() for row in rows)
    outputs["corpus.jsonl"] = jsonl(documents(seed))
    outputs["README.md"] = readme(files, (TARGET, *OTHERS), target, held_out, WATCH_COUNT).encode()
    return outputs


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the bundled pool.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    for name, content in build(arguments.seed).items():
        path = arguments.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
