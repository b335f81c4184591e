"""Runs under an orchestrator, today Prefect. Nothing here decides anything about rows.

No other package of curate imports an orchestrator, and nobody imports this one but a run as a flow.
"""
