"""The layouts that records are tried against, in this order; the first that reads one whole has it."""

from typing import Protocol

from curate.pool.layouts.choices import ChoicesLayout
from curate.pool.layouts.example import ConversationTurns, Record, Roles
from curate.pool.layouts.messages import LISTED
from curate.pool.layouts.oasst import TreeLayout
from curate.pool.layouts.pairs import PAIRS
from curate.pool.layouts.preference import PreferenceLayout
from curate.pool.layouts.transcript import TranscriptLayout


class Layout(Protocol):
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


LAYOUTS: tuple[Layout, ...] = (
    PreferenceLayout(),
    *LISTED,
    TreeLayout(),
    ChoicesLayout(),
    *PAIRS,
    TranscriptLayout(),
)
