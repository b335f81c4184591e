"""Models of the Hugging Face Hub; whatever goes wrong there is one sentence with what to do.

fetch_model("Qwen/Qwen3-0.6B")      the folder of the cached snapshot, fetched where it is not whole
"""

import re
from collections.abc import Mapping
from pathlib import Path

from curate.core.errors import UserError
from curate.core.faults import causes, explain_system, one_line

PICKLED_WEIGHTS = ["*.bin", "*.pt", "*.h5", "*.msgpack"]
TOKEN = "set HF_TOKEN to a token that may read it"
# What to do about an error of huggingface_hub, by its class; a class stands before those it is one of.
BY_CLASS = (
    ("OfflineModeIsEnabled", "HF_HUB_OFFLINE is set and the cache {cache} does not hold all of it; "
     "unset it, or fetch the model once with a network"),
    ("GatedRepoError", "its owner asks for terms to be accepted; accept them on {page} and "
     "set HF_TOKEN to a token of the same account"),
    ("DisabledRepoError", "the hub has disabled it; take another model"),
    ("RepositoryNotFoundError", f"the hub has no model of that name, or a private one; check the "
     f"name, or {TOKEN}"),
    ("RevisionNotFoundError", "the hub has the model but nothing on its main branch; take another"),
    ("EntryNotFoundError", "a file that the hub lists is not there; run again, or take another model"),
    ("HFValidationError", "that is no name of a hub model, which is owner/name in letters, digits, "
     "'-', '_' and '.'; check it, or the path of the folder that is meant"),
)  # fmt: skip
BY_STATUS = {
    401: "the hub wants a valid token; check the name, and set HF_TOKEN to a token that is valid, or "
    "unset one that is not",
    403: f"the hub forbids it to this account; {TOKEN}",
    407: "the proxy asks for a login; check HTTPS_PROXY",
    429: "the hub had too many requests from here; wait some minutes, or set HF_TOKEN",
}
TROUBLE = "the hub at {endpoint} has trouble of its own (HTTP {status}); run again later"
UNREACHED = (
    "the hub at {endpoint} cannot be reached, or the connection broke; check the network, HTTPS_PROXY "
    "and HF_ENDPOINT and run again, or name a local folder"
)
NO_HUB = (
    "what {endpoint} sends is not what the hub sends, or the cache {cache} is damaged; check "
    "HF_ENDPOINT and the proxy, or remove the model's folder from the cache"
)


def fetch_model(name: str) -> Path:
    """Return the folder of a hub model, all of its files fetched but pickled weights.

    Raises:
        UserError: it cannot be had; says why and what to do.
    """
    from huggingface_hub import constants, snapshot_download  # noqa: PLC0415

    try:
        folder = Path(snapshot_download(name, ignore_patterns=PICKLED_WEIGHTS))
    # Where a server is none of the hub's, the client stumbles in any way over what it sends.
    except Exception as error:
        places = {
            "cache": constants.HF_HUB_CACHE,
            "endpoint": constants.ENDPOINT,
            "page": f"{constants.ENDPOINT}/{name}",
        }
        raise UserError(
            f"model {name!r}, neither a local folder nor an embedded model, could not be fetched from "
            f"the hub: {_explain(error, places)} ({type(error).__name__}: {one_line(error, 120)})"
        ) from error
    if not folder.is_dir():
        raise UserError(f"model {name!r}: the hub has no files of it; take another model")
    return folder


def _explain(error: Exception, places: Mapping[str, str]) -> str:
    """Return what a user can do about an error of the hub's client."""
    for cause in causes(error):
        advice = _by_class(cause) or _by_status(cause)
        if advice is not None:
            return _fill(advice, places)
        system = explain_system(cause)
        if system is not None:
            return f"{system} (its cache is {places['cache']})"
        if isinstance(cause, UnicodeEncodeError):
            return "HF_TOKEN has letters that no token has; copy it once more"
        if _is_transport(cause):
            return _fill(UNREACHED, places)
    return _fill(NO_HUB, places)


def _fill(sentence: str, places: Mapping[str, str]) -> str:
    """Return a sentence with its {names} filled in; what it is filled with is no format string."""
    return re.sub(r"\{(\w+)\}", lambda name: places[name[1]], sentence)


def _by_class(error: BaseException) -> str | None:
    from huggingface_hub import errors  # noqa: PLC0415

    # A file that is not in the cache is no file that the hub does not have.
    if isinstance(error, errors.LocalEntryNotFoundError):
        return None
    for name, advice in BY_CLASS:
        kind = getattr(errors, name, None)
        if kind is not None and isinstance(error, kind):
            return advice
    return None


def _by_status(error: BaseException) -> str | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if not isinstance(status, int):
        return None
    return BY_STATUS.get(status) or (
        TROUBLE.replace("{status}", str(status)) if status >= 500 else None
    )


def _is_transport(error: BaseException) -> bool:
    """Return whether a connection failed or broke; the HTTP library changes with the client."""
    library = type(error).__module__.split(".")[0]
    named = library in ("httpx", "httpx2", "requests", "urllib3") and not hasattr(error, "response")
    return named or isinstance(error, ConnectionError | TimeoutError)
