"""Modules that are imported at their first use: torch and its kin, which take seconds to load.

    if TYPE_CHECKING:
        import torch
    else:
        torch = lazy_module("torch")

Importing a file that says so costs nothing; the first `torch.no_grad()` imports torch.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """A module that imports what it stands for when an attribute of it is first looked up."""

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of the module itself."""
        module = sys.modules.get(self.__name__)
        # While another thread imports it, it is there and not whole; import_module waits for that.
        if module is None or getattr(module.__spec__, "_initializing", False):
            with without_collection():
                module = import_module(self.__name__)
        return getattr(module, name)


def lazy_module(name: str) -> ModuleType:
    """Return a module that is imported at its first use, or the module itself where it is loaded."""
    return sys.modules.get(name) or LazyModule(name)


@contextmanager
def without_collection() -> Iterator[None]:
    """Import with Python's collection of garbage put off until the end.

    What an import makes stays. To look all of it through again and again, as it grows, takes a quarter
    of the time of a big one.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
