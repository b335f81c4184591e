"""Rules: short rows that fail each, rows that only look so, and the measures against plain Python."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from curate.clean.heuristics import measures
from curate.clean.heuristics.copying import copied_share
from curate.clean.heuristics.endings import find_open_end
from curate.clean.heuristics.findings import RULES
from curate.clean.heuristics.repetition import loop_lengths, repeated_grams, repeated_lines
from curate.clean.heuristics.words import find_word, read_words
from curate.clean.pii import find_pii
from curate.clean.rules import RulesStage
from curate.cli import app
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.core.stage import StageData, StageResult
from curate.core.store import Store
from curate.pipeline.curation import read_inputs, run_stages
from curate.pipeline.run import Run
from curate.runs.folder import open_run
from curate.runs.rethreshold import rethreshold
from curate.text.language import find_languages
from tests.clean.pools_by_script import LANGUAGES, SENTENCES, clean_pool
from tests.conftest import (
    StoreRun,
    examples,
    frame,
    row,
    run_stage,
    stored_rows,
    stored_table,
    turns,
)
from tests.report.realrun import finish, recipe, write_inputs

REPO = Path(__file__).parents[2]
WORDS = [f"w{i}" for i in range(400)]
PROSE = "The river was low that year, and people walked across it. " * 3
STORY = "Nobody remembered a summer like that one, and the old men shook their heads."
LONG = (
    "The mill stood by the river for two hundred years. Its wheel turned day and night, and the flour "
    "went to every village in the valley. When the new road came, fewer carts stopped there. The last "
    "miller sold the stones in spring and kept the house. His daughter planted apple trees where the "
    "carts had stood. On clear mornings in autumn you can still hear the water under the floor. To "
    "this day nobody has"
)
FULL = f"{LONG} moved in since then, and nobody will."


def texts(*pairs: tuple[str, str]) -> pl.DataFrame:
    return frame([row(f"r{i}", turns(*pair)) for i, pair in enumerate(pairs)])


def judge(tmp_path: Path, rows: pl.DataFrame, **params: Any) -> StageResult:
    stage = RulesStage.model_validate(params)
    words = read_words(stage.words.file) if stage.words else []
    measurements = measures.measure(rows, languages=stage.language is not None, words=words)
    return stage.decide(stage_data(tmp_path, rows, measurements))


def stage_data(tmp_path: Path, rows: pl.DataFrame, measurements: pl.DataFrame) -> StageData:
    table = stored_table(Store(tmp_path / "measured"), "measures", measurements)
    return StageData(rows.lazy(), prepared={"measures": table})


def failed(tmp_path: Path, prompt: str, response: str, **params: Any) -> list[str]:
    [rules] = failures(tmp_path, [(prompt, response)], **params)
    return rules


def failures(tmp_path: Path, pairs: Sequence[tuple[str, str]], **params: Any) -> list[list[str]]:
    """Return the rules that each row fails."""
    verdicts = judge(tmp_path, texts(*pairs), **params).frame.to_dicts()
    return [[name for name in RULES if verdict.get(name)] for verdict in verdicts]


FAULTS = {
    "encoding": [
        ("Who?", "A caf\ufffd."),
        ("Who?", "A cafÃ© in LÃ¼beck."),
        ("It costs Â£5?", "Yes."),
        ("Who?", "Itâ€™s me."),
        ("Who?", "A bell\x07."),
        ("Who?", "One \x96 two."),
        ("Who?", "ðŸ˜€ hello"),
        ("Кто?", "ÐŸÑ€Ð¸Ð²ÐµÑ‚"),
    ],
    "markup": [
        ("Name a fruit.", "An apple.<br />"),
        ("Name a fruit.", "<p>An apple.</p>"),
        ("Name a fruit.", "Salt &amp; pepper"),
        ("Name a fruit.", "The Earth&#x27;s apple"),
        ("Name a fruit.", "{{ fruit.name }}"),
        ("Name a fruit.", "{% if fruit %}apple"),
        ("Name a fruit.", "[url=http://a.b]apple[/url]"),
        ("Name a fruit.", "<|im_start|>assistant apple"),
        ("Name a fruit.", "An apple. All rights reserved."),
        ("Name a fruit.", "We use cookies to remember your visit."),
        ('<div class="a"><span>&nbsp;</span></div><br/>', "An apple."),
    ],
    "placeholder": [
        ("Write a line.", "Lorem ipsum dolor sit amet."),
        ("Write a line.", "Our town is [insert town here]."),
        ("Write a line.", "[Your answer here]"),
        ("Write a line.", "TODO"),
        ("Write a line.", "N/A"),
        ("Write a line.", "..."),
        ("Write a line.", "asdf asdfgh"),
        ("Write a line.", "TODO: write this"),
    ],
    "length": [("ab", "Yes."), ("Say it.", " ".join(map(str, range(11_000))))],
    "repetition": [
        ("Tell me.", "I like the sea, I " * 12),
        ("Tell me.", "\n".join(["A first line.", *["Again the same line here."] * 4])),
        ("Tell me.", " ".join(WORDS[:40] + WORDS[5:38])),
        ("Tell me.", "好好学习天天向上吧" * 8),
    ],
    "refusal": [
        ("Tell me.", "I'm sorry, but I can't help with that."),
        ("Tell me.", "I cannot provide medical advice."),
        ("Tell me.", "Unfortunately, I am unable to answer this."),
        ("Tell me.", "As an AI language model, I don't have feelings."),
        ("Tell me.", "Sorry, the task is private. We cannot complete this task."),
        ("Tell me.", "I’m not able to browse the web."),
    ],
    "copied": [
        (" ".join(WORDS[:12]), " ".join(WORDS[:12])),
        (" ".join(WORDS[:12]), f"Sure: {' '.join(WORDS[:12])} yes"),
    ],
    "unfinished": [("Tell me.", LONG), ("Tell me.", f"{FULL}\n```python\nprint(1)")],
}  # fmt: skip

# Rows that are in order, though a careless rule would drop them.
FINE = [
    ("MANHÃ”, diz ele?", "Sim, «MANHû e Âncora, até à vista."),
    ("Étoile, naïve, Ångström, ÂGE?", "Noël\tà Köln\r\nПривет, 你好, 😀"),
    ("Write a HTML page that says hi.", "<html><body><p>hi</p></body></html>"),
    ("Show me how to print.", "Use this:\n```html\n<br/>\n```\nand `<b>` too."),
    ("Is a < b?", "If a < b and c > d, then yes: List<String> is no tag."),
    ("Fix the template {{name}}.", "Hello {{ name }}"),
    ("Explain copyright on pages.", "It says: all rights reserved."),
    ("Write a letter.", "Dear [Name],\nthank you.\nYours, [Your Name]"),
    ("If there is no phone, write N/A.", "N/A"),
    ("What does lorem ipsum mean?", "Lorem ipsum dolor sit amet is garbled Latin."),
    ("What is 2 + 2?", "4"),
    ("Roman for 30?", "XXX"),
    ("Count.", "1,000,000,000,000,000"),
    ("Laugh.", "ha ha ha ha ha"),
    ("Draw a line.", "-" * 100),
    ("I lost my cat.", "I'm sorry to hear that. I can't imagine how you feel."),
    ("Be a doctor.", "As an AI doctor, I would advise rest."),
    ("You found water.", "I can't believe it; I cannot help but smile."),
    ("Is it raining in the old town by the sea today?", "It is raining in the old town."),
    ("Correct: " + " ".join(WORDS[:20]), " ".join(WORDS[:20])),
    ("Tell me.", FULL),
    ("Tell me.", f"{FULL}\n\nYours sincerely, Jane Austen"),
    ("Tell me.", f"{FULL}\n- a list item that goes on for quite a while and has no full stop at all"),
    ("Tell me.", f"{FULL}\nAnna: and that is all that I wanted to say to all of you on this fine day"),
    ("Tell me.", "A short answer without a full stop that ends in and"),
]  # fmt: skip


@pytest.mark.parametrize("rule", FAULTS)
def test_a_fault_fails_its_rule_and_no_other(tmp_path: Path, rule: str) -> None:
    pairs = FAULTS[rule]
    assert failures(tmp_path, pairs) == [[rule]] * len(pairs)
    assert failures(tmp_path, pairs, **{rule: False}) == [[]] * len(pairs)


def test_what_only_looks_like_a_fault_stays(tmp_path: Path) -> None:
    rules = failures(tmp_path, FINE)
    assert {pair: names for pair, names in zip(FINE, rules, strict=True) if names} == {}


def test_the_reason_is_that_of_the_first_rule_and_the_score_their_number(tmp_path: Path) -> None:
    rows = texts(
        ("Hello there.", "Hi."),
        ("Tell me.", "I'm sorry, but I can't help with that.<br>"),
        ("Tell me.", "I'm sorry, but I can't help with that.<br>\ufffd"),
        ("Tell me.", "TODO"),
    )
    result = judge(tmp_path, rows, length={"response": [3, 1000]})
    evidence = result.frame
    assert evidence["row_id"].to_list() == rows["row_id"].to_list()
    assert evidence["score"].to_list() == [0, 2, 3, 1]
    assert evidence["keep"].to_list() == [True, False, False, False]
    assert evidence["reason"].to_list() == [
        None, Reason.MARKUP, Reason.ENCODING_DAMAGE, Reason.PLACEHOLDER,
    ]  # fmt: skip
    counts = result.tables["counts"].lazy().collect()
    assert counts["rule"].to_list() == [name for name in RULES if name not in ("language", "words")]
    assert dict(counts.select("rule", "failed").iter_rows())["refusal"] == 2
    assert dict(counts.select("rule", "first").iter_rows())["refusal"] == 0
    assert counts["first"].sum() == evidence.filter(keep=False).height
    assert counts["share"].to_list() == [n / 4 for n in counts["failed"]]


DETAILS = [
    ("Wer?", "In LÃ¼beck.", {}, "encoding", "holds `Ã¼`"),
    ("Name a fruit.", "An  apple.<br />", {}, "markup", "holds `<br />`"),
    ("<b>a</b>", "An apple.", {}, "markup", "0.88 of the prompt is markup, limit 0.2"),
    ("Write a line.", "TODO", {}, "placeholder", "holds `TODO`"),
    ("ab", "Yes.", {}, "length", "the prompt has 2 characters, fewest 3"),
    ("abc", "Yes.", {"length": {"response": [1, 3]}}, "length", "the response has 4 characters, most 3"),
    ("Tell me.", "好好学习天天向上吧" * 8, {}, "repetition",
     "its last 72 characters are one piece over and over"),
    ("Tell me.", " ".join(WORDS[:40] + WORDS[5:38]), {}, "repetition",
     "0.45 of its words lie in 10-grams that it has said before, limit 0.35"),
    ("Tell me.", "\n".join(["A first line.", *["Again the same."] * 4]), {}, "repetition",
     "0.62 of its characters lie in lines that it has said before, limit 0.2"),
    ("Tell me.", "I cannot help you.\nNo.", {}, "refusal", "says `I cannot help`"),
    (" ".join(WORDS[:12]), " ".join(WORDS[:12]), {}, "copied",
     "1 of the prompt's words stand in the response, limit 0.9"),
    ("Tell me.", LONG, {}, "unfinished", "ends in `under the floor. To this day nobody has`"),
    ("Name pets.", "Cats\\n\\nDogs", {}, "escapes", "holds `\\n\\nD`"),
    ("Name a bird.", "A wren.\n\n3. Instruction: go", {}, "merged", "holds `3. Instruction:`"),
    ("Fix the following text.", "Fine.", {}, "missing", "speaks of `the following text.`"),
    ("Close the door.", "The door has been closed.", {}, "claims", "says `The door has been closed`"),
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "response", "params", "rule", "detail"), DETAILS)
def test_a_verdict_tells_what_gave_the_row_away(
    tmp_path: Path, prompt: str, response: str, params: dict[str, Any], rule: str, detail: str
) -> None:
    details = (
        judge(tmp_path, texts((prompt, response)), **params).tables["details"].lazy().collect()
    )
    assert details.rows() == [("r0", rule, detail)]


def test_languages_and_words_are_told_too(tmp_path: Path) -> None:
    words = tmp_path / "bad.txt"
    words.write_text("damn", "utf-8")
    params = {"language": {"allowed": ["en", "fr"]}, "words": {"file": str(words)}}
    details = (
        judge(tmp_path, texts((GERMAN, "Damn."), (PROSE, STORY)), **params)
        .tables["details"]
        .lazy()
        .collect()
    )
    assert details.rows() == [
        ("r0", "language", "the prompt is in de (sure by 1, limit 0.8), allowed en, fr"),
        ("r0", "words", "holds `Damn`"),
    ]


def test_every_rule_tells_what_gave_a_row_away(tmp_path: Path) -> None:
    pairs = [pair for pairs in FAULTS.values() for pair in pairs]
    result = judge(tmp_path, texts(*pairs))
    counts = dict(result.tables["counts"].lazy().collect().select("rule", "failed").iter_rows())
    details = result.tables["details"].lazy().collect()
    assert details["detail"].null_count() == 0
    assert dict(details.group_by("rule").len().iter_rows()) == {
        k: n for k, n in counts.items() if n
    }
    assert {one[3] for one in DETAILS} | {"language", "tools", "words"} == set(RULES)


def test_flagged_rows_stay_and_are_told(tmp_path: Path) -> None:
    rows = texts(("Hello there.", "Hi."), ("Tell me.", "TODO"))
    evidence = judge(tmp_path, rows, action="flag").frame
    assert evidence["keep"].all()
    assert evidence["reason"].null_count() == 2
    assert evidence["score"].to_list() == [0, 1]
    assert evidence["placeholder"].to_list() == [False, True]


def test_without_a_rule_nothing_is_dropped(tmp_path: Path) -> None:
    off = dict.fromkeys(RULES, False)
    result = judge(tmp_path, texts(("Tell me.", "TODO")), **off)
    assert result.frame["keep"].all()
    assert result.tables["counts"].lazy().collect().height == 0


@pytest.mark.parametrize(
    ("prompt", "response", "reason"),
    [
        ("x" * 4, "y", Reason.TOO_SHORT),
        ("x" * 5, "y", None),
        ("x" * 9, "y" * 7, None),
        ("x" * 10, "y", Reason.TOO_LONG),
        ("x" * 5, "y" * 8, Reason.TOO_LONG),
        ("é" * 5, "y", None),
    ],
)
def test_lengths_are_characters_within_bounds(
    tmp_path: Path, prompt: str, response: str, reason: Reason | None
) -> None:
    bounds = {"prompt": [5, 9], "response": [1, 7]}
    evidence = judge(tmp_path, texts((prompt, response)), length=bounds).frame
    assert evidence["reason"].to_list() == [reason]


def test_the_response_is_the_last_turn_and_the_prompt_what_users_say(tmp_path: Path) -> None:
    system: list[Message] = [{"role": "system", "content": "<p>Be brief.</p> All rights reserved."}]
    chat = turns("Hello there.", "TODO", "Tell me.", "A word.")
    assert failed_chat(tmp_path, system + chat) == []
    assert failed_chat(tmp_path, system + turns("Hello there.", "A word.", "Tell me.", "TODO")) == [
        "placeholder"
    ]
    broken = turns("Hello there.", "A \ufffd.", "Tell me.", "A word.")
    assert failed_chat(tmp_path, broken) == ["encoding"]


def failed_chat(tmp_path: Path, messages: Sequence[Message]) -> list[str]:
    verdict = judge(tmp_path, frame([row("r", messages)])).frame.row(0, named=True)
    return [name for name in RULES if verdict.get(name)]


# --- parameters -----------------------------------------------------------------------------------


def test_rules_are_switched_on_and_off() -> None:
    params = RulesStage.model_validate({"refusal": False, "copied": True})
    assert params.refusal is None
    assert params.copied is not None
    assert params.language is None
    language = RulesStage.model_validate({"language": True}).language
    assert language is not None and language.allowed is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"length": {"prompt": [9, 3]}}, "write fewest and most"),
        ({"copied": {"share": 0.2}}, "greater than or equal to 0.5"),
        ({"spelling": True}, "Extra inputs"),
        ({"language": {"allowed": []}}, "at least 1 item"),
    ],
)
def test_senseless_constants_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RulesStage.model_validate(params)


def test_constants_are_moved_without_a_text_read_again(store: Store) -> None:
    run = StoreRun(store)
    rows = stored_rows(
        store, "rows", texts(("Tell me.", "word"), ("Tell me.", "a word")).to_dicts()
    )
    first = run_stage(run, {"kind": "rules"}, rows, {})
    again = run_stage(run, {"kind": "rules", "length": {"response": [5, 99]}}, rows, {})
    assert run.executed_steps == ["rules-measures", "rules", "rules"]
    assert (first.counts["rows_out"], again.counts["rows_out"]) == (2, 1)
    assert again.counts["dropped"] == {"too_short": 1}


def test_a_rule_whose_measure_is_not_there_asks_for_a_run(tmp_path: Path) -> None:
    rows = texts(("Tell me.", "A word."))
    data = stage_data(tmp_path, rows, measures.measure(rows))
    stage = RulesStage.model_validate({"language": {"allowed": ["en"]}})
    with pytest.raises(UserError, match=r"rules\.language: was off in the run"):
        stage.decide(data)


def test_batches_change_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [*FINE, *(pair for pairs in FAULTS.values() for pair in pairs)]
    rows = stored_rows(store, "rows", texts(*pairs).to_dicts())
    whole = measures.measure(texts(*pairs))
    monkeypatch.setattr(measures, "BATCH_ROWS", 7)
    run_stage(StoreRun(store), {"kind": "rules"}, rows, {})
    stored = next(store.root.glob("rules-measures-*")) / "measures.parquet"
    assert pl.read_parquet(stored).equals(whole)


SOME = st.text(st.characters(codec="utf-8"), max_size=200)


@examples(0.1)
@given(st.lists(st.tuples(SOME, SOME), min_size=1, max_size=20))
def test_any_text_gets_a_verdict(pairs: list[tuple[str, str]]) -> None:
    measurements = measures.measure(texts(*pairs))
    assert measurements.height == len(pairs)
    for name in ("repeated_lines", "repeated_grams", "copied", "markup_share"):
        assert measurements[name].is_between(0, 1).all(), name


# --- languages and words --------------------------------------------------------------------------

GERMAN = "Der Fluss war in jenem Jahr so niedrig, dass die Leute zu Fuß hinübergingen."
CHINESE = "那一年河水很低，人们可以走过去。后来下了很大的雨，桥也被冲走了，大家只好坐船过河。"


def test_a_language_is_told_of_long_texts_alone() -> None:
    languages = find_languages(pl.Series([PROSE, GERMAN, CHINESE, "Guten Tag", "4 + 4 = 8 " * 30]))
    assert languages["language"].to_list() == ["en", "de", "zh", None, None]
    assert (languages["confidence"].drop_nulls() > 0.8).all()


def test_other_languages_than_allowed_are_dropped(tmp_path: Path) -> None:
    rows = texts((PROSE, STORY), (PROSE, GERMAN), (GERMAN, PROSE), ("Hallo du", "Guten Tag"))
    evidence = judge(tmp_path, rows, language={"allowed": ["en"]}).frame
    assert evidence["language"].to_list() == [False, True, True, False]
    assert evidence["response_language"].to_list() == ["en", "de", "en", None]
    assert set(evidence["reason"].drop_nulls()) == {Reason.WRONG_LANGUAGE}
    both = judge(tmp_path, rows, language={"allowed": ["en", "de"]}).frame
    assert not both["language"].any()
    evidence = judge(tmp_path, rows, language={}).frame
    assert not evidence["language"].any() and evidence["keep"].all()
    assert evidence["response_language"].to_list() == ["en", "de", "en", None]


def test_a_language_that_nobody_knows_is_refused(store: Store) -> None:
    rows = stored_rows(store, "rows", texts(("Tell me.", "A word.")).to_dicts())
    params = {"kind": "rules", "language": {"allowed": ["en", "english"]}}
    with pytest.raises(UserError, match="allowed: english: no language"):
        run_stage(StoreRun(store), params, rows, {})


@pytest.mark.parametrize(
    ("word", "text", "expected"),
    [
        ("damn", "Well, DAMN it.", "DAMN"),
        ("damn", "goddamned", None),
        ("con", "It was conçu so.", None),
        ("con", "The con, too.", "con"),
        ("très", "C'est TRÈS bien", "TRÈS"),
        ("élan", "vélan élan", "élan"),
        ("go away", "now go\n away", "go\n away"),
        ("c++", "I like C++.", "C++"),
        ("a.b", "aXb", None),
    ],
)
def test_words_are_whole_and_in_any_case(word: str, text: str, expected: str | None) -> None:
    first_word = pl.DataFrame({"t": [text]}).select(find_word(pl.col("t"), [word])).item()
    assert first_word == expected


def test_a_list_of_words_drops_rows(tmp_path: Path, store: Store) -> None:
    words = tmp_path / "bad.txt"
    words.write_text("# bad words\ndamn\n\nGo  away\n", "utf-8")
    pool = texts(("Tell me.", "Go away!"), ("Damn it.", "Yes."), ("Hello.", "Yes."))
    rows = stored_rows(store, "rows", pool.to_dicts())
    params = {"kind": "rules", "words": {"file": str(words)}}
    run = StoreRun(store)
    assert run_stage(run, params, rows, {}).counts["dropped"] == {"toxic": 2}
    words.write_text("hello\n", "utf-8")
    assert run_stage(run, params, rows, {}).counts["dropped"] == {"toxic": 1}


@pytest.mark.parametrize("content", [None, "# nothing\n"])
def test_a_list_without_words_is_an_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(UserError, match=re.escape(str(path))):
        read_words(str(path))


# --- measures against plain Python ----------------------------------------------------------------


def plain_grams(words: Sequence[str]) -> float:
    seen: set[tuple[str, ...]] = set()
    covered: set[int] = set()
    for i in range(len(words) - 9):
        gram = tuple(words[i : i + 10])
        covered |= set(range(i, i + 10)) if gram in seen else set()
        seen.add(gram)
    return len(covered) / len(words) if len(words) >= 50 else 0.0


@examples(0.5)
@given(st.lists(st.lists(st.sampled_from(["a", "b"]), max_size=90), min_size=1, max_size=4))
def test_repeated_grams_are_what_a_loop_counts(word_lists: list[list[str]]) -> None:
    shares = repeated_grams(pl.Series([" ".join(words) for words in word_lists], dtype=pl.String))
    assert shares.tolist() == pytest.approx([plain_grams(words) for words in word_lists])


@given(st.lists(st.sampled_from(["one", "two two", "", "--", "three"]), max_size=12))
def test_repeated_lines_are_what_a_loop_counts(lines: list[str]) -> None:
    worded_lines = [line for line in lines if re.search(r"\w", line)]
    again = sum(len(line) for i, line in enumerate(worded_lines) if line in worded_lines[:i])
    expected_share = again / sum(map(len, worded_lines)) if len(worded_lines) >= 4 else 0.0
    text = pl.DataFrame({"t": ["\n".join(lines)]})
    assert text.select(repeated_lines(pl.col("t"))).item() == pytest.approx(expected_share)


def plain_loop(text: str) -> int:
    text = text.strip()[-400:]
    longest = 0
    for period in range(1, 81):
        run = period
        while run < len(text) and text[-run - 1] == text[-run - 1 + period]:
            run += 1
        if run >= max(5 * period, 40) and re.search(r"[^\W_]", text[-period:]):
            longest = max(longest, run)
    return longest


START, PIECE = st.text("ab ", max_size=9), st.text("ab -é", min_size=1, max_size=20)


@examples(0.3)
@given(st.lists(st.tuples(START, PIECE, st.integers(0, 30)), min_size=1, max_size=6))
def test_loops_are_what_a_loop_finds(loops: list[tuple[str, str, int]]) -> None:
    loop_texts = [start + piece * times for start, piece, times in loops]
    assert loop_lengths(pl.Series(loop_texts)).tolist() == [plain_loop(text) for text in loop_texts]


def plain_copy(prompt: Sequence[str], response: Sequence[str]) -> float:
    grams = {tuple(response[i : i + 8]) for i in range(len(response) - 7)}
    covered: set[int] = set()
    for i in range(len(prompt) - 7):
        covered |= set(range(i, i + 8)) if tuple(prompt[i : i + 8]) in grams else set()
    ends = {0, len(prompt) - 1} <= covered
    return len(covered) / len(prompt) if ends and len(prompt) >= 8 else 0.0


@examples(0.5)
@given(st.data())
def test_copied_shares_are_what_a_loop_counts(data: st.DataObject) -> None:
    prompt = data.draw(st.lists(st.sampled_from(WORDS[:3]), min_size=1, max_size=30))
    cut = data.draw(st.integers(0, len(prompt)))
    response = [*prompt[:cut], "x", *prompt[data.draw(st.integers(0, len(prompt))) :], *["y"] * 40]
    others = (["q"] * 3, ["q"] * 9)
    prompts = pl.Series([" ".join(p) for p in (prompt, others[0])])
    responses = pl.Series([" ".join(r) for r in (response, others[1])])
    assert copied_share(prompts, responses)[0] == pytest.approx(plain_copy(prompt, response))


def test_most_texts_cut_within_a_sentence_are_seen() -> None:
    words = FULL.split(" ")
    cuts = [" ".join(words[:n]) for n in range(30, len(words))]
    ends = pl.DataFrame({"t": cuts}).select(find_open_end(pl.col("t"))).to_series()
    cut = pl.Series([not text.endswith(".") for text in cuts])
    assert ends.filter(~cut).is_null().all()
    assert ends.filter(cut).is_not_null().mean() > 0.9  # type: ignore[operator]


# --- other scripts ------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_clean_row_of_another_script_fails(tmp_path: Path, language: str) -> None:
    pool = clean_pool(language)
    details = judge(tmp_path, pool).tables["details"].lazy().collect()
    assert details.rows() == []
    assert find_pii(pool).height == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_said_again_is_seen_in_every_script(tmp_path: Path, language: str) -> None:
    space = "" if language in ("zh", "ja") else " "
    several = space.join(SENTENCES[language])
    assert failed(tmp_path, "Q: ?!", f"{several}{space}{several}") == ["repetition"]
    assert failed(tmp_path, several, several) == ["copied"]
    assert failed(tmp_path, "Q: ?!", several) == []


@pytest.mark.parametrize("end", ["我们去了，", "それから、", "وبعد ذلك،"])
def test_what_ends_in_a_comma_of_its_script_is_unfinished(tmp_path: Path, end: str) -> None:
    language = "ar" if "و" in end else "ja" if "そ" in end else "zh"
    several = " ".join(SENTENCES[language] * 2)
    whole = {"repetition": False}
    assert failed(tmp_path, "Q: ?!", several + end * 12, **whole) == ["unfinished"]
    assert failed(tmp_path, "Q: ?!", several, **whole) == []


# --- whole runs -----------------------------------------------------------------------------


def test_a_run_is_judged_anew_under_other_constants(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path)
    # Answers are "Answer 7.", "Answer 12." and sentences.
    stages = [{"kind": "rules"}, {"kind": "pii"}]
    folder = finish(recipe(tmp_path, tiny, stages), tmp_path / "run")
    run = open_run(folder)
    moved = rethreshold(run, "rules", ["length={response: [10, 99]}", "copied=off"])
    chars = run.table("evidence/rules-measures").collect()["response_chars"]
    assert moved.before["keep"].all()
    assert moved.gone == (chars < 10).sum() > 0
    assert moved.sweep.height == 0
    words = ["rethreshold", str(folder), "rules", "--set", "length={response: [10, 99]}"]
    output = CliRunner().invoke(app, words).output
    assert f"{moved.gone} others go" in output
    assert "None" not in output
    with pytest.raises(UserError, match="words: needs other"):
        rethreshold(run, "rules", ["words={file: x}"])


def test_of_the_bundled_pool_scraping_leftovers_go_and_no_clean_row(tmp_path: Path) -> None:
    config = Config.model_validate(
        {
            "name": "rules",
            "pool": [{"path": str(REPO / "data" / "pool" / "*"), "source": "bundled"}],
            "stages": [{"kind": "rules"}],
            "store": str(tmp_path / "store"),
            "ingest": {"max_rejected": 1.0},
            "select": {"method": "random", "budget": {"rows": 1}},
        }
    )
    store = Store(tmp_path / "store")
    run = Run(config, store, lambda steps: [store.ensure(step) for step in steps])
    read_inputs(run)
    run_stages(run)
    evidence = run.evidence["rules"].read()
    truth = pl.read_ndjson(REPO / "data" / "truth.jsonl")
    dropped = evidence.filter(keep=False).join(truth, on="row_id", how="left")
    assert set(dropped["defect"]) == {"off_topic"}
    assert dropped.height >= 14


def tool_rows(arguments: str) -> pl.DataFrame:
    call = {"id": None, "name": "alarm", "arguments": arguments}
    messages: list[Any] = [
        *turns("Wake me at 7, please."),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "ok"},
        *turns("", "The alarm has been set.")[1:],
    ]
    tool = {"name": "alarm", "parameters": {"properties": {"at": {"type": "integer"}}}}
    return frame([row("a", messages, tools=json.dumps([tool]))])


def test_what_a_tool_did_may_be_claimed_and_wrong_calls_are_dropped(tmp_path: Path) -> None:
    assert judge(tmp_path, tool_rows('{"at":7}')).frame["keep"].to_list() == [True]
    verdict = judge(tmp_path, tool_rows('{"at":"seven"}'))
    assert verdict.frame["reason"].to_list() == [Reason.BAD_TOOL_CALL.value]
    [detail] = verdict.tables["details"].lazy().collect()["detail"].to_list()
    assert detail == "calls `alarm.at: 'seven' is not of type 'integer'`"


def test_values_that_nobody_said_can_be_let_pass(tmp_path: Path) -> None:
    rows = tool_rows('{"at":4471}')
    assert judge(tmp_path, rows).frame["keep"].to_list() == [False]
    kept = judge(tmp_path, rows, tools={"values": False}).frame["keep"]
    assert kept.to_list() == [True]


def test_calls_are_no_prose(tmp_path: Path) -> None:
    """Neither JSON escapes nor tags of calls are faults of a text."""
    call = {"id": None, "name": "note", "arguments": json.dumps({"text": 'a\n"b"' * 3})}
    structured: list[Any] = [
        *turns("Call note with a and b."),
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    tagged = turns(
        "Call note.", f'<tool_call>{{"name": "note", "arguments": {call["arguments"]}}}</tool_call>'
    )
    rows = frame([row("a", structured), row("b", tagged)])
    assert judge(tmp_path, rows).frame["reason"].to_list() == [None, None]
