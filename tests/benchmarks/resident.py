"""The largest resident set of this process, since it was started as this program."""

from pathlib import Path


def peak_resident_mb() -> float:
    """Return it in MiB.

    `ru_maxrss` would not do: it counts what the process that started this one held at that moment.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(peak.split()[1]) / 1024
