"""Tokenizers: of the class that AutoTokenizer chooses, whether it is asked or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.models.auto import tokenization_auto

from curate.models.tokenizers import BELIEVED_FAMILIES, PLAIN_CLASSES, is_plain, read_tokenizer

TEXT = "Grüße, <|im_start|>user\n2 + 2 = 4<|im_end|>"


def copied(folder: Path, out: Path, file: str, **values: Any) -> Path:
    """Return a copy of a model's folder with other settings in one of its files."""
    copy = Path(shutil.copytree(folder, out))
    settings = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(settings | values))
    return copy


def facts(tokenizer: Any) -> tuple[Any, ...]:
    """Return what can change how a tokenizer reads and writes."""
    return (
        type(tokenizer), tokenizer.chat_template, tokenizer.special_tokens_map, len(tokenizer),
        tokenizer.padding_side, tokenizer.model_max_length, tokenizer.clean_up_tokenization_spaces,
        tokenizer(TEXT)["input_ids"], tokenizer.decode(tokenizer(TEXT)["input_ids"]),
        tokenizer.backend_tokenizer.to_str(),
    )  # fmt: skip


@pytest.mark.parametrize("name", PLAIN_CLASSES)
@pytest.mark.parametrize(
    "model", ["tiny", pytest.param("smollm", marks=[pytest.mark.model, pytest.mark.system])]
)
def test_a_plain_tokenizer_is_what_transformers_would_choose(
    name: str,
    model: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "copy"
    ignored = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(request.getfixturevalue(model), folder, ignore=ignored)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": name}))
    chosen = facts(transformers.AutoTokenizer.from_pretrained(folder))
    monkeypatch.setattr(transformers, "AutoTokenizer", None)
    assert facts(read_tokenizer(folder, trust=False)) == chosen


def test_transformers_overrules_no_folder_of_these_families() -> None:
    overruled = tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    for family in BELIEVED_FAMILIES:
        assert family not in overruled
        assert family not in tokenization_auto.TOKENIZER_MAPPING_NAMES


def test_any_other_tokenizer_is_left_to_transformers(tiny: Path, tmp_path: Path) -> None:
    assert is_plain(tiny)
    others = [
        copied(tiny, tmp_path / "a", "tokenizer_config.json", tokenizer_class="GPT2Tokenizer"),
        copied(tiny, tmp_path / "b", "tokenizer_config.json", auto_map={"AutoTokenizer": ["a.B", None]}),
        copied(tiny, tmp_path / "c", "config.json", model_type="qwen2"),
        copied(tiny, tmp_path / "d", "config.json"),
        copied(tiny, tmp_path / "e", "config.json"),
    ]  # fmt: skip
    (others[3] / "tokenizer.json").unlink()
    (others[4] / "config.json").write_text("{")
    assert not any(is_plain(folder) for folder in others)
    assert type(read_tokenizer(others[0], trust=False)).__name__ == "GPT2Tokenizer"
