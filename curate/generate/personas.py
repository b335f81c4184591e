"""Personas: short descriptions of people, one a line, of whom those near a topic set exercises.

The built-in list is our own and names nobody. The released Persona Hub (arXiv:2406.20094) is under
CC BY-NC-SA 4.0 and not in here; a file of such lines can be given instead.
"""

from collections.abc import Sequence
from pathlib import Path

from curate.core.errors import UserError
from curate.core.localfiles import read_text
from curate.generate.sift import Embed
from curate.llm.prompts import BUILT_IN
from curate.models.neighbours.nearest import nearest

PERSONAS = BUILT_IN / "aide" / "personas.txt"


def read_personas(path: str | None, digest: str | None = None) -> list[str]:
    """Return the personas of a file, the built-in ones if none is given; blank lines and # are skipped.

    Raises:
        UserError: the file cannot be read, has another digest or names nobody.
    """
    file = Path(path) if path is not None else PERSONAS
    lines = read_text(file, "the persona file", digest=digest).splitlines()
    unique_lines = list(dict.fromkeys(" ".join(line.split()) for line in lines))
    personas = [line for line in unique_lines if line and not line.startswith("#")]
    if not personas:
        raise UserError(f"persona_file: {file} has no line with a persona")
    return personas


class Personas:
    """A list of personas, and which of them are nearest to a topic."""

    def __init__(self, personas: Sequence[str], embed: Embed) -> None:
        self._personas = list(personas)
        self._embed = embed
        self._vectors = embed(self._personas)

    def nearest(self, topics: Sequence[str], most: int) -> list[list[str]]:
        """Return for each topic the personas of the largest cosine to it, best first."""
        if not topics:
            return []
        numbers, _ = nearest(self._embed(topics), [self._vectors], most)
        return [[self._personas[i] for i in row] for row in numbers]
