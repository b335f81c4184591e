"""Runs that are killed at seeded moments and started again; they end as a run does that nobody disturbs.

    figures = KilledRuns("ray", undisturbed, folder).go(kill_plan(0, "ray", 17))

A kill is a SIGKILL of the process that started the run, of one worker, or of all of its processes at
once. A run that is complete before its kill, or in spite of it, is compared, and the next one starts on
an empty store. What is left of a run is told by a variable in the environment of its processes, whoever
their parent is by then.
"""

import os
import re
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import psutil

from tests.orchestration.workplace import (
    REPO,
    Workplace,
    artifact_bytes,
    environment,
    run_files,
)
from tests.terminal import wait_until

MARK = "CURATE_TEST_KILLED"
DRIVER, WORKER, ALL = "driver", "worker", "all"
VICTIMS = {"threads": (DRIVER,), "ray": (DRIVER, WORKER, ALL), "dask": (DRIVER, WORKER, ALL)}
WORKERS = {"ray": "ray::", "dask": "spawn_main"}
POLL_SECONDS = 0.1
# Of kills before the first artifact: most of the start of a cluster.
START_SECONDS = 12.0
# Torch's own, in every process that has imported it.
FOREIGN = re.compile(r"torchinductor_.*")


@dataclass(frozen=True)
class Kill:
    """Who is killed: so many seconds after so many further artifacts."""

    victim: str
    artifacts: int
    seconds: float


@dataclass
class KillFigures:
    """How many kills hit a run at work, and how many runs were complete and compared."""

    kills: int = 0
    complete: int = 0


def kill_plan(seed: int, engine: str, kills: int) -> list[Kill]:
    """Return seeded kills of the runs on an engine."""
    draw = np.random.default_rng([seed, crc32(engine.encode())])
    plan = []
    for _ in range(kills):
        victim, artifacts = str(draw.choice(VICTIMS[engine])), int(draw.integers(0, 12))
        plan.append(Kill(victim, artifacts, draw.uniform(0, 1 if artifacts else START_SECONDS)))
    return plan


class KilledRuns:
    """Runs of one recipe on an engine of two workers, each in a folder of its own below a folder."""

    def __init__(self, engine: str, undisturbed: Workplace, folder: Path) -> None:
        self._engine, self._undisturbed, self._folder = engine, undisturbed, folder
        self._figures = KillFigures()
        self._place = self._new_place()

    def go(self, plan: Sequence[Kill]) -> KillFigures:
        """Carry out the kills, and compare every run that is complete."""
        # Ray's sockets need a short path.
        with tempfile.TemporaryDirectory(prefix="kills-") as temporary:
            self._temporary = Path(temporary)
            for kill in plan:
                while not self._killed(kill):
                    pass
            if self._place.store.exists() or not self._figures.complete:
                self._end(self._start())
            left = [path.name for path in self._temporary.iterdir()]
            assert not [name for name in left if not FOREIGN.fullmatch(name)]
        return self._figures

    def _killed(self, kill: Kill) -> bool:
        """Start the run and kill it; return False where it was complete before."""
        before, run = self._artifacts(), self._start()
        while self._artifacts() < before + kill.artifacts or not self._victims(run, kill.victim):
            if self._ends(run, POLL_SECONDS):
                return False
        if self._ends(run, kill.seconds):
            return False
        for victim in self._victims(run, kill.victim):
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        self._figures.kills += 1
        if kill.victim == WORKER:
            self._end(run)
        else:
            assert run.wait() == -signal.SIGKILL
            wait_until(lambda: not self._processes(), lambda: str(self._processes()))
        return True

    def _ends(self, run: subprocess.Popen[str], seconds: float) -> bool:
        """Return whether a run is complete within some seconds."""
        with suppress(subprocess.TimeoutExpired):
            run.wait(seconds)
            self._end(run)
            return True
        return False

    def _start(self) -> subprocess.Popen[str]:
        # What killed runs left is removed once it is a minute old.
        for folder in self._temporary.glob("curate-*"):
            os.utime(folder, (0, 0))
        self._mark = uuid.uuid4().hex
        self._log = self._folder / "log"
        options = ("--set", f"run.on={self._engine}", "--set", "run.workers=2")
        with self._log.open("w") as log:
            return subprocess.Popen(
                self._place.command(*options),
                cwd=REPO,
                env={**environment(), "TMPDIR": str(self._temporary), MARK: self._mark},
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def _end(self, run: subprocess.Popen[str]) -> None:
        """Wait for the end of a run, compare it with the undisturbed one, and make room for the next."""
        status, log = run.wait(600), self._log.read_text()
        assert status == 0, log
        assert "Traceback" not in log
        assert "(raylet)" not in log
        assert artifact_bytes(self._place.store) == artifact_bytes(self._undisturbed.store)
        assert run_files(self._place.out) == run_files(self._undisturbed.out)
        assert not list((self._place.store / "tmp").iterdir())
        wait_until(lambda: not self._processes(), lambda: str(self._processes()))
        self._figures.complete += 1
        self._place = self._new_place()

    def _new_place(self) -> Workplace:
        """Return a place with the pool and the recipe of the undisturbed run, but a store of its own."""
        old, place = self._undisturbed, Workplace(self._folder / str(self._figures.complete))
        place.root.mkdir()
        place.pool.write_bytes(old.pool.read_bytes())
        place.recipe.write_text(old.recipe.read_text().replace(str(old.root), str(place.root)))
        return place

    def _artifacts(self) -> int:
        return len(list(self._place.store.glob("*/manifest.json")))

    def _victims(self, run: subprocess.Popen[str], victim: str) -> list[psutil.Process]:
        """Return whom to kill; the worker is the one that has computed most."""
        with suppress(psutil.Error):
            driver = psutil.Process(run.pid)
            family = [driver, *driver.children(recursive=True)]
            if victim == WORKER:
                start = WORKERS[self._engine]
                workers = [one for one in family if any(start in word for word in one.cmdline())]
                return sorted(workers, key=lambda one: sum(one.cpu_times()[:2]))[-1:]
            return family if victim == ALL else [driver]
        return []

    def _processes(self) -> list[psutil.Process]:
        """Return the living processes of the run that was started last."""
        processes = []
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if one.status() != psutil.STATUS_ZOMBIE and one.environ().get(MARK) == self._mark:
                    processes.append(one)
        return processes
