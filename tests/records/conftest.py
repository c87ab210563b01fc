"""Lets tests, and the conversion processes they start, import `record_fakes`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk takes most of the time, and no power is cut here; what is synced is a test of its own."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
