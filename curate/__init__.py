"""Targeted instruction-data curation with proof.

    import curate

    unique = curate.dedup("pool.jsonl").kept         # or a list of dicts, a frame, a Dataset
    chosen = curate.select(unique, "target.jsonl", method="embed", rows=500)
    print(curate.prove(chosen, "eval.jsonl"))

Each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from curate.core.version import __version__

if TYPE_CHECKING:
    from curate.api.evalset import evalset
    from curate.api.finishedrun import FinishedRun
    from curate.api.proof import Proof, prove
    from curate.api.recipes import run
    from curate.api.rows import Rows, read
    from curate.api.selection import Selection, select
    from curate.api.verdicts import Verdicts, dedup, leaks, rules
    from curate.api.viewing import RunViewer

__all__ = [
    "FinishedRun",
    "Proof",
    "Rows",
    "RunViewer",
    "Selection",
    "Verdicts",
    "__version__",
    "dedup",
    "evalset",
    "leaks",
    "prove",
    "read",
    "rules",
    "run",
    "select",
]
MODULES = {
    "rows": ("Rows", "read"),
    "verdicts": ("Verdicts", "dedup", "leaks", "rules"),
    "selection": ("Selection", "select"),
    "proof": ("Proof", "prove"),
    "recipes": ("run",),
    "evalset": ("evalset",),
    "finishedrun": ("FinishedRun",),
    "viewing": ("RunViewer",),
}


def __getattr__(name: str) -> Any:
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(f"curate.api.{module}"), name)
    raise AttributeError(f"module 'curate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
