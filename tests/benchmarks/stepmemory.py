"""Peak memory of a process and its children, step by step, without the pages of files.

    memory: anonymous and shared pages, each divided among the processes that have it (PSS)
    resident: all pages, those of files in memory among them, which the system takes back

The process says in a file which step it is at; what watches it is another process, which no lock of the
first one holds up. Peaks are written as soon as a step is over, so that the log of a run that takes
hours can be read while it goes on.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from curate.core.store import Artifact, Computation

SECONDS_BETWEEN = 0.5
AFTER = "after "


@dataclass
class StepPeak:
    """The peaks, in MiB, of the steps of a name that follow one another, or of what comes after them."""

    step: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_mb: float = 0.0
    resident_mb: float = 0.0
    processes: int = 1

    def sample(self, pid: int) -> None:
        """Raise the peaks to what a process and its children have at this moment."""
        pages = {"Pss": 0, "Pss_Anon": 0, "Pss_Shmem": 0}
        count = 0
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            for one in (process, *process.children(recursive=True)):
                lines = Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines()[1:]
                for name, size in (line.split(":") for line in lines):
                    if name in pages:
                        pages[name] += int(size.split()[0])
                count += 1
        self.memory_mb = max(self.memory_mb, (pages["Pss_Anon"] + pages["Pss_Shmem"]) / 1024)
        self.resident_mb = max(self.resident_mb, pages["Pss"] / 1024)
        self.processes = max(self.processes, count)

    def line(self) -> str:
        """Return it as a line of JSON."""
        values = {k: round(v, 1) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return json.dumps(values) + "\n"


def labelled(
    place: Path, execute: Callable[[Computation], Artifact]
) -> Callable[[Sequence[Computation]], Iterable[Artifact]]:
    """Return how to execute steps so that a file names the one that is executed."""

    def execute_all(steps: Sequence[Computation]) -> Iterator[Artifact]:
        for step in steps:
            place.write_text(step.name)
            artifact = execute(step)
            place.write_text(AFTER + step.name)
            yield artifact

    return execute_all


def watch(command: Sequence[str], place: Path, log: Path) -> tuple[str, list[StepPeak]]:
    """Run a command; return what it prints and its peaks, which are written to a log one by one.

    Raises:
        CalledProcessError: it failed.
    """
    place.write_text("start")
    done, current = list[StepPeak](), {"start": StepPeak("start")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        at, cpu = time.monotonic(), 0.0
        while child.poll() is None:
            label = place.read_text() or next(reversed(current))
            if label.removeprefix(AFTER) not in {name.removeprefix(AFTER) for name in current}:
                done += _written(log, current)
                current = {}
            peak = current.setdefault(label, StepPeak(label))
            peak.sample(child.pid)
            time.sleep(SECONDS_BETWEEN)
            before, at = at, time.monotonic()
            peak.seconds += at - before
            before, cpu = cpu, _cpu_seconds(child.pid, cpu)
            peak.cpu_seconds += cpu - before
        printed = child.stdout.read() if child.stdout else ""
    done += _written(log, current)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return printed, done


def _cpu_seconds(pid: int, least: float) -> float:
    """Return the seconds of cores of a process, its children that ended and those that run."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        own = process.cpu_times()
        running = [child.cpu_times() for child in process.children(recursive=True)]
        total = sum(own[:4]) + sum(times.user + times.system for times in running)
        return max(least, total)
    return least


def _written(log: Path, peaks: dict[str, StepPeak]) -> list[StepPeak]:
    with log.open("a") as file:
        file.writelines(peak.line() for peak in peaks.values())
    return list(peaks.values())
