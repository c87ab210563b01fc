"""Storage that fails fast and comes back soon."""

from __future__ import annotations

import pytest

from rankcli.storage import _gcs_lease, _retry


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> _retry.Policy:
    """Requests are given up after 0.5 s of silence, operations after six attempts in less than 5 s."""
    policy = _retry.Policy(pause_s=0.01, answer_s=0.5, deadline_s=3.0)
    monkeypatch.setattr(_retry, "POLICY", policy)
    return policy


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch) -> float:
    """Locks in a bucket are lost after 2 s of silence instead of 20 s: a busy machine must not look like a dead one."""
    monkeypatch.setattr(_gcs_lease, "HEARTBEAT_S", 1.0)
    return 1.0
