"""Trainings in forked processes that have TensorFlow imported: `python -m tests.faults.zygote` reads lines of JSON.

One line starts one process with `rankcli`'s arguments `args`, on `cpus` logical devices, its output in the file `log`;
its id is printed, and its exit status when it has ended. `notes` is a file that gets a line per step and phase.
TensorFlow is imported, but not used before the fork: it starts no threads until then.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import rankcli.rerankers.crossencoder  # noqa: F401
import rankcli.training.loop
import rankcli.verbs.train  # noqa: F401
from rankcli import cli
from rankcli.backend import tf
from rankcli.listeners.watch import Watch
from rankcli.training.checkpoint import Checkpoints

LOOP = rankcli.training.loop.Loop


def noting(path: str) -> None:
    """Note every step with its loss once it is done, and when a restore and a validation begin."""
    restore, validate = Checkpoints.restore, LOOP._validate
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noted(self: Any, now: Any, done: Any) -> None:
        os.write(out, f"step {now.step} {float(done['loss'])!r}\n".encode())

    def restoring(self: Any, *args: Any) -> Any:
        os.write(out, b"restore\n")
        return restore(self, *args)

    def validating(self: Any, now: Any, *args: Any) -> Any:
        os.write(out, f"validate {now.iteration}\n".encode())
        return validate(self, now, *args)

    Watch.end_step, Checkpoints.restore, LOOP._validate = noted, restoring, validating


def train(args: list[str], log: str, cpus: int, notes: str, environment: dict[str, str]) -> None:
    """Run the command line; does not return."""
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in what a shell runs in the background
    os.environ.update(environment)
    if cpus > 1:
        (device,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * cpus)
    noting(notes)
    cli.main(args)


def main() -> None:
    """Start what is asked for, one after the other."""
    tf.keras.utils  # noqa: B018  # imports TensorFlow
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            os.chdir(Path(__file__).parents[2])
            train(**json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
