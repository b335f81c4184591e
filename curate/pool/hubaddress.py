"""Names of data sets of the Hugging Face Hub.

owner/name                              a data set
hf://datasets/owner/name@REVISION       the same at a branch, tag or commit
hf://datasets/owner/name/data/*.jsonl   files of its repository by their paths
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from curate.core.errors import UserError
from curate.core.hubfaults import HubRequest
from curate.pool.files import FORMS, HUB_NAME, PACKED

REPO = HUB_NAME.pattern
ADDRESS = re.compile(
    rf"hf://datasets/{REPO}(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(?P<inner>.*))?"
)
PAGE = re.compile(rf"https://huggingface\.co/datasets/{REPO}/?")


@dataclass(frozen=True)
class HubAddress:
    """A data set's repository, a branch, tag or commit of it, and a path in it or none."""

    repo: str
    revision: str | None = None
    inner: str = ""

    @property
    def request(self) -> HubRequest:
        """Return what is asked of the hub, for errors."""
        return HubRequest("data set", self.repo, self.revision)


def parse_address(path: str, revision: str | None = None) -> HubAddress | None:
    """Return the data set of the hub that a path names; None if it names none.

    `owner/name` does where it can be no path on this machine: there is no folder `owner`, and the name
    does not end as a file's does.

    Raises:
        UserError: two revisions are named.
    """
    if match := ADDRESS.fullmatch(path):
        within = unquote(match["revision"]) if match["revision"] else None
        if within and revision and within != revision:
            raise UserError(
                f"{path} is of the revision {within!r}, and `revision:` is {revision!r}; leave one out"
            )
        return HubAddress(match["repo"], within or revision, (match["inner"] or "").strip("/"))
    if match := PAGE.fullmatch(path):
        return HubAddress(match["repo"], revision)
    is_path = path.lower().endswith((*FORMS, *PACKED)) or Path(path).parent.is_dir()
    return HubAddress(path, revision) if HUB_NAME.fullmatch(path) and not is_path else None
