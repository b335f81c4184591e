"""The layouts that records are tried against, in this order; the first that reads one whole has it.

Layouts of plugins and other distributions come before those of the package.
"""

from typing import ClassVar, Protocol

from curate.core.methods import Method, methods_in
from curate.pool.layouts.answered import AnsweredLayout
from curate.pool.layouts.choices import ChoicesLayout
from curate.pool.layouts.compared import ComparedLayout
from curate.pool.layouts.example import ConversationTurns, Record, Roles
from curate.pool.layouts.generations import GenerationsLayout
from curate.pool.layouts.glaive import GlaiveLayout
from curate.pool.layouts.messages import LISTED
from curate.pool.layouts.moss import MossLayout
from curate.pool.layouts.oasst import TreeLayout
from curate.pool.layouts.pairs import ATTEMPTS, DISTILLED, PAIRS, PROGRAM, TEXTBOOK
from curate.pool.layouts.preference import PreferenceLayout
from curate.pool.layouts.ranked import RankedLayout
from curate.pool.layouts.transcript import TranscriptLayout


class LayoutReader(Protocol):
    """A way to write a conversation down, told by the fields of a record."""

    @property
    def name(self) -> str:
        """Return what `curate check` calls it."""

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields that the layout is told by; none if the record is in another one."""

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the conversation.

        Raises:
            RecordFault: the record is not as the layout has it.
        """


class Layout(Method):
    """A layout of your own: a class in a plugin or a distribution, registered as a method."""

    family: ClassVar[str] = "layout"

    @property
    def name(self) -> str:
        """Return what `curate check` calls it."""
        return self.method

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields that the layout is told by; none if the record is in another one."""
        raise NotImplementedError

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the conversation.

        Raises:
            RecordFault: the record is not as the layout has it.
        """
        raise NotImplementedError


LAYOUTS: tuple[LayoutReader, ...] = (
    PreferenceLayout(),
    ComparedLayout(),
    RankedLayout(),
    GenerationsLayout(),
    AnsweredLayout(),
    *LISTED,
    GlaiveLayout(),
    MossLayout(),
    TreeLayout(),
    ChoicesLayout(),
    *ATTEMPTS,
    TEXTBOOK,
    DISTILLED,
    *PAIRS,
    PROGRAM,
    TranscriptLayout(),
)


def all_layouts() -> tuple[LayoutReader, ...]:
    """Return the layouts that a record may be in."""
    return (*(cls(method=name) for name, cls in methods_in(Layout).items()), *LAYOUTS)


def own_layouts() -> list[list[str | int]] | None:
    """Return names and versions of the layouts that are not the package's; None without any."""
    return [[name, cls.version] for name, cls in methods_in(Layout).items()] or None
