"""Labels under templates that behave as those of well-known families do.

The templates are written for these tests: short, but with the habits that break a reading by prefixes.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from curate.core.rows import Message
from curate.models.chat import IGNORED, build_example, refusal, render, render_prompt
from curate.models.load import load_tokenizer
from tests.conftest import CHATML, examples, turns

ROOT = Path(__file__).parents[2]
ALTERNATE = (
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
)
ASK = "{% if add_generation_prompt %}"
TAIL = (
    "{% set c = m['content'] %}"
    "{% if '</think>' in c %}{% set c = c.split('</think>')[-1] %}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}" + ALTERNATE +
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + ('<<SYS>>\n' + sys + '\n<</SYS>>\n\n' "
    "if loop.first and sys else '') + m['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)  # fmt: skip
MISTRAL = (  # The system text stands before the last user turn, so only if nothing follows that.
    "{% set ns = namespace(sys='') %}{% if messages[0]['role'] == 'system' %}"
    "{% set ns.sys = messages[0]['content'] %}{% set messages = messages[1:] %}{% endif %}"
    "{{ bos_token }}{% for m in messages %}" + ALTERNATE +
    "{% if m['role'] == 'user' %}{{ '[INST] ' + (ns.sys + '\n\n' if loop.last and ns.sys else '') "
    "+ m['content'] + '[/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)  # fmt: skip
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ bos_token }}{% for m in messages %}" + ALTERNATE +
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' "
    "+ m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    + ASK + "{{ '<start_of_turn>model\n' }}{% endif %}"
)  # fmt: skip
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|header|>' + m['role'] + '<|end_header|>\n\n' "
    "+ ((m['content'] | tojson) if m['role'] == 'tool' else (m['content'] | trim)) + '<|eot|>' }}"
    "{% endfor %}" + ASK + "{{ '<|header|>assistant<|end_header|>\n\n' }}{% endif %}"
)
PHI = (  # Ends a whole conversation with a token that is not there while it goes on.
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    + ASK + "{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)  # fmt: skip
QWEN3 = (  # Reasoning stays in the last turn alone, which has an empty one if need be.
    "{% for m in messages %}{% set c = m['content'] %}{% set r = '' %}"
    "{% if m['role'] == 'assistant' %}{% if '</think>' in c %}"
    "{% set r = c.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{% if loop.last %}{% set c = '<think>\n' + r + '\n</think>\n\n' + c %}{% endif %}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + c + '<|im_end|>\n' }}{% endfor %}"
    + ASK + "{{ '<|im_start|>assistant\n' }}{% endif %}"
)  # fmt: skip
R1 = (  # Reasoning is cut out of every turn, and the prompt opens it.
    "{{ bos_token }}{% for m in messages %}" + TAIL +
    "{% if m['role'] == 'assistant' %}{{ '<|A|>' + c + eos_token }}{% elif m['role'] == 'user' %}"
    "{{ '<|U|>' + m['content'] }}{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    + ASK + "{{ '<|A|><think>\n' }}{% endif %}"
)  # fmt: skip
OSS = (  # The mark behind the last turn is another one than that behind earlier ones.
    "{% for m in messages %}{{ '<|start|>' + m['role'] + ('<|channel|>final' if m['role'] == "
    "'assistant' else '') + '<|message|>' + m['content'] + ('<|return|>' if loop.last and m['role'] "
    "== 'assistant' else '<|end|>') }}{% endfor %}" + ASK + "{{ '<|start|>assistant' }}{% endif %}"
)
MASKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}" + TAIL + "{{ c + '<|im_end|>' }}{% endgeneration %}{% else %}"
    "{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    + ASK + "{{ '<|im_start|>assistant\n' }}{% endif %}"
)  # fmt: skip
HEADED = (  # Its own mark of what the assistant writes takes in the header (SmolLM3).
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ '<|im_start|>assistant\n' + m['content'] + '<|im_end|>\n' }}{% endgeneration %}{% else %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    + ASK + "{{ '<|im_start|>assistant\n' }}{% endif %}"
)  # fmt: skip
TULU = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    + ASK + "{{ '<|assistant|>\n' }}{% endif %}"
)  # fmt: skip
FAMILIES = {
    "chatml": CHATML, "llama2": LLAMA2, "mistral": MISTRAL, "gemma": GEMMA, "llama3": LLAMA3,
    "phi": PHI, "qwen3": QWEN3, "r1": R1, "oss": OSS, "masked": MASKED, "tulu": TULU,
    "headed": HEADED,
}  # fmt: skip
MARKS = [
    "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|header|>",
    "<|end_header|>", "<|eot|>", "<|end|>", "<|U|>", "<|A|>", "<|start|>", "<|channel|>",
    "<|message|>", "<|return|>",
]  # fmt: skip
SYSTEM: Message = {"role": "system", "content": "user"}
THOUGHT = "<think>\na user\n</think>\n\na"
# Contents are words that the templates write too, so that a search would take these for them.
CONVERSATIONS: dict[str, list[Message]] = {
    "single": turns("assistant", "a"),
    "system": [SYSTEM, *turns("a", "user")],
    "multi": turns("a", "user", "user", "a", "model", "assistant"),
    "twice": [*turns("a")[:1], *turns("user", "a")],
    "tool": [*turns("a", "user"), {"role": "tool", "content": '{"a": "user"}'}, turns("", "a")[1]],
    "think": turns("user", THOUGHT),
    "thinks": turns("user", THOUGHT, "a", "<think>b</think>user"),
}
REFUSED = None
ENDS = {"llama2": " </s>", "mistral": "</s>", "gemma": "<end_of_turn>", "llama3": "<|eot|>",
        "phi": "<|end|>", "r1": "</s>", "oss": "<|end|>", "tulu": "</s>"}  # fmt: skip
STRICT = {
    "llama2": {"twice", "tool"},
    "mistral": {"twice", "tool"},
    "gemma": {"system", "twice", "tool"},
}


def tokenizer_of(tiny: Path, family: str) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.add_tokens(MARKS, special_tokens=True)
    tokenizer.bos_token, tokenizer.eos_token = "<s>", "</s>"
    tokenizer.chat_template = FAMILIES[family]
    return tokenizer


def labelled(tokenizer: Any, messages: Any) -> list[str]:
    """Return the text of every run of labels."""
    example = build_example(tokenizer, messages, 10_000)
    runs: list[list[int]] = [[]]
    for token, label in zip(example.ids, example.labels, strict=True):
        assert label in (IGNORED, token)
        runs = [*runs, []] if label == IGNORED else [*runs[:-1], [*runs[-1], token]]
    return [tokenizer.decode(run) for run in runs if run]


def expected(family: str, kind: str) -> list[str] | None:
    """Return what is to be labelled: what the model would write if it were asked for each turn."""
    if kind in STRICT.get(family, set()):
        return REFUSED
    said = [m["content"] for m in CONVERSATIONS[kind] if m["role"] == "assistant"]
    if family in ("r1", "masked"):
        said = [text.split("</think>")[-1] for text in said]
    if family == "qwen3":
        thoughts = [
            t.split("</think>")[0].removeprefix("<think>") if "</think>" in t else "" for t in said
        ]
        said = [text.split("</think>")[-1].lstrip("\n") for text in said]
        said[-1] = "<think>\n" + thoughts[-1].strip("\n") + "\n</think>\n\n" + said[-1]
    if family in ("llama2", "mistral"):
        said = [f" {text}" for text in said]
    if family == "oss":
        said = [f"<|channel|>final<|message|>{text}" for text in said]
        # Behind earlier turns stands what the model does not write.
        return [*said[:-1], said[-1] + "<|return|>"]
    said = [text + ENDS.get(family, "<|im_end|>") for text in said]
    return [*said[:-1], said[-1] + ("\n</s>" if family == "phi" else "")]


@pytest.mark.parametrize("kind", CONVERSATIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_labels_what_its_model_writes_or_refuses_the_row(
    tiny: Path, family: str, kind: str
) -> None:
    tokenizer, messages = tokenizer_of(tiny, family), CONVERSATIONS[kind]
    said = expected(family, kind)
    if said is REFUSED:
        assert refusal(tokenizer, messages)
    else:
        assert labelled(tokenizer, messages) == said


@pytest.mark.parametrize("family", ["headed", "masked"])
@pytest.mark.parametrize("said", [("", "b"), ("b", "")], ids=["first", "last"])
def test_an_empty_turn_has_no_label_and_no_header_of_it_has_one(
    tiny: Path, family: str, said: tuple[str, str]
) -> None:
    messages = turns("a", said[0], "c", said[1])
    assert labelled(tokenizer_of(tiny, family), messages) == ["b<|im_end|>"]


def test_what_is_written_before_an_answer_is_labelled_after_an_empty_user_turn_too(
    tiny: Path,
) -> None:
    assert labelled(tokenizer_of(tiny, "qwen3"), turns("", "a")) == labelled(
        tokenizer_of(tiny, "qwen3"), turns("user", "a")
    )


PASSED_OVER = CHATML.replace(
    "{% for m in messages %}", "{% for m in messages if m.role != 'tool' %}"
)


@pytest.mark.parametrize(
    ("template", "kind", "words"),
    [
        (MISTRAL, "system", "it leaves the system turn out"),
        (PASSED_OVER, "tool", "it leaves the tool turn out"),
        (PASSED_OVER, "system", None),
        (LLAMA3, "tool", None),
    ],
    ids=["mistral", "tool", "system", "json"],
)
def test_a_template_that_silently_leaves_a_turn_out_refuses_the_row(
    tiny: Path, template: str, kind: str, words: str | None
) -> None:
    tokenizer = tokenizer_of(tiny, "chatml")
    tokenizer.chat_template = template
    assert refusal(tokenizer, CONVERSATIONS[kind]) == words
    # A turn without a text has nothing to be left out.
    blank: Any = [{"role": "system", "content": " "}, *turns("a", "b")]
    assert refusal(tokenizer, blank) is None


def prefix_labels(tokenizer: Any, messages: Any) -> list[int] | None:
    """Return labels by the plain way: each turn from its prompt's end; None where that does not work."""
    text = render(tokenizer, messages)
    spans = []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            whole = render(tokenizer, messages[: i + 1])
            head = render_prompt(tokenizer, messages[:i])
            if not (text.startswith(whole) and whole.startswith(head)):
                return None
            spans.append((len(head), len(whole.rstrip())))
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return [
        token if any(start < stop <= end for start, end in spans) else IGNORED
        for token, (_, stop) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


TEXT = st.text("ab <>/\n[]{}\"'é漢", min_size=1, max_size=8).filter(str.strip)
SAID = st.one_of(TEXT, TEXT.map(lambda text: f"<think>\n{text}\n</think>\n\n{text}"))


@pytest.mark.parametrize("family", FAMILIES)
@examples(0.6)
@given(st.lists(st.tuples(TEXT, SAID), min_size=1, max_size=3), st.booleans())
def test_where_the_way_by_prefixes_works_the_labels_are_the_same(
    tiny: Path, family: str, pairs: list[tuple[str, str]], system: bool
) -> None:
    tokenizer = tokenizer_of(tiny, family)
    messages: Any = [SYSTEM] * system + turns(*(text for pair in pairs for text in pair))
    if refusal(tokenizer, messages) is None:
        labels = prefix_labels(tokenizer, messages)
        if labels is not None:
            assert build_example(tokenizer, messages, 10_000).labels == labels


def test_a_turn_that_the_template_rewrites_has_no_label(tiny: Path) -> None:
    tokenizer = tokenizer_of(tiny, "chatml")
    tokenizer.chat_template = CHATML.replace(
        "m['content']", "('(cut)' if m['role'] == 'assistant' and not loop.last else m['content'])"
    )
    assert labelled(tokenizer, turns("a", "b", "c", "d")) == ["d<|im_end|>"]
    tokenizer.chat_template = CHATML.replace("m['content']", "m['content'] | upper")
    assert labelled(tokenizer, turns("a", "b")) == []


def test_the_same_rows_have_the_same_labels_tomorrow(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tokenizer_of(tiny, "chatml")
    tokenizer.chat_template = "{{ strftime_now('%d') }}" + CHATML
    for day in ("01", "02", "03"):
        clock = SimpleNamespace(now=lambda day=day: SimpleNamespace(strftime=lambda _: day))
        monkeypatch.setattr(chat_template_utils, "datetime", clock)
        assert render(tokenizer, turns("a", "b")).startswith(day)
        assert labelled(tokenizer, turns("a", "b")) == ["b<|im_end|>"]


@pytest.mark.model
def test_the_bundled_model_labels_its_bundled_rows_as_the_way_by_prefixes_does(
    smollm: Path,
) -> None:
    tokenizer = load_tokenizer(smollm)
    lines = (ROOT / "data/eval.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for messages in [row["messages"] for row in rows]:
        example = build_example(tokenizer, messages, 10_000)
        assert example.labels == prefix_labels(tokenizer, messages)
