"""The files of a run folder, with what is in them, as the page links to them."""

from dataclasses import dataclass
from urllib.parse import quote

from curate.runs.folder import RunFolder, inside, listed_files

WORDS = {
    "ledger.parquet": "what became of every row, and why",
    "selected.parquet": "the selected rows",
    "pairs.parquet": "the selected rows with a rejected answer, as pairs",
    "rejects.parquet": "records that made no row",
    "proof.json": "every figure of the proof",
    "manifest.json": "recipe, versions, costs and warnings",
    "sbom.cdx.json": "bill of materials: what the run was made with",
    "export/README.md": "the card of the training files",
}
PAGE = "report/index.html"


@dataclass(frozen=True)
class FileLink:
    """A file of a run: its path in the run folder, its bytes, and what is in it, in words or ""."""

    name: str
    size: int
    words: str = ""

    @property
    def href(self) -> str:
        """Return the way to it from the page."""
        return f"../{quote(self.name)}"


def file_links(run: RunFolder) -> tuple[FileLink, ...]:
    """Return the files of a run but its page, those that have words first."""
    names = [name for name in listed_files(run.path) if name != PAGE]
    order = {name: place for place, name in enumerate(WORDS)}
    names.sort(key=lambda name: (order.get(name, len(order)), name))
    return tuple(
        FileLink(name, inside(run.path, name).stat().st_size, WORDS.get(name, "")) for name in names
    )
