"""Work spread over processes, with results in order; inline if one process is enough."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from rankcli.errors import StorageError

Task = TypeVar("Task")
Result = TypeVar("Result")

PATIENCE_S = 10.0  # for the tasks of workers, when the work is interrupted

_state: Any = None  # shared by all tasks of this process: it is large, so it is sent once and not with every task


def available_cpus() -> int:
    """The number of CPUs that this process may use; the machine may have more."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Runs functions `f(state, task)`, in spawned processes: forking is unsafe once TensorFlow has threads."""

    def __init__(self, state: Any, executor: Executor | None, processes: int) -> None:
        self._state, self._executor, self._window = state, executor, 2 * processes

    def map(self, function: Callable[[Any, Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """The results in the order of `tasks`; only as many tasks are taken ahead as keep the processes busy."""
        if self._executor is None:
            yield from (function(self._state, task) for task in tasks)
            return
        pending: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                pending.append(self._executor.submit(_run, function, task))
                if len(pending) >= self._window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise StorageError(
                "a conversion process was killed from outside, often for want of memory",
                fix="run again with fewer processes",
            ) from error


@contextlib.contextmanager
def workers(state: Any, processes: int) -> Iterator[Workers]:
    """Workers in `processes` processes that each have a copy of `state`; one process is this one."""
    if processes <= 1:
        yield Workers(state, None, 1)
        return
    executor, others = _executor(state, processes), set(multiprocessing.active_children())
    try:
        yield Workers(state, executor, processes)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        _end([process for process in multiprocessing.active_children() if process not in others])
        raise
    executor.shutdown()


def _end(processes: Iterable[BaseProcess]) -> None:
    """Let processes end their task. One that takes longer, or is stopped, is killed: its file has no name yet."""
    end = time.monotonic() + PATIENCE_S
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        if process.is_alive():
            process.kill()
            while process.is_alive():  # the executor's thread may wait for it too, and hears of its end first
                process.join(0.01)


def _executor(state: Any, processes: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    try:
        return ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(state,))
    except OSError as error:  # its semaphores are small files in shared memory
        raise StorageError(
            f"conversion processes cannot be started: {error.strerror}",
            where="/dev/shm",
            fix="free space there, or check the limits (`ulimit -a`)",
        ) from error


def _start(state: Any) -> None:
    global _state
    _state = state
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends its workers in order
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent ends: workers of a killed parent would wait for tasks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(function: Callable[[Any, Task], Result], task: Task) -> Result:
    return function(_state, task)
