"""What transformers imports in order to compute, but for libraries that no model calls.

Text generation takes one function of scikit-learn for a helper model that guesses ahead, and the losses
of object detectors one of scipy: two and a half thousand files between them. Where a function of
theirs is called after all, it imports its library then.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from curate.core.lazy import without_collection

# Last the classes that choose one by a folder: what these import is all that models share.
COMPUTES = ("transformers.modeling_utils", "transformers.models.auto.modeling_auto")
CALLED_LATER = ("sklearn.metrics", "scipy.optimize")


class LateModule(ModuleType):
    """A module of functions, each of which is looked up in the module itself when it is called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a function of this name.

        Raises:
            AttributeError: the name is one of Python's own, which an import asks for.
        """
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **options: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*args, **options)

        return call


def import_computation() -> None:
    """Import what transformers computes with; a model loads the rest of its own."""
    if COMPUTES[-1] in sys.modules:
        return
    with without_collection():
        # Before and outside: torch and its kin get the libraries that they ask for.
        import_module("torch")
        with called_later(CALLED_LATER):
            for name in COMPUTES:
                import_module(name)


@contextmanager
def called_later(names: tuple[str, ...]) -> Iterator[None]:
    """Have what is imported meanwhile take functions of these modules without importing them."""
    late = {name: LateModule(name) for name in names if name not in sys.modules}
    sys.modules.update(late)
    try:
        yield
    finally:
        for name, module in late.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
