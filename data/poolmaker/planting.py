"""The defects planted into the pool, each known to the truth file."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice

from .base import Draft, Family, ask, capital
from .noise import noise
from .overlap import NEAR_GRAM, Guard, grams, tokens
from .rows import ALPACA, CHAT, FILES, PAIRS, QA, Row, draw_extra, dumped, record, single_turn
from .words import draw

NEAR_RANGE = (0.72, 0.93)
LEAK_RANGE = (0.55, 0.99)
ATTEMPTS = 4000

Damage = Callable[[random.Random, Row], bytes]


def spread(families: Sequence[Family], count: int) -> Iterator[Family]:
    return islice(cycle(families), count)


def any_file(rng: random.Random) -> str:
    return rng.choice(FILES)


# Duplicates


def respaced(rng: random.Random, text: str) -> str:
    """The same words with other white space between and around them."""
    spaces = [space.start() for space in re.finditer(" ", text)]
    for at in sorted(rng.sample(spaces, min(3, len(spaces))), reverse=True):
        text = text[:at] + rng.choice(("  ", "   ", " \t")) + text[at + 1 :]
    return rng.choice(("", " ", "  ")) + text + rng.choice((" ", "\n", "  "))


def exact_copy(rng: random.Random, twin: Row, style: str) -> Row:
    prompt, response = twin.prompt, twin.response
    if style == "white space":
        prompt = respaced(rng, prompt)
    elif style == "normalisation form":
        prompt, response = (unicodedata.normalize("NFD", text) for text in (prompt, response))
    file = any_file(rng)
    reason = "same bytes" if style == "none" else f"differs in {style}"
    return Row(
        twin.family, file, single_turn(prompt, response), draw_extra(rng, file),
        "exact_duplicate", twin, reason=reason,
    )  # fmt: skip


def exact_copies(rng: random.Random, clean: Sequence[Row], count: int) -> list[Row]:
    """Copies of one family's rows: half in the same bytes, half in an equivalent text."""
    accented = [row for row in clean if row.prompt != unicodedata.normalize("NFD", row.prompt)]
    plain = [row for row in clean if row not in accented]
    copies = []
    for number in range(count):
        style = ("none", "normalisation form", "none", "white space")[number % 4]
        if style == "normalisation form" and not accented:
            style = "white space"
        source = accented if style == "normalisation form" else plain
        copies.append(exact_copy(rng, source.pop(rng.randrange(len(source))), style))
    return copies


OPENINGS = (
    "Hi, ", "Hello there. ", "Please help. ", "Good day! ", "One more: ", "Hey, quick thing. ",
    "For later: ", "A question. ", "Next one. ", "Dear assistant, ", "Ok, so: ", "Right. ",
)  # fmt: skip
CLOSINGS = (
    " Thanks.", " Thank you!", " Many thanks.", " Cheers.", " Much obliged.", " No rush.",
    " Bye for now.", " Take your time.",
)  # fmt: skip
# Only words that never carry the task: numbers, names and the material stay as they are.
SWAPS = {
    "could you": "can you", "can you": "could you", "please": "kindly", "thanks": "thank you",
    "i need": "i want", "i want": "i need", "for me": "for us", "give me": "hand me",
    "briefly": "shortly", "tell me": "let me know", "sorry": "apologies", "good news": "great news",
    "what is": "what's", "how do i": "how can i", "honestly": "frankly", "finally": "at last",
    "i'm": "i am", "i've": "i have", "i'll": "i will", "don't": "do not",
}  # fmt: skip


def swapped(rng: random.Random, text: str) -> str:
    """Exchange one harmless word, if the text has any."""
    swappable = [word for word in SWAPS if re.search(rf"\b{word}\b", text, re.IGNORECASE)]
    if not swappable:
        return text
    word = rng.choice(swappable)

    def cased(match: re.Match[str]) -> str:
        return capital(SWAPS[word]) if match[0][0].isupper() else SWAPS[word]

    return re.sub(rf"\b{word}\b", cased, text, count=1, flags=re.IGNORECASE)


def reworded(rng: random.Random, prompt: str) -> str:
    if rng.random() < 0.5:
        prompt = swapped(rng, prompt)
    if rng.random() < 0.6:
        prompt = rng.choice(OPENINGS) + prompt
    if rng.random() < 0.5:
        prompt += rng.choice(CLOSINGS)
    return prompt


def jaccard(first: str, second: str) -> float:
    one, two = (grams(tokens(text), NEAR_GRAM) for text in (first, second))
    return len(one & two) / len(one | two)


def near_copy(rng: random.Random, twin: Row, free: Callable[[str], bool]) -> Row | None:
    """A reworded copy within the near-duplicate range, or nothing if the row is too short."""
    original = f"{twin.prompt}\n{twin.response}"
    for _ in range(60):
        prompt = reworded(rng, twin.prompt)
        text = f"{prompt}\n{twin.response}"
        if NEAR_RANGE[0] <= jaccard(original, text) <= NEAR_RANGE[1] and free(text):
            file = any_file(rng)
            return Row(
                twin.family, file, single_turn(prompt, twin.response), draw_extra(rng, file),
                "near_duplicate", twin, reason="a few words differ",
            )  # fmt: skip
    return None


# Leaks

EMBEDDINGS = (
    "[My|A] colleague {name} [forwarded|sent] [me|us] this one: {p} [Do|Handle] it as you would.",
    "[Item|Task] {n} on {day}'s list. {p} That was all, {name} [said|wrote].",
    "{p} And [after|once] that's done, we can talk about the {item} for the {group}.",
    "[Copied|Pasted] from the {building} chat: {p} ([sent|seen] in {month})",
    "Let's [practise|try] one together. {p} [Take|Use] the form we agreed on in {town}.",
)


def embedded(rng: random.Random, prompt: str) -> str:
    return ask(rng, EMBEDDINGS, **draw(rng), p=prompt)


def altered(rng: random.Random, prompt: str) -> str:
    return swapped(rng, swapped(rng, prompt))


def leak(
    rng: random.Random, family: Family, eval_id: str, draft: Draft, style: str, guard: Guard
) -> Row | None:
    """A pool row that gives an eval example away, or nothing if the style does not suit it."""
    prompt, response = draft.prompt, draft.response
    if style in ("embedded", "altered"):
        change = embedded if style == "embedded" else altered
        prompt = change(rng, prompt)
        share = guard.coverage(prompt).get(eval_id, 0.0)
        if prompt == draft.prompt or share < LEAK_RANGE[0]:
            return None
        if style == "altered" and share > LEAK_RANGE[1]:
            return None
    correct = None
    if style == "prompt only":
        response, correct = draft.wrong, draft.response
    file = any_file(rng)
    return Row(
        family.name, file, single_turn(prompt, response), draw_extra(rng, file), "leaked_eval",
        eval_id=eval_id, correct=correct, reason=style,
    )  # fmt: skip


def leaks(
    rng: random.Random, family: Family, held_out: dict[str, Draft], guard: Guard
) -> list[Row]:
    styles = ["verbatim"] * 10 + ["embedded"] * 5 + ["altered"] * 5 + ["prompt only"] * 5
    names = list(held_out)
    rng.shuffle(names)
    rows: list[Row] = []
    for name in names:
        if not styles:
            break
        for style in sorted(set(styles)):
            if row := leak(rng, family, name, held_out[name], style, guard):
                rows.append(row)
                styles.remove(style)
                break
    return rows


# Empty, broken and off-topic rows


def empty_row(rng: random.Random, family: Family, number: int) -> Row:
    draft = family.make(rng)
    blank = ("", "   ", "\n", "", " \t ")[number % 5]
    if number % 3:
        prompt, response, reason = draft.prompt, blank, "no response"
    else:
        prompt, response, reason = blank, draft.response, "no prompt"
    file = FILES[number % len(FILES)]
    turns = single_turn(prompt, response)
    return Row(family.name, file, turns, draw_extra(rng, file), "empty", reason=reason)


def truncated(rng: random.Random, row: Row) -> bytes:
    text = json.dumps(record(row), ensure_ascii=False)
    return text[: rng.randrange(len(text) // 3, len(text) - 3)].encode()


def as_list(rng: random.Random, row: Row) -> bytes:
    return dumped([row.prompt, row.response])


def as_string(rng: random.Random, row: Row) -> bytes:
    return dumped(f"{row.prompt} {row.response}")


def as_number(rng: random.Random, row: Row) -> bytes:
    return dumped(rng.randrange(100, 10000))


def without(*names: str) -> Damage:
    def damage(rng: random.Random, row: Row) -> bytes:
        return dumped({key: value for key, value in record(row).items() if key not in names})

    return damage


def with_value(name: str, value: object) -> Damage:
    def damage(rng: random.Random, row: Row) -> bytes:
        return dumped(record(row) | {name: value})

    return damage


def unknown_role(rng: random.Random, row: Row) -> bytes:
    fields = record(row)
    fields["messages"][0]["role"] = rng.choice(("narrator", "customer"))
    return dumped(fields)


def no_last_answer(rng: random.Random, row: Row) -> bytes:
    fields = record(row)
    fields["messages"].append({"role": "user", "content": "And then?"})
    return dumped(fields)


def bad_utf8(rng: random.Random, row: Row) -> bytes:
    line = dumped(record(row))
    at = line.index(b" ", len(line) // 2)
    return line[:at] + rng.choice((b"\xff\xfe", b"\xc3\x28", b"\xe9 ")) + line[at:]


def lone_surrogate(rng: random.Random, row: Row) -> bytes:
    line = dumped(record(row))
    answer = dumped(row.response)
    return line.replace(answer, answer[:-1] + rng.choice((b"\\ud83d", b"\\udc00")) + b'"')


DAMAGES: tuple[tuple[str, str, Damage], ...] = (
    (CHAT, "invalid JSON", truncated), (CHAT, "invalid JSON", truncated),
    (CHAT, "not an object", as_list), (CHAT, "missing field", without("messages")),
    (CHAT, "wrong type", with_value("messages", "user: hello, assistant: hello")),
    (CHAT, "unknown role", unknown_role), (CHAT, "no messages", with_value("messages", [])),
    (CHAT, "last turn is not the assistant's", no_last_answer),
    (CHAT, "invalid UTF-8", bad_utf8), (CHAT, "lone surrogate", lone_surrogate),
    (ALPACA, "invalid JSON", truncated), (ALPACA, "not an object", as_number),
    (ALPACA, "missing field", without("output")),
    (ALPACA, "wrong type", with_value("instruction", 42)), (ALPACA, "invalid UTF-8", bad_utf8),
    (PAIRS, "invalid JSON", truncated), (PAIRS, "missing field", without("completion")),
    (PAIRS, "wrong type", with_value("completion", ["one", "two"])),
    (PAIRS, "lone surrogate", lone_surrogate), (PAIRS, "not an object", as_string),
    (PAIRS, "invalid UTF-8", bad_utf8),
    (QA, "missing field", without("answer")), (QA, "wrong type", with_value("answer", None)),
    (QA, "wrong type", with_value("question", ["why", "how"])), (QA, "not an object", as_string),
)  # fmt: skip


def broken_rows(rng: random.Random, families: Sequence[Family]) -> list[Row]:
    rows = []
    for family, (file, reason, damage) in zip(spread(families, len(DAMAGES)), DAMAGES, strict=True):
        draft = family.make(rng)
        turns = single_turn(draft.prompt, draft.response)
        row = Row(family.name, file, turns, draw_extra(rng, file), "broken", reason=reason)
        row.raw = damage(rng, row)
        rows.append(row)
    return rows


def off_topic_row(rng: random.Random, family: Family, number: int) -> Row:
    draft = family.make(rng)
    prompt, response, reason = (
        (noise(rng), noise(rng), "prompt and response are noise"),
        (noise(rng), draft.response, "the prompt is noise"),
        (draft.prompt, noise(rng), "the response is noise"),
    )[number % 3]
    file = any_file(rng)
    turns = single_turn(prompt, response)
    return Row(family.name, file, turns, draw_extra(rng, file), "off_topic", reason=reason)
