"""The page's one script, and the digest by which the page allows it and no other."""

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

FILES = ("rows_table.js", "page.js")


@dataclass(frozen=True)
class InlineScript:
    """A script that stands in a page."""

    code: str

    @property
    def digest(self) -> str:
        """Return what a content security policy calls it."""
        return "sha256-" + b64encode(hashlib.sha256(self.code.encode()).digest()).decode()


def read_script(folder: Path) -> InlineScript:
    """Return the files of the script, one after the other."""
    return InlineScript("".join((folder / name).read_text("utf-8") for name in FILES))
