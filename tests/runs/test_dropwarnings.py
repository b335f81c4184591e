"""Stages that dropped more than a third are named, with commands that work."""

import shlex
from pathlib import Path

from curate.core.escape import markdown
from curate.report.build import write_report
from curate.report.markdown import report_markdown
from curate.runs.dropwarnings import drop_warnings
from curate.runs.folder import open_run
from curate.runs.funnel import gather_funnel
from tests.commandline import curate
from tests.report.realrun import FUZZY, finish, shared_recipe, write_inputs


def test_a_stage_that_drops_more_than_a_third_is_named_with_commands_that_work(
    tmp_path: Path, tiny: Path
) -> None:
    write_inputs(tmp_path)
    stage = {**FUZZY, "threshold": 0.3}
    path = finish(shared_recipe(tmp_path, tiny, [{"kind": "exact"}, stage]), tmp_path / "a run")
    run = open_run(path)
    funnel = gather_funnel(run)
    before, fuzzy = funnel.steps[1:3]
    (warning,) = drop_warnings(run, funnel)
    assert fuzzy.removed > before.remaining / 3
    assert warning.sentence.startswith(
        f"fuzzy dropped {fuzzy.removed:,} of {before.remaining:,} rows ("
    )
    rows, thresholds = (shlex.split(command)[1:] for command in warning.commands)
    assert f"{fuzzy.removed} rows" in curate(*rows).stdout
    assert "threshold" in curate(*thresholds).stdout
    page = write_report(path).read_text()
    assert warning.sentence in page and "curate rethreshold RUN fuzzy" in page
    assert str(path) not in page
    assert markdown(warning.sentence) in report_markdown(run)


def test_a_warning_of_the_run_itself_comes_along(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, rows=2)
    run = open_run(finish(shared_recipe(tmp_path, tiny, []), tmp_path / "run"))
    run.manifest["warnings"] = ["exact drops 9 of the 10 rows that are nearest"]
    assert [one.sentence for one in drop_warnings(run, gather_funnel(run))] == [
        "exact drops 9 of the 10 rows that are nearest"
    ]
