"""SIGINT, SIGTERM and SIGHUP: a training finishes its step, saves and exits; other long work ends at once."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from rankcli.errors import Interrupted
from rankcli.log import say_from_handler

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 1.0  # for an orderly end, before the process is ended


class Stop:
    """While entered, the first signal only sets `signum`; the second one ends the process at once.

    `most` returns the largest of the numbers of all hosts, so that they stop together, at the same step.
    """

    def __init__(self, most: Callable[[int], int] = lambda number: number) -> None:
        self.signum, self._most = 0, most
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stop:
        for signum in SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
                self._before[signum] = signal.signal(signum, self._ask)
        return self

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if self.signum and signum == signal.SIGHUP:
            return  # a terminal that closes sends it from the shell and from the kernel
        if self.signum:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        self.signum = signum
        say_from_handler(f"{signal.Signals(signum).name}: saving and stopping; once more to stop at once")

    def asked(self) -> int:
        """Return the signal that any of the hosts received, 0 without one. All hosts must call it at the same step."""
        return self._most(self.signum)

    def raise_if_asked(self) -> None:
        """Raise Interrupted (exit 130, 143 or 129) after a signal. Call it where everything is saved."""
        if signum := self.asked():
            raise stopped_by(signum)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]


def stopped_by(signum: int) -> Interrupted:
    """Return the error that ends a training after a signal, once everything is saved."""
    return Interrupted(f"stopped by {signal.Signals(signum).name}; everything so far is saved", signum=signum)


@contextmanager
def ending_soon(words: str) -> Iterator[None]:
    """While entered, a signal is answered by a line at once, and the process ends within `GRACE_S`.

    That needs a thread: the handlers of Python wait until a computation or a compilation returns. The work must be such
    that it may be killed at any moment.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end, args=(reading, words), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)


def _end(reading: int, words: str) -> None:
    """Wait for a signal, answer it, and end the process unless the work ends before."""
    with os.fdopen(reading, "rb", buffering=0) as signals:
        while (signum := next(iter(signals.read(1)), 0)) not in SIGNALS:
            if not signum:
                return  # the work is done
        say_from_handler(f"{signal.Signals(signum).name}: {words}")
        if not select.select([signals], [], [], GRACE_S)[0] or signals.read(1):
            os._exit(128 + signum)
