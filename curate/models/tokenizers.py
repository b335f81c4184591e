"""Tokenizers as transformers loads them, without the parts of it that compute.

`AutoTokenizer` imports text generation, and with it scikit-learn and distributed tensors: three and a
half seconds of a core. Where its choice is plain by the files alone, the class is taken directly.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    import transformers
    from transformers import PreTrainedTokenizerBase
else:
    transformers = lazy_module("transformers")

# What transformers writes for a tokenizer that is all in tokenizer.json; the second before version 5.
PLAIN_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")
# AutoTokenizer believes the class that folders of these families name; that of others it overrules.
BELIEVED_FAMILIES = ("llama",)


def read_tokenizer(folder: Path, trust: bool) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a folder, of the class that AutoTokenizer chooses."""
    if is_plain(folder):
        return transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)


def is_plain(folder: Path) -> bool:
    """Return whether a tokenizer needs no class of its own, by what its folder says."""
    settings, config = (_values(folder / f"{name}.json") for name in ("tokenizer_config", "config"))
    return (
        settings.get("tokenizer_class") in PLAIN_CLASSES
        and config.get("model_type") in BELIEVED_FAMILIES
        and not {"auto_map", "model_name"} & {*settings, *config}
        and (folder / "tokenizer.json").is_file()
    )


def _values(file: Path) -> dict[str, Any]:
    """Return what a file of settings says; nothing if there is none or it is damaged."""
    try:
        values = orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
