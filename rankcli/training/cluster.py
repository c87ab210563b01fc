"""Several hosts: the strategy of the cluster in TF_CONFIG, and the errors when a host is lost."""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rankcli.backend import eager, tf
from rankcli.errors import ConfigError, MissingError
from rankcli.log import say

JOIN_S = 600  # hosts wait so long for each other at the start
SILENCE_S = 10  # a host is taken for lost after so long without a heartbeat
EXAMPLE = """{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}"""


@functools.cache
def cluster_strategy() -> Any:
    """Return the strategy of the hosts in TF_CONFIG, once all have started. Call it before anything else opens a
    device.

    The waiting happens in Python first, where a signal can end it: TensorFlow's own waiting has no time limit.
    """
    workers, index = cluster()
    meet(workers, index)
    eager.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        heartbeat_timeout_in_ms=SILENCE_S * 1000,
    )
    # A host may still be lost before TensorFlow has found it. TensorFlow then waits forever without running Python's
    # signal handlers. The default action of SIGALRM ends the process.
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(JOIN_S)
    try:
        with explained():
            return tf.distribute.MultiWorkerMirroredStrategy()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def meet(workers: list[str], index: int) -> None:
    """Wait until every host listens at its address. MissingError if one does not within JOIN_S seconds."""
    until = time.monotonic() + JOIN_S
    try:
        listener = socket.create_server(("", _address(workers[index])[1]))
    except OSError as error:
        fix = "give it another port in the TF_CONFIG of all hosts, or end what listens there"
        raise MissingError(f"this host cannot listen: {error.strerror}", where=workers[index], fix=fix) from error
    with listener:
        say(f"host {index} of {len(workers)} waits for the others")
        for worker in workers:
            while not _listens(worker):
                if time.monotonic() > until:
                    raise MissingError(
                        f"this host did not answer within {JOIN_S} s",
                        where=worker,
                        fix="start the same command on all hosts, and see that they reach each other",
                    )
                time.sleep(0.2)


def _address(worker: str) -> tuple[str, int]:
    host, _, port = worker.rpartition(":")
    return host.strip("[]"), int(port)


def _listens(worker: str) -> bool:
    try:
        with socket.create_connection(_address(worker), timeout=5):
            return True
    except OSError:
        return False


def cluster() -> tuple[list[str], int]:
    """Return the addresses of all hosts and the index of this one. ConfigError where TF_CONFIG is missing or wrong."""
    try:
        content = json.loads(os.environ.get("TF_CONFIG", ""))
        workers, task = content["cluster"]["worker"], content["task"]
        index = int(task["index"])
        if task["type"] != "worker" or list(content["cluster"]) != ["worker"] or not 0 <= index < len(workers):
            raise ValueError("hosts are `worker`s, and the task is one of them")
        for worker in workers:
            _address(worker)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"strategy `multiworker` needs the environment variable TF_CONFIG, which is not set or not right: {error}",
            fix=f"on host number N of all, with `index` N: TF_CONFIG='{EXAMPLE}'",
        ) from error
    return list(map(str, workers)), index


@contextmanager
def explained() -> Iterator[None]:
    """Turn TensorFlow's errors for a host that does not answer into MissingError."""
    gone = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.DeadlineExceededError,
        tf.errors.CancelledError,
    )
    try:
        yield
    except gone as error:
        raise MissingError(
            f"another host is gone, or does not answer: {_reason(str(error))}",
            fix="see what it says; the same command on all hosts goes on where the last checkpoint was written",
        ) from error


def _reason(told: str) -> str:
    lines = [line for line in told.splitlines() if line.strip()]
    return next((line for line in lines if "aborted by" in line), lines[0] if lines else "no reason given")
