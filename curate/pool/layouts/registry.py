"""The layouts that records are tried against, in this order; the first that reads one whole has it."""

from typing import Protocol

from curate.pool.layouts.choices import Choices
from curate.pool.layouts.example import Example, Record, Roles
from curate.pool.layouts.messages import LISTED
from curate.pool.layouts.oasst import Tree
from curate.pool.layouts.pairs import PAIRS
from curate.pool.layouts.preference import Preference
from curate.pool.layouts.transcript import Transcript


class Layout(Protocol):
    """A way to write a conversation down, told by the fields of a record."""

    @property
    def name(self) -> str:
        """Return what `curate check` calls it."""

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields that the layout is told by; none if the record is in another one."""

    def read(self, record: Record, roles: Roles) -> Example:
        """Return the conversation.

        Raises:
            Fault: the record is not as the layout has it.
        """


LAYOUTS: tuple[Layout, ...] = (
    Preference(),
    *LISTED,
    Tree(),
    Choices(),
    *PAIRS,
    Transcript(),
)
