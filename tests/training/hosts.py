"""Commands on several hosts, which are processes of this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
WAIT_S = 300  # for the end of a command, on a machine that is busy with something else


class Done(NamedTuple):
    """The outcome of a command on one host."""

    code: int
    stdout: str
    stderr: str


class Cluster:
    """`start("train", ..., count=2)`: the command begun on each host; `wait()`: what became of it there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *args: str, count: int = 2, own: Mapping[int, Mapping[str, str]] | None = None) -> None:
        """`own`: environment variables of some hosts."""
        workers = [f"127.0.0.1:{port}" for port in free_ports(count)]
        self.processes = []
        for index in range(count):
            config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            self._begin(args, {"TF_CONFIG": json.dumps(config), **(own or {}).get(index, {})})

    def one(self, *args: str, **own: str) -> None:
        """The command begun on one host, with environment variables of its own."""
        self.processes = []
        self._begin(args, own)

    def _begin(self, args: tuple[str, ...], own: Mapping[str, str]) -> None:
        number = len(self.processes)
        with ExitStack() as stack:
            out, err = (
                stack.enter_context((self.folder / f"{name}-{number}").open("w")) for name in ("stdout", "stderr")
            )
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.training.host", *args],
                cwd=ROOT,
                env={**os.environ, "RANKCLI_CACHE": str(self.folder / "cache"), "HF_HUB_OFFLINE": "1", **own},
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        self.processes.append(process)

    def wait(self) -> list[Done]:
        """The end on all hosts; what runs longer than it ever should is killed, and the test fails."""
        try:
            codes = [process.wait(WAIT_S) for process in self.processes]
        finally:
            self.end()
        return [
            Done(code, *((self.folder / f"{name}-{n}").read_text() for name in ("stdout", "stderr")))
            for n, code in enumerate(codes)
        ]

    def run(self, *args: str, count: int = 2, own: Mapping[int, Mapping[str, str]] | None = None) -> list[Done]:
        """A command begun and ended on all hosts."""
        self.start(*args, count=count, own=own)
        return self.wait()

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """No process outlives the block."""
    found = Cluster(folder)
    try:
        yield found
    finally:
        found.end()
