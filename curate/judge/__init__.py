"""Confidence in rows: which are wrong, which can be corrected, what the model knows already."""
