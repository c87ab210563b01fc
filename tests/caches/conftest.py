"""Fixtures of the tests of `rankcli cache`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.caches.caches import Caches


@pytest.fixture
def caches(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Caches:
    """On the local disk."""
    tiny("crossencoder")
    return Caches(tmp_path, str(tmp_path / "cache"), capsys)


@pytest.fixture(params=["local", "gcs"])
def anywhere(request: Any, tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Caches:
    """On the local disk, and in a bucket."""
    tiny("crossencoder")
    if request.param == "local":
        return Caches(tmp_path, str(tmp_path / "cache"), capsys)
    return Caches(tmp_path, f"{request.getfixturevalue('gcs').uri}/some/where", capsys)
