"""Write the pages into docs/reference: python -m reference."""

from pathlib import Path

from reference.pages import write_pages

write_pages(Path(__file__).parents[1] / "docs" / "reference")
