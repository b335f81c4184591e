"""Secrets in recipes: refused wherever they stand, never repeated; ordinary settings pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from curate.config.loading import load_config
from curate.core.credentials import find_secret, find_secret_field
from curate.core.errors import UserError
from curate.llm.engines.parameters import EndpointParams, OpenAIParams, VllmParams

SECRET = "f00dbabe1234"


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": SECRET},
        {"apiKey": SECRET},
        {"api-key": SECRET},
        {"X-API-Key": SECRET},
        {"Authorization": SECRET},
        {"headers": {"authorization": [SECRET]}},
        {"token": SECRET},
        {"hf_token": SECRET},
        {"accessToken": SECRET},
        {"password": 123456},
        {"client_secret": SECRET},
        {"aws_secret_access_key": SECRET},
        {"Cookie": SECRET},
        {"x": "sk-abcd1234"},
        {"x": "hf_abcdefgh"},
        {"x": "Bearer abc"},
        {"x": ["Basic dXNlcjpwdw=="]},
        {"x": "AKIAIOSFODNN7EXAMPLE"},
        {"x": "dapi" + "0123456789abcdef" * 2},
        {"x": "SK" + "0123456789abcdef" * 2},
        {"x": {"y": "key=ghp_abcdefgh12345"}},
        {"x": "-----BEGIN RSA PRIVATE KEY-----\nabc"},
        {"x": f"https://user:{SECRET}@h/"},
        {"x": f"https://h/?sig={SECRET}"},
    ],
)
def test_free_fields_take_no_secret(fields: dict[str, Any]) -> None:
    endpoints = [EndpointParams(url="http://h/v1")]
    for build in (
        lambda: OpenAIParams(model="m", endpoints=endpoints, extra=fields),
        lambda: VllmParams(options=fields),
    ):
        with pytest.raises(ValidationError, match="api_key_env") as caught:
            build()
        assert SECRET not in str(caught.value) and "abcd" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stop_token_ids": [1, 2], "skip_special_tokens": True, "min_tokens": 3},
        {"stop_token": "<|end|>", "pad_token": "<pad>", "token_ids": [3], "tokens": None},
        {"hf_token": True, "password": None, "api_key": ""},
        {"prompt_cache_key": "curate", "user": "me", "service_tier": "flex"},
        {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "low"},
        {"guided_regex": r"task-\d+|risk-free_thing", "tokenizer": "hf/tokenizer"},
        {"system": "Basic usage of bearer bonds: ask-me-anything"},
        {"mm_processor_kwargs": {"url": "https://example.org/a?b=c"}},
    ],
)
def test_free_fields_take_ordinary_settings(fields: dict[str, Any]) -> None:
    assert find_secret_field(fields) is None


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"pool": [{"path": f"s3://key:{SECRET}@bucket/a"}]}, ("pool", 0, "path")),
        ({"pool": f"https://h/a.jsonl?token={SECRET}"}, ("pool",)),
        ({"pool": f"https://h/a.jsonl?a=b&X-Amz-Signature={SECRET}"}, ("pool",)),
        ({"pool": f"https://h/a.jsonl?sv=1&SIG={SECRET}"}, ("pool",)),
        ({"store": f"gs://h/a?key={SECRET}"}, ("store",)),
        ({"models": {"base": "hf_abcdefghij0123456789"}}, ("models", "base")),
    ],
)
def test_a_secret_is_found_anywhere_in_a_recipe(value: Any, place: Any) -> None:
    secret = find_secret(value)
    assert secret is not None and secret[0] == place and SECRET not in secret[1]


@pytest.mark.parametrize(
    "text",
    ["data/pool/*", "runs/sk-experiments-2024-01-data/pool.jsonl", "hf_data/train.jsonl",
     "s3://bucket/a?b", "sftp://user@host/a", "https://h/a.jsonl?page=2", "sk-learn", "ask: key=value"],
)  # fmt: skip
def test_ordinary_paths_and_names_hold_none(text: str) -> None:
    assert find_secret({"x": text}) is None


ENGINE = {"kind": "openai", "model": "m", "endpoints": [{"url": "http://h/v1"}]}
RECIPE = {
    "name": "r",
    "pool": [{"path": "pool.jsonl"}],
    "stages": [{"kind": "rubric", "engine": ENGINE}],
    "select": {"method": "random", "budget": {"rows": 1}},
}


@pytest.mark.parametrize(
    ("key", "value", "advice"),
    [
        ("stages.0.engine.extra", {"api_key": SECRET}, "api_key_env"),
        ("stages.0.engine.endpoints.0.url", f"https://user:{SECRET}@h/v1", "credentials"),
        ("stages.0.engine.endpoints.0.url", f"https://h/v1?v={SECRET}", "api_key_env"),
        ("stages.0.engine.endpoints.0.api_key_env", f"sk-{SECRET}", "name of the variable"),
        (
            "stages.0.engine.endpoints.0.api_key_env",
            f"hf_{SECRET}abcdef",
            "environment variables alone",
        ),
        ("pool.0.path", f"s3://a:{SECRET}@b/c", "credentials"),
        ("store", f"s3://a/b?token={SECRET}", "credentials"),
    ],
)
def test_a_recipe_with_a_secret_is_refused_by_its_key_and_without_its_value(
    tmp_path: Path, key: str, value: Any, advice: str
) -> None:
    path = tmp_path / "r.yaml"
    recipe = yaml.safe_load(yaml.safe_dump(RECIPE))
    *parents, last = key.split(".")
    place = recipe
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    place[last] = value
    path.write_text(yaml.safe_dump(recipe))
    with pytest.raises(UserError) as caught:
        load_config(path)
    sentence = str(caught.value)
    assert key in sentence and advice in sentence and SECRET not in sentence
    assert sentence.count("\n") == 0
