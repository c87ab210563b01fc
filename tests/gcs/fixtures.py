"""The fixtures of tests that need a storage server: `gcs` is an empty bucket of its own, behind the proxy."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.gcs.proxy import Proxy
from tests.gcs.server import running


class Bucket(NamedTuple):
    """`uri` is gs://BUCKET; `proxy` breaks calls and counts them."""

    uri: str
    proxy: Proxy


@pytest.fixture(scope="session")
def gcs_proxy() -> Iterator[Proxy]:
    """The server and the proxy before it, for all tests of this process."""
    with Proxy() as proxy, running() as proxy.upstream:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        yield proxy
        proxy.shutdown()


@pytest.fixture
def gcs(gcs_proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A new bucket. Local copies of objects and all other caches stay in the test's folder."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_proxy.url)
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")
    name = f"bucket-{uuid.uuid4().hex}"
    body = json.dumps({"name": name}).encode()
    answer = gcs_proxy.rules.send("POST", "/storage/v1/b?project=tests", {"Content-Type": "application/json"}, body)
    assert answer[0] == 200, answer
    gcs_proxy.reset()
    yield Bucket(f"gs://{name}", gcs_proxy)
    gcs_proxy.reset()
