"""Processes that read parts of files, as many as there are cores; their results come in order.

They are started when there is more to read than a few parts. Each gets parts and gives back rows through
pipes: it needs nothing of the program that it works for, and ends with it.
"""

import gc
import os
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from curate.core.errors import UserError
from curate.core.memory import keep_freed_memory
from curate.core.threads import usable_cores
from curate.pool.partframes import (
    batch_frame,
    batch_of,
    part_frame,
    part_of,
    read_frame,
    source_frame,
    source_of,
    write_frame,
)
from curate.pool.partprocesses import PartProcess, end_process, leave_process, pipe, take_process
from curate.pool.parts import PART_BYTES, FilePart, ReaderSource
from curate.pool.recordrows import RecordBatch

# Parts that are read here before processes are started, which takes as long as to read them.
FEW_PARTS = 8
# Parts that wait for a process, or are read and wait for those before them: while rows are written
# nothing is handed out, and no process may want for work.
WAITING_PARTS = 8
# Each takes some 100 MB.
MOST_WORKERS = 4


def usual_workers() -> int:
    """Return how many processes read parts: one for each core of this process, within reason."""
    return min(usable_cores(), MOST_WORKERS)


class PartWorkers:
    """Reads parts in this process, and from some parts on in others.

    Args:
        count: of processes; with fewer than two all is read in this one.
        size: bytes that are read at least: where they are many, processes start at once.
    """

    def __init__(self, count: int, size: int = 0) -> None:
        self._count = count if count > 1 else 0
        self._read_here = FEW_PARTS if size > FEW_PARTS * PART_BYTES else 0
        self._processes: list[PartProcess] = []
        self._idle: SimpleQueue[PartProcess] = SimpleQueue()
        # By process, what its reader follows from.
        self._sources: dict[int, ReaderSource] = {}
        self._threads = ThreadPoolExecutor(max(self._count, 1))
        keep_freed_memory()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is not None:
            for process in self._processes:
                process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            (end_process if error is not None else leave_process)(process)

    def read(self, parts: Iterable[FilePart]) -> Iterator[RecordBatch]:
        """Yield what each part becomes, in their order; some are read ahead.

        Raises:
            UserError: a process has ended.
        """
        ahead: deque[Future[RecordBatch]] = deque()
        for part in parts:
            if self._read_here < FEW_PARTS or not self._count:
                self._read_here += 1
                yield part.read()
                continue
            self._start()
            ahead.append(self._threads.submit(self._read_elsewhere, part))
            if len(ahead) > self._count + WAITING_PARTS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _start(self) -> None:
        while len(self._processes) < self._count:
            process = take_process()
            self._processes.append(process)
            self._idle.put(process)

    def _read_elsewhere(self, part: FilePart) -> RecordBatch:
        frame = part_frame(part)
        if frame is None:
            return part.read()
        process = self._idle.get()
        try:
            if self._sources.get(process.pid) is not part.source:
                source = source_frame(part.source)
                if source is None:
                    return part.read()
                write_frame(pipe(process.stdin), source)
                self._sources[process.pid] = part.source
            write_frame(pipe(process.stdin), frame)
            answer = read_frame(pipe(process.stdout))
            if answer is None:
                raise EOFError
            return batch_of(answer)
        except (EOFError, BrokenPipeError) as error:
            raise UserError(
                f"{part.source.file.name}: a process that read it ended ({process.wait()}), most likely "
                "for want of memory; run again with more of it"
            ) from error
        finally:
            # Also one that has ended, so that what waits for it fails as well.
            self._idle.put(process)


def main() -> None:
    """Read parts from standard input until there are no more, and write what they become."""
    # Ctrl-C reaches all processes of a terminal; this one ends when its input does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What a library prints must not get between the results.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Records hold no cycles: to look for some takes time. Faults do, so once a part it is done.
    gc.disable()
    gc.freeze()
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        if "source" in frame[0]:
            source = source_of(frame)
            continue
        write_frame(results, batch_frame(part_of(frame, source).read()))
        gc.collect()
