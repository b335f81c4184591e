"""What transformers and sentence-transformers import in order to compute, but for what no model calls.

Text generation takes one function of scikit-learn for a helper model that guesses ahead, the losses of
object detectors one of scipy, and evaluations of embedders a few: two and a half thousand files between
them. Where one of these functions is called after all, it imports its library then.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from curate.core.lazy import without_collection

# Last the classes that choose one by a folder: what these import is all that models share.
COMPUTES = ("transformers.modeling_utils", "transformers.models.auto.modeling_auto")
EMBEDS = ("sentence_transformers",)


class LateFunction:
    """A function that is looked up in its module when it is called."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return what the function returns."""
        return getattr(_whole_module(self._module), self._name)(*args, **options)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of what is no function, as of `scipy.stats.norm`.

        Raises:
            AttributeError: the name is one of Python's own, or there is none.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(getattr(_whole_module(self._module), self._name), name)


class LateModule(ModuleType):
    """A module whose functions are looked up in the module itself when they are called."""

    def __getattr__(self, name: str) -> LateFunction:
        """Return a function of this name.

        Raises:
            AttributeError: the name is one of Python's own, which an import asks for.
        """
        if name.startswith("__"):
            raise AttributeError(name)
        return LateFunction(self.__name__, name)


def _whole_module(name: str) -> ModuleType:
    """Return a module itself: another thread may call its functions while one imports models."""
    if isinstance(sys.modules.get(name), LateModule):
        sys.modules.pop(name, None)
    return import_module(name)


def import_computation() -> None:
    """Import what transformers computes with; a model loads the rest of its own."""
    _import_without(COMPUTES, ("sklearn.metrics", "scipy.optimize"))


def import_embedding() -> None:
    """Import what sentence-transformers computes with."""
    import_computation()
    _import_without(EMBEDS, ("sklearn.metrics", "scipy.stats"))


def _import_without(modules: tuple[str, ...], late: tuple[str, ...]) -> None:
    if modules[-1] in sys.modules:
        return
    with without_collection():
        # Before and outside: torch and its kin get the libraries that they ask for.
        import_module("torch")
        with called_later(late):
            for name in modules:
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
