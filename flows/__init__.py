"""Prefect flows around the library. Nothing here decides anything about rows."""
