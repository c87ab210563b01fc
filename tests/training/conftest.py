"""What tests of trainings share."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from rankcli.training.loop import Loop


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """SIGTERM arrives during step number n, once."""
    step, armed = Loop._train_on, []

    def train_on(self: Loop, batches: Any, state: Any) -> dict[str, str]:
        fields = step(self, batches, state)
        if state.step in armed:
            armed.remove(state.step)
            signal.raise_signal(signal.SIGTERM)
        return fields

    monkeypatch.setattr(Loop, "_train_on", train_on)
    return armed.append
