"""Layouts: the ways in which data sets write conversations down, told record by record."""

from curate.pool.layouts.example import Example, Fault
from curate.pool.layouts.reader import Part, Reader, Reading, file_reader
from curate.pool.layouts.registry import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Example", "Fault", "Layout", "Part", "Reader", "Reading", "file_reader"]
