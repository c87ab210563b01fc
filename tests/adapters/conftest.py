"""Cross-encoders of all families with and without an adapter; lets tests import `golden_families`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1] / "encoders")]

import golden_families as golden  # noqa: E402
from adapted_families import FAMILIES  # noqa: E402

from rankcli.encoders.build import Pretrained  # noqa: E402
from rankcli.rerankers.base import Reranker, RerankerContext  # noqa: E402
from rankcli.rerankers.crossencoder import CrossEncoder  # noqa: E402
from rankcli.shapes import SequenceSpec, StreamSpec  # noqa: E402


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: golden.written(name, tmp_path_factory.mktemp(name)) for name in FAMILIES}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged copies of adapters stay in the test's folder."""
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def build(directories: dict[str, Path]) -> Callable[..., Reranker]:
    """`build(name, Lora(...))` is the golden cross-encoder with an adapter, without dropout of its own."""
    spec = SequenceSpec("doc", "doc", max(golden.GOLDEN["lengths"]))
    extractor = SimpleNamespace(streams={"doc": StreamSpec("doc", 60)}, fields={"pair": spec})

    def built(name: str, adapter: Any = None) -> Reranker:
        given = Pretrained(directories[name])
        still = {key: 0.0 for key in given.content if "dropout" in key}
        given.content.update(still, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        if name == "distilbert":
            given.content.update(dropout=0.0, attention_dropout=0.0)
        context = RerankerContext(extractor=extractor, models={"pretrained": given})
        return CrossEncoder(pretrained=str(directories[name]), adapter=adapter, dropout=0.0).build(context)

    return built
