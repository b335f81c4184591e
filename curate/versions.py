"""Versions of the libraries whose arithmetic, order or encoding can change a byte of a result."""

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from curate import __version__

LIBRARIES = (
    "faiss-cpu",
    "gguf",
    "llguidance",
    "numpy",
    "peft",
    "polars",
    "py3langid",
    "pyarrow",
    "rapidfuzz",
    "regex",
    "safetensors",
    "scipy",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
)


def library_versions() -> dict[str, str]:
    """Return the versions of curate, Python and the installed libraries, by name."""
    return dict(_versions())


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    versions = {"curate": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return tuple(versions.items())
