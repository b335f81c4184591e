"""What a user can do where the Hugging Face Hub or its client fails, for models and for data sets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.core.faults import causes, explain_system
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    from huggingface_hub import constants, errors
else:
    constants = lazy_module("huggingface_hub.constants")
    errors = lazy_module("huggingface_hub.errors")

# What to do about an error of huggingface_hub, by its class; a class stands before those it is one of.
BY_CLASS = (
    ("OfflineModeIsEnabled", "HF_HUB_OFFLINE is set and the cache {cache} does not hold all of it; "
     "unset it, or fetch the {noun} once with a network ({command})"),
    ("GatedRepoError", "its owner asks for terms to be accepted; accept them on {page} and "
     "set HF_TOKEN to a token of the same account"),
    ("DisabledRepoError", "the hub has disabled it; take another {noun}"),
    ("RepositoryNotFoundError", "the hub has no {noun} of that name, or a private one; check the "
     "name, or set HF_TOKEN to a token that may read it"),
    ("RevisionNotFoundError", "the hub has the {noun} but {absent}"),
    ("EntryNotFoundError", "a file that the hub lists is not there; run again, or take another {noun}"),
    ("HFValidationError", "that is no name of a hub {noun}, which is owner/name in letters, digits, "
     "'-', '_' and '.'; check it, or the path of the folder that is meant"),
)  # fmt: skip
BY_STATUS = {
    401: "the hub wants a valid token; check the name, and set HF_TOKEN to a token that is valid, or "
    "unset one that is not",
    403: "the hub forbids it to this account; set HF_TOKEN to a token that may read it",
    407: "the proxy asks for a login; check HTTPS_PROXY",
    429: "the hub had too many requests from here; wait some minutes, or set HF_TOKEN",
}
TROUBLE = "the hub at {endpoint} has trouble of its own (HTTP {status}); run again later"
UNREACHED = (
    "the hub at {endpoint} cannot be reached, or the connection broke; check the network, HTTPS_PROXY "
    "and HF_ENDPOINT and run again, or fetch the {noun} where there is a network ({command})"
)
NO_HUB = (
    "what {endpoint} sends is not what the hub sends, or the cache {cache} is damaged; check "
    "HF_ENDPOINT and the proxy, or remove the {noun}'s folder from the cache"
)


@dataclass(frozen=True)
class HubRequest:
    """What is asked of the hub: a model or data set, its main branch or a revision of it.

    noun: what it is, "model" or "data set".
    """

    noun: str
    name: str
    revision: str | None = None

    @property
    def command(self) -> str:
        """Return the command that fills the cache with it."""
        kind = " --repo-type dataset" if self.noun == "data set" else ""
        return f"hf download {self.name}{kind}" + (
            f" --revision {self.revision}" if self.revision else ""
        )

    @property
    def words(self) -> dict[str, str]:
        """Return what the sentences above are filled in with."""
        page = f"{constants.ENDPOINT}/{'datasets/' * (self.noun == 'data set')}{self.name}"
        absent = (
            f"nothing on its main branch; take another {self.noun}"
            if self.revision is None
            else f"no branch, tag or commit {self.revision!r}; check the revision"
        )
        return {
            "noun": self.noun,
            "command": self.command,
            "absent": absent,
            "page": page,
            "cache": constants.HF_HUB_CACHE,
            "endpoint": constants.ENDPOINT,
        }


def explain_hub(error: Exception, request: HubRequest) -> str:
    """Return what a user can do about an error of the hub's client."""
    words = request.words
    for cause in causes(error):
        advice = _by_class(cause) or _by_status(cause)
        if advice is not None:
            return _fill(advice, words)
        system = explain_system(cause)
        if system is not None:
            return f"{system} (its cache is {words['cache']}; HF_HUB_CACHE names another)"
        if isinstance(cause, UnicodeEncodeError):
            return "HF_TOKEN has letters that no token has; copy it once more"
        if is_transport(cause):
            return _fill(UNREACHED, words)
    return _fill(NO_HUB, words)


def _fill(sentence: str, words: Mapping[str, str]) -> str:
    """Return a sentence with its {names} filled in; what it is filled with is no format string."""
    return re.sub(r"\{(\w+)\}", lambda name: words[name[1]], sentence)


def _by_class(error: BaseException) -> str | None:
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


def is_transport(error: BaseException) -> bool:
    """Return whether a connection failed or broke; the HTTP library changes with the client."""
    library = type(error).__module__.split(".")[0]
    named = library in ("httpx", "httpx2", "requests", "urllib3") and not hasattr(error, "response")
    return named or isinstance(error, ConnectionError | TimeoutError)
