"""A training asked to stop by a signal."""

from __future__ import annotations

import io
import signal
import sys

import pytest

from rankcli.log import say
from rankcli.training.signals import Stop


class _Interrupted(io.RawIOBase):
    """Receives SIGTERM in the middle of the first write, as a process may."""

    signalled = False
    seen = b""

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        if not self.signalled:
            self.signalled = True
            signal.raise_signal(signal.SIGTERM)
        self.seen += bytes(data)
        return len(data)


def test_a_signal_within_a_message_is_heard_and_both_are_printed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = _Interrupted()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(raw), "utf-8"))
    with Stop() as stop:
        say("iteration 2")
    assert stop.signum == signal.SIGTERM
    assert raw.seen == b"iteration 2\n"
    assert capfd.readouterr().err == "SIGTERM: saving and stopping; once more to stop at once\n"
