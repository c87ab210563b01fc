"""SIGINT and SIGTERM while training: finish the step, save, leave."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from rankcli.errors import Interrupted
from rankcli.log import say


class Stop:
    """While entered, the first signal only sets `signum`; the second one ends the process at once."""

    def __init__(self) -> None:
        self.signum = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stop:
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._before[signum] = signal.signal(signum, self._ask)
        return self

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        self.signum = signum
        say(f"{signal.Signals(signum).name}: saving and stopping; once more to stop at once")

    def raise_if_asked(self) -> None:
        """Raise Interrupted (exit 130 or 143) once a signal has come. Call it where everything is saved."""
        if self.signum:
            raise Interrupted(
                f"stopped by {signal.Signals(self.signum).name}; everything so far is saved", signum=self.signum
            )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]
