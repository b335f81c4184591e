"""What a call should be given by whatever runs it: cores, a GPU where there are any, memory."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Wants:
    """What a call is best run with; it changes no result, and is in no key.

    gpus: where the machine has any; a call runs without as well. memory_mb: None where nobody has
    measured it.
    """

    cpus: int = 1
    gpus: int = 0
    memory_mb: int | None = None


ONE_CORE = Wants()
ONE_GPU = Wants(gpus=1)
# The same for all calls of a function, or told by a call's arguments.
WantsOf = Wants | Callable[..., Wants]
