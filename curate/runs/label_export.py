"""Rows to label as a file for another tool: JSON Lines, in which `correct` waits for true or false.

{"row_id": "web/a.jsonl:7", "correct": null, "weight": 0.31, "prompt": ..., "response": ...}

Filled in, it is a file of labels that `confidence` reads.
"""

from pathlib import Path

import orjson
import polars as pl

from curate.core.errors import UserError
from curate.core.rows import prompt_text, response_text
from curate.runs.folder import RunFolder
from curate.runs.labels import draw
from curate.runs.publish import temporary_name


def export_rows(run: RunFolder, count: int, target: Path) -> int:
    """Write the next rows to label to a new file; return how many they are.

    Raises:
        UserError: the file is there already or cannot be written, the store has lost the rows, or all of
            them have labels.
    """
    if target.exists():
        raise UserError(f"--out {target} is there already; give a new file")
    rows, drawn = run.rows("pool"), draw(run, count)
    if rows is None:
        raise UserError(f"{run.path}: the store has lost the rows; run `curate run` again")
    table = rows.filter(pl.col("row_id").is_in(drawn["row_id"].implode()))
    turns = dict(table.select("row_id", "messages").collect().iter_rows())
    lines = [
        {
            "row_id": row_id,
            "correct": None,
            "weight": weight,
            "score": score,
            "prompt": prompt_text(turns[row_id]),
            "response": response_text(turns[row_id]),
        }
        for row_id, weight, score in drawn.select("row_id", "weight", "score").iter_rows()
    ]
    staging = temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        text = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
        staging.write_bytes(text)
        staging.replace(target)
    except OSError as error:
        raise UserError(f"--out {target} cannot be written ({error.strerror})") from error
    finally:
        staging.unlink(missing_ok=True)
    return len(lines)
