"""The memory of a command with all processes that it starts, looked at ten times a second (Linux)."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

EVERY_S = 0.1


@dataclass
class Peak:
    """The largest sums over all processes, in bytes.

    `pss`: memory, where what several processes share counts once. `anonymous`: that without files that are mapped,
    which the system takes back as it likes. `rss`: the plain sum, where what is shared counts for each.
    """

    pss: int = 0
    anonymous: int = 0
    rss: int = 0
    processes: int = 0


class Spent(NamedTuple):
    """Seconds on the clock, and of the processors, by all processes."""

    wall: float
    cpu: float


def watched(command: Sequence[str]) -> tuple[Spent, Peak]:
    """Run `command`, its stdout thrown away; the time it took and its peak. CalledProcessError if it fails."""
    start, before = time.perf_counter(), _cpu()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        peak, done = Peak(), threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
        watcher.start()
        try:
            process.wait()
        finally:
            done.set()
            watcher.join()
    spent = Spent(time.perf_counter() - start, _cpu() - before)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return spent, peak


def _cpu() -> float:
    """Processor seconds of the children that have ended, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(pid: int, peak: Peak, done: threading.Event) -> None:
    while not done.wait(EVERY_S):
        tree = _tree(pid)
        found = [memory for memory in map(_memory, tree) if memory]
        for name, field in (("pss", "Pss"), ("anonymous", "Pss_Anon"), ("rss", "Rss")):
            setattr(peak, name, max(getattr(peak, name), sum(memory.get(field, 0) for memory in found)))
        peak.processes = max(peak.processes, len(found))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:  # grows as it is gone through
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def _memory(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # it has ended
        return {}
    pairs = (line.split(":") for line in lines)
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}
