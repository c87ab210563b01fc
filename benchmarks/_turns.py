"""Two contenders measured in turn: each is a process of its own that waits while another computes.

The parent writes a task as a line of JSON, then a line for every turn; the contender answers each with a line. This
module runs in the peer's environment too, so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "benchmarks"


class Contender:
    """The parent's end: starts `module` with `python` and gives it its task. `hello` is what it says when ready."""

    def __init__(self, python: str, module: str, task: Mapping[str, Any], env: Mapping[str, str] = {}) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **env}
        command = [python, "-m", f"{PACKAGE}.{module}"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.hello = self._ask(task)

    def turn(self, **arguments: Any) -> dict[str, Any]:
        """Let it compute; what it measured."""
        return self._ask(arguments)

    def close(self) -> None:
        """Tell it that there are no more turns, and wait for its end."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a contender ended with {self._process.wait()}: {self._process.args!r}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Turns:
    """The contender's end; `task` is what it was given. What others print goes to stderr."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._cpu = 0.0
        self.task = self._read() or {}

    def answer(self, message: Mapping[str, Any]) -> None:
        """Say that it is ready, or what a turn has measured; the processor seconds since it began and the peak of the
        process's memory are added.
        """
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        message = {**message, "cpu_seconds": time.process_time() - self._cpu, "peak_mb": peak}
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()

    def wait(self) -> dict[str, Any] | None:
        """Wait for the next turn and return its arguments; None when there are no more."""
        arguments = self._read()
        self._cpu = time.process_time()
        return arguments

    @staticmethod
    def _read() -> dict[str, Any] | None:
        line = sys.stdin.readline()
        return json.loads(line) if line else None
