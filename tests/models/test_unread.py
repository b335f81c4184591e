"""Rows of which a method can read no response: counted from their texts, before a model reads them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from curate.config.recipe import Config
from curate.core.selector import Selector
from curate.core.workload import ResponseLimit
from curate.estimate.recipe import estimate
from curate.models import unread
from curate.models.chat import IGNORED, build_example
from curate.models.load import load_tokenizer
from curate.models.unread import MethodTokenizers, unread_sentences
from tests.conftest import frame, row, turns

STRICT = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)


def write(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    frame([row(f"r{i}", list(one)) for i, one in enumerate(rows)]).write_parquet(path)
    return path


def method_tokenizers(folder: Path, own: Path | None = None) -> MethodTokenizers:
    return MethodTokenizers(
        load_tokenizer(folder), "drop_row", load_tokenizer(own) if own else None
    )


def test_only_rows_whose_response_is_behind_the_limit_have_no_score(
    tiny: Path, tmp_path: Path
) -> None:
    rows = [turns("word " * (3 * i), "Fine.") for i in range(1, 60)]
    tokenizer = load_tokenizer(tiny)
    examples = [build_example(tokenizer, one, 64) for one in rows]
    lost = sum(not any(label != IGNORED for label in one.labels[1:]) for one in examples)
    assert 0 < lost < len(rows)
    [sentence] = unread_sentences(
        write(tmp_path / "rows.parquet", rows), method_tokenizers(tiny), ResponseLimit(64)
    )
    assert sentence == (
        f"rows without a score: {lost}, since no response token lies within its max_length of 64 "
        "tokens"
    )


def test_rows_with_a_shorter_response_than_a_method_asks_for_have_no_score(
    tiny: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "rows.parquet", [turns("a", "b"), turns("a", "b c d e f " * 40)])
    assert unread_sentences(path, method_tokenizers(tiny), ResponseLimit(500)) == []
    [sentence] = unread_sentences(path, method_tokenizers(tiny), ResponseLimit(500, tokens=10))
    assert sentence.startswith("rows without a score: 1, since fewer than 10 response tokens")


def test_rows_that_the_methods_own_model_refuses_have_no_score(tiny: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(tiny, tmp_path / "own"))
    (own / "chat_template.jinja").write_text(STRICT)
    twice = [{"role": "user", "content": "a"}, *turns("b", "c")]
    path = write(tmp_path / "rows.parquet", [turns("a", "b"), twice])
    assert unread_sentences(path, method_tokenizers(tiny), ResponseLimit(500)) == []
    assert unread_sentences(path, method_tokenizers(tiny, own), ResponseLimit(500)) == [
        "rows without a score: 1, since the chat template of the method's model refuses them"
    ]
    # What the base model refuses is dropped before any method, and told apart.
    assert unread_sentences(path, method_tokenizers(own), ResponseLimit(500)) == []


def test_of_many_rows_the_number_is_estimated(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread, "SAMPLE_ROWS", 5)
    path = write(tmp_path / "rows.parquet", [turns("word " * 200, "Fine.")] * 20)
    [sentence] = unread_sentences(path, method_tokenizers(tiny), ResponseLimit(64))
    assert sentence.startswith("rows without a score: about 20, since")


@pytest.mark.parametrize(
    ("select", "limits"),
    [
        ({"method": "random"}, []),
        ({"method": "perplexity"}, []),
        ({"method": "perplexity", "of": "response"}, [ResponseLimit(2048)]),
        ({"method": "less", "max_length": 512}, [ResponseLimit(512)]),
        ({"method": "perplexity_ratio"}, [ResponseLimit(2048)]),
        ({"method": "ifd", "min_tokens": 3, "model": "x"}, [ResponseLimit(2048, 3, "x")]),
        (
            {"method": "cascade", "parts": [{"method": "ifd", "keep": 0.5}, {"method": "length"}]},
            [ResponseLimit(2048, 10)],
        ),
        (
            {
                "method": "blend",
                "parts": [{"method": "ifd", "weight": 1}, {"method": "ifd", "weight": 2}],
            },
            [ResponseLimit(2048, 10)],
        ),
    ],
)
def test_each_method_says_what_it_must_see_of_a_response(
    select: dict[str, Any], limits: list[ResponseLimit]
) -> None:
    recipe = {
        "name": "x",
        "pool": "p.jsonl",
        "target": "t.jsonl",
        "select": {**select, "budget": {"rows": 1}},
    }
    selector = Config.model_validate(recipe).select
    assert isinstance(selector, Selector)
    works = [member.cost(1) for member, _ in selector.members()]
    assert list(dict.fromkeys(work.limit for work in works if work.limit)) == limits


def test_check_tells_rows_that_a_method_could_not_score(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text(
        '{"instruction": "' + "word " * 200 + '", "output": "Fine."}\n'
        '{"instruction": "a", "output": "b"}\n'
    )
    recipe = {
        "name": "x",
        "pool": str(tmp_path / "pool.jsonl"),
        "models": {"base": str(tiny)},
        "stages": [{"kind": "confidence", "max_length": 64}],
        "select": {"method": "ifd", "max_length": 64, "min_tokens": 1, "budget": {"rows": 1}},
    }
    does = {line.stage: line.does for line in estimate(Config.model_validate(recipe))}
    words = (
        "rows without a score: 1, since no response token lies within its max_length of 64 tokens"
    )
    assert words in does["select"]
    assert words in does["confidence"]
