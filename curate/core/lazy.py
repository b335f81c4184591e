"""Modules that are imported at their first use: torch and its kin, which take seconds to load.

    if TYPE_CHECKING:
        import torch
    else:
        torch = lazy_module("torch")

Importing a file that says so costs nothing; the first `torch.no_grad()` imports torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """A module that imports what it stands for when an attribute of it is first looked up."""

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of the module itself."""
        return getattr(import_module(self.__name__), name)


def lazy_module(name: str) -> ModuleType:
    """Return a module that is imported at its first use, or the module itself where it is loaded."""
    return sys.modules.get(name) or LazyModule(name)
