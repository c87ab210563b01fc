"""Processes that hold something until they are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


@contextmanager
def child_in(context: AbstractContextManager[object]) -> Iterator[int]:
    """The id of a forked process that is inside of `context`, and is killed at the end if it still lives."""
    reading, writing = os.pipe()
    parent_lives, parent_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(parent_end)
            with context:
                os.write(writing, b".")
                os.read(parent_lives, 1)  # until it is killed, or its parent has ended
        finally:
            os._exit(1)
    os.close(writing)
    os.close(parent_lives)
    try:
        assert os.read(reading, 1) == b".", "the child failed"
        yield child
    finally:
        kill(child)
        os.close(reading)
        os.close(parent_end)


def kill(child: int) -> None:
    """Kill a child, if it lives, so that it can do nothing any more."""
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        return
