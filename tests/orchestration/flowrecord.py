"""What Prefect keeps of flows that have ended on servers of their own, read from its database."""

import sqlite3
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import orjson

NEWEST = "select id from flow_run order by created desc limit 1"


def flow_runs(cache: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return name and state of every flow run that Prefect remembers."""
    return _read(cache, "select name, state_name from flow_run order by created")


def task_states(cache: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return name and state of every task of the newest flow run."""
    return _read(cache, f"select name, state_name from task_run where flow_run_id = ({NEWEST})")


def made_of(cache: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the steps that each step of the newest flow run is shown to be made of."""
    tasks = f"select id, name, task_inputs from task_run where flow_run_id = ({NEWEST})"
    rows = _read(cache, tasks)
    names = {uuid.UUID(number): name for number, name, _ in rows}
    return {
        name: {names[uuid.UUID(one["id"])] for one in orjson.loads(inputs).get("job", [])}
        for _, name, inputs in rows
    }


def artifact_text(cache: Mapping[str, str], key: str) -> str:
    """Return the newest text that Prefect shows under a key."""
    newest = "select data from artifact where key = ? order by created desc limit 1"
    ((data,),) = _read(cache, newest, key)
    return str(orjson.loads(data))


def _read(cache: Mapping[str, str], query: str, *values: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(Path(cache["CURATE_CACHE"], "prefect", "prefect.db"))) as database:
        return database.execute(query, values).fetchall()
