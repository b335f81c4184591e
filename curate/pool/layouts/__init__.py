"""Layouts: the ways in which data sets write conversations down, told record by record."""

from curate.pool.layouts.example import ConversationTurns, RecordFault
from curate.pool.layouts.reader import Conversation, ParsedRecord, RecordReader, file_reader
from curate.pool.layouts.registry import LAYOUTS, Layout, own_layouts

__all__ = [
    "LAYOUTS",
    "Conversation",
    "ConversationTurns",
    "Layout",
    "ParsedRecord",
    "RecordFault",
    "RecordReader",
    "file_reader",
    "own_layouts",
]
