"""Versions of the libraries whose arithmetic, order or encoding can change a byte of a result."""

import platform
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from curate.core.version import __version__

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
    """Return the versions of curate, Python and the libraries that this process has loaded, by name.

    A library that no line of code has imported can have changed no byte.
    """
    return _versions(name for name in LIBRARIES if _module(name) in sys.modules)


def installed_versions() -> dict[str, str]:
    """Return the versions of curate, Python and the installed libraries, loaded or not, by name."""
    return _versions(LIBRARIES)


def changed_versions(recorded: Mapping[str, str]) -> dict[str, str]:
    """Return those of the recorded versions of libraries that are not the installed ones.

    Python and curate are told beside every result, but change none: the keys have versions of the code.
    """
    return {
        name: number
        for name, number in recorded.items()
        if name in LIBRARIES and number != _version(name)
    }


def versions_sentence(recorded: Iterable[tuple[str, Mapping[str, str]]]) -> str | None:
    """Return which stored results were made with other versions of libraries than are installed.

    Args:
        recorded: names of steps, and the versions that their artifacts were made with.
    """
    steps: dict[str, None] = {}
    changes: dict[str, set[str]] = {}
    for step, versions in recorded:
        for name, number in changed_versions(versions).items():
            steps[step] = None
            changes.setdefault(name, set()).add(number)
    if not changes:
        return None
    libraries = "; ".join(
        f"{name} {', '.join(sorted(numbers))}, now {_version(name) or 'not installed'}"
        for name, numbers in sorted(changes.items())
    )
    return (
        f"stored results of {', '.join(steps)} were made with other versions of libraries "
        f"({libraries}); they are reused, though the installed ones may differ from them in the "
        "last digits: another folder as `store:` computes all anew"
    )


def _versions(names: Iterable[str]) -> dict[str, str]:
    numbers = {name: _version(name) for name in names}
    own = {"curate": __version__, "python": platform.python_version()}
    return own | {name: number for name, number in numbers.items() if number is not None}


def _module(distribution: str) -> str:
    return distribution.removesuffix("-cpu").replace("-", "_")


@lru_cache(maxsize=len(LIBRARIES))
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
