"""Models of the Hugging Face Hub; whatever goes wrong there is one sentence with what to do.

fetch_model("Qwen/Qwen3-0.6B")      the folder of the cached snapshot, fetched where it is not whole
"""

from pathlib import Path
from typing import TYPE_CHECKING

from curate.core.errors import UserError
from curate.core.faults import one_line
from curate.core.hubfaults import HubRequest, explain_hub
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    import huggingface_hub
else:
    huggingface_hub = lazy_module("huggingface_hub")

PICKLED_WEIGHTS = ["*.bin", "*.pt", "*.h5", "*.msgpack"]


def fetch_model(name: str) -> Path:
    """Return the folder of a hub model, all of its files fetched but pickled weights.

    Raises:
        UserError: it cannot be had; says why and what to do.
    """
    try:
        folder = Path(huggingface_hub.snapshot_download(name, ignore_patterns=PICKLED_WEIGHTS))
    # Where a server is none of the hub's, the client stumbles in any way over what it sends.
    except Exception as error:
        why = explain_hub(error, HubRequest("model", name))
        raise UserError(
            f"model {name!r}, neither a local folder nor an embedded model, could not be fetched from "
            f"the hub: {why} ({type(error).__name__}: {one_line(error, 120)})"
        ) from error
    if not folder.is_dir():
        raise UserError(f"model {name!r}: the hub has no files of it; take another model")
    return folder
