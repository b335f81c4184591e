"""The bundled pool: it regenerates, its truth file adds up, and the planted rows are as stated.

The overlap rules are written out again here, so that a slip in the generator cannot hide itself.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "data"
POOL_FILES = ("alpaca.jsonl.gz", "chat.jsonl", "pairs.jsonl", "qa.json")
WRITTEN = (
    *(f"pool/{name}" for name in POOL_FILES),
    "target.jsonl",
    "eval.jsonl",
    "watch.jsonl",
    "watch-refusals.jsonl",
    "truth.jsonl",
    "corpus.jsonl",
    "README.md",
)
TARGET_FAMILY = "appointment_line"
ANSWER = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun|-) (\d\d:\d\d|-)")
ROLES = {"system", "user", "assistant"}

Turns = list[tuple[str, str]]


def unzipped(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def parsed(line: bytes) -> Any:
    """The JSON value of a line, or the error that reading it gives."""
    try:
        value = json.loads(line.decode())
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        return error
    return value


def pool_values() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in POOL_FILES:
        content = unzipped(DATA / "pool" / name)
        if name.endswith(".json"):
            members = json.loads(content)
        else:
            members = [parsed(line) for line in content.rstrip(b"\n").split(b"\n")]
        for position, value in enumerate(members, start=1):
            values[f"bundled/{name}:{position}"] = value
    return values


def turns_of(value: Any) -> Turns | None:
    """The conversation in a row of any of the four formats; nothing if the row is unusable."""
    if not isinstance(value, dict):
        return None
    if "messages" in value:
        return chat_turns(value["messages"])
    for prompt, response in (
        ("prompt", "completion"),
        ("question", "answer"),
        ("instruction", "output"),
    ):
        if isinstance(value.get(prompt), str) and isinstance(value.get(response), str):
            parts = [value[prompt], value.get("input") or ""]
            text = "\n\n".join(part for part in parts if part)
            return [("user", text), ("assistant", value[response])]
    return None


def chat_turns(messages: Any) -> Turns | None:
    if not isinstance(messages, list) or not messages:
        return None
    turns = [(message["role"], message["content"]) for message in messages]
    roles_fit = all(role in ROLES for role, _ in turns)
    return turns if roles_fit and turns[-1][0] == "assistant" else None


def jsonl(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


def text_of(turns: Turns) -> str:
    return "\n".join(content for _, content in turns)


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text).lower())


def runs(words: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}


def jaccard(first: set[tuple[str, ...]], second: set[tuple[str, ...]]) -> float:
    return len(first & second) / max(1, len(first | second))


@cache
def prompt_runs(prompt: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    return frozenset(runs([*prompt], 8))


def coverage(prompt: list[str], text_runs: set[tuple[str, ...]]) -> float:
    if text_runs.isdisjoint(prompt_runs(tuple(prompt))):
        return 0.0
    covered = [False] * len(prompt)
    for at in range(len(prompt) - 7):
        if tuple(prompt[at : at + 8]) in text_runs:
            covered[at : at + 8] = [True] * 8
    return sum(covered) / len(prompt)


def collapsed(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


@pytest.fixture(scope="module")
def pool() -> dict[str, Any]:
    return pool_values()


@pytest.fixture(scope="module")
def truth() -> list[dict[str, Any]]:
    return jsonl("truth.jsonl")


@pytest.fixture(scope="module")
def usable(pool: dict[str, Any]) -> dict[str, Turns]:
    turns = {row_id: turns_of(value) for row_id, value in pool.items()}
    return {row_id: row_turns for row_id, row_turns in turns.items() if row_turns}


@pytest.fixture(scope="module")
def eval_prompts() -> dict[str, list[str]]:
    return {row["id"]: words_of(row["messages"][0]["content"]) for row in jsonl("eval.jsonl")}


def with_defect(truth: list[dict[str, Any]], defect: str | None) -> list[dict[str, Any]]:
    return [line for line in truth if line["defect"] == defect]


def leaked(prompts: dict[str, list[str]], text: str) -> dict[str, float]:
    text_runs = runs(words_of(text), 8)
    shares = {name: coverage(prompt, text_runs) for name, prompt in prompts.items()}
    return {name: share for name, share in shares.items() if share > 0.5}


@pytest.mark.system
def test_regeneration_gives_the_committed_bytes(tmp_path: Path) -> None:
    script = DATA / "make_pool.py"
    subprocess.run([sys.executable, "-B", script, "--out", tmp_path], check=True)
    for name in WRITTEN:
        # Compressed bytes may differ between zlib builds; what is inside may not.
        assert unzipped(tmp_path / name) == unzipped(DATA / name), name


def test_gzip_header_names_no_file_and_no_time() -> None:
    header = (DATA / "pool" / "alpaca.jsonl.gz").read_bytes()[:8]
    assert header[3] == 0
    assert header[4:8] == bytes(4)


def test_every_row_has_one_truth_line(pool: dict[str, Any], truth: list[dict[str, Any]]) -> None:
    assert [line["row_id"] for line in truth] == list(pool)
    assert 1400 <= len(truth) <= 1700
    assert len({line["family"] for line in truth}) == 20


def test_defect_counts(truth: list[dict[str, Any]]) -> None:
    counts = Counter(line["defect"] for line in truth)
    clean = counts.pop(None)
    assert counts == {
        "exact_duplicate": 80,
        "near_duplicate": 80,
        "wrong_answer": 100,
        "leaked_eval": 25,
        "empty": 15,
        "broken": 25,
        "off_topic": 60,
    }
    assert clean == len(truth) - 385
    wrong = with_defect(truth, "wrong_answer")
    assert sum(line["family"] == TARGET_FAMILY for line in wrong) == 15


def test_every_family_is_in_every_file(truth: list[dict[str, Any]]) -> None:
    places = {(line["family"], line["row_id"].split(":")[0]) for line in with_defect(truth, None)}
    assert len(places) == 20 * len(POOL_FILES)


def test_target_family_is_rare(truth: list[dict[str, Any]]) -> None:
    rows = [line for line in truth if line["family"] == TARGET_FAMILY]
    assert len(rows) < 0.1 * len(truth)
    assert sum(line["defect"] is None for line in rows) == 90


def test_task_field_names_the_family(pool: dict[str, Any], truth: list[dict[str, Any]]) -> None:
    for line in truth:
        value = pool[line["row_id"]]
        if isinstance(value, dict) and line["defect"] != "broken":
            assert value["task"] == line["family"]


def test_exactly_the_broken_rows_are_unusable(
    usable: dict[str, Turns], truth: list[dict[str, Any]]
) -> None:
    broken = {line["row_id"] for line in with_defect(truth, "broken")}
    assert broken == {line["row_id"] for line in truth} - set(usable)


def test_exactly_the_empty_rows_are_empty(
    usable: dict[str, Turns], truth: list[dict[str, Any]]
) -> None:
    empty = {
        row_id
        for row_id, turns in usable.items()
        if any(not content.strip() for _, content in turns)
    }
    assert empty == {line["row_id"] for line in with_defect(truth, "empty")}


def test_exact_duplicates(usable: dict[str, Turns], truth: list[dict[str, Any]]) -> None:
    order = {line["row_id"]: place for place, line in enumerate(truth)}
    defects = {line["row_id"]: line["defect"] for line in truth}
    same_bytes = 0
    for line in with_defect(truth, "exact_duplicate"):
        copy, twin = usable[line["row_id"]], usable[line["twin_id"]]
        assert order[line["twin_id"]] < order[line["row_id"]]
        assert defects[line["twin_id"]] is None
        assert [collapsed(text) for _, text in copy] == [collapsed(text) for _, text in twin]
        same_bytes += copy == twin
    assert same_bytes == 40


def test_clean_rows_are_apart(usable: dict[str, Turns], truth: list[dict[str, Any]]) -> None:
    texts = [text_of(usable[line["row_id"]]) for line in with_defect(truth, None)]
    assert len({collapsed(text) for text in texts}) == len(texts)
    shingles = [runs(words_of(text), 5) for text in texts]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, row_shingles in enumerate(shingles):
        for shingle in row_shingles:
            holders[shingle].append(number)
    # Rows that share no shingle have a similarity of zero.
    pairs = {pair for numbers in holders.values() for pair in combinations(numbers, 2)}
    assert 0 < max(jaccard(shingles[one], shingles[two]) for one, two in pairs) < 0.5


def test_near_duplicates(usable: dict[str, Turns], truth: list[dict[str, Any]]) -> None:
    order = {line["row_id"]: place for place, line in enumerate(truth)}
    for line in with_defect(truth, "near_duplicate"):
        copy, twin = usable[line["row_id"]], usable[line["twin_id"]]
        shares = (runs(words_of(text_of(turns)), 5) for turns in (copy, twin))
        assert order[line["twin_id"]] < order[line["row_id"]]
        assert copy[-1] == twin[-1]
        assert 0.7 <= jaccard(*shares) <= 0.95


def test_wrong_answers_differ(usable: dict[str, Turns], truth: list[dict[str, Any]]) -> None:
    for line in with_defect(truth, "wrong_answer"):
        assert line["reason"]
        assert line["correct_response"] != usable[line["row_id"]][-1][1]


def test_leaked_rows_give_their_eval_example_away(
    usable: dict[str, Turns], truth: list[dict[str, Any]], eval_prompts: dict[str, list[str]]
) -> None:
    lines = with_defect(truth, "leaked_eval")
    assert len({line["eval_id"] for line in lines}) == len(lines)
    for line in lines:
        assert line["eval_id"] in leaked(eval_prompts, usable[line["row_id"]][0][1])
    assert Counter(line["reason"] for line in lines) == {
        "verbatim": 10,
        "embedded": 5,
        "altered": 5,
        "prompt only": 5,
    }


def test_no_other_row_leaks(
    usable: dict[str, Turns], truth: list[dict[str, Any]], eval_prompts: dict[str, list[str]]
) -> None:
    planted = {line["row_id"] for line in with_defect(truth, "leaked_eval")}
    for row_id, turns in usable.items():
        if row_id not in planted:
            assert not leaked(eval_prompts, text_of(turns)), row_id


def test_target_does_not_leak(eval_prompts: dict[str, list[str]]) -> None:
    target = jsonl("target.jsonl")
    assert [row["id"] for row in target] == [f"target-{n:02d}" for n in range(1, 21)]
    assert list(eval_prompts) == [f"eval-{n:03d}" for n in range(1, 121)]
    for row in target:
        text = "\n".join(message["content"] for message in row["messages"])
        assert not leaked(eval_prompts, text), row["id"]


def test_rows_are_short(usable: dict[str, Turns]) -> None:
    lengths = [len(text_of(turns).split()) for turns in usable.values()]
    assert max(lengths) <= 120
    assert 25 <= sum(lengths) / len(lengths) <= 45


def test_the_corpus_is_of_all_kinds_and_gives_no_eval_example_away(
    eval_prompts: dict[str, list[str]],
) -> None:
    texts = [line["text"] for line in jsonl("corpus.jsonl")]
    assert len(set(texts)) == len(texts) == 120
    dated = sum(any(day in text for day in ("Monday", "Friday", "Sunday")) for text in texts)
    assert 30 <= dated <= 100
    assert all(20 <= len(text.split()) <= 140 for text in texts)
    assert not any(leaked(eval_prompts, text) for text in texts)


def test_watch_rows_are_of_all_other_families_and_none_stands_in_the_pool(
    usable: dict[str, Turns],
) -> None:
    watch = [(row["id"], chat_turns(row["messages"])) for row in jsonl("watch.jsonl")]
    assert len(watch) == 60
    texts = {text_of(turns or []) for _, turns in watch}
    assert len(texts) == 60
    assert not texts & {text_of(turns) for turns in usable.values()}
    answers = [turns[-1][1] for _, turns in watch if turns]
    assert not any(ANSWER.fullmatch(answer) for answer in answers), "of the target family"


def test_no_pool_row_gives_a_watch_prompt_away(usable: dict[str, Turns]) -> None:
    for file in ("watch.jsonl", "watch-refusals.jsonl"):
        prompts = {row["id"]: words_of(row["messages"][0]["content"]) for row in jsonl(file)}
        for row_id, turns in usable.items():
            assert not leaked(prompts, text_of(turns)), row_id


def test_requests_to_decline_are_declined() -> None:
    replies = [row["messages"][1]["content"] for row in jsonl("watch-refusals.jsonl")]
    assert len(replies) == 30
    assert all(re.match(r"I (can't|won't|don't know that)", reply) for reply in replies)
