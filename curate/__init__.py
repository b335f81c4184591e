"""Targeted instruction-data curation with proof."""

__version__ = "0.1.0"
