"""Entry points for Prefect, to serve or to deploy; the flows themselves are in curate.orchestration."""
