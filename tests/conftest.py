"""Shared by all tests: no network; a tiny collection and small rerankers, to train for real in seconds."""

from __future__ import annotations

import json
import random
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rankcli.config.load import load_config
from rankcli.config.schema import RunConfig
from rankcli.listeners.base import Moment
from rankcli.listeners.watch import Watch
from tests.gcs.fixtures import gcs, gcs_proxy

__all__ = ["gcs", "gcs_proxy"]

WORDS = "ant bee cat dog eel fox gnu hen ibis jay kiwi lynx mole newt owl pig quail rat seal toad".split()  # noqa: SIM905
RERANKERS = {
    "crossencoder": "{name: crossencoder, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}}",
    "TFBERTMaxP": "{name: TFBERTMaxP, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}}",
    "biencoder": "{name: biencoder, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}}",
    "TFCEDRKNRM": (
        "{name: TFCEDRKNRM, simmat_layers: [1], encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32}}"
    ),
    "parade": "{name: parade, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}}",
    "colbert": "{name: colbert, dim: 8, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}}",
    "rankt5": "{name: rankt5, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}}",
    "duobert": "{name: duobert, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}}",
    "setencoder": "{name: setencoder, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}}",
    "TFKNRM": "{name: TFKNRM}",
    **{name: f"{{name: {name}, dim: 8}}" for name in ("ConvKNRM", "DRMM", "DRMMTKS", "PACRR")},
    "TK": "{name: TK, dim: 8, numattheads: 2, ffdim: 8}",
}
EXTRACTORS = {
    "crossencoder": "{name: passage, maxseqlen: 24, maxqlen: 6, vocab_size: 60}",
    **dict.fromkeys(
        ("TFBERTMaxP", "TFCEDRKNRM", "parade"),
        "{name: pooledpassage, maxseqlen: 16, maxqlen: 6, passagelen: 6, stride: 4, numpassages: 3, vocab_size: 60}",
    ),
    "rankt5": "{name: prompted, maxseqlen: 32, maxqlen: 6, query_prompt: 'ant:', doc_prompt: 'bee:', vocab_size: 60}",
    "duobert": "{name: duo, maxseqlen: 32, maxqlen: 6, numdocs: 20, vocab_size: 60}",
    "setencoder": "{name: setpassage, maxseqlen: 24, maxqlen: 6, vocab_size: 60}",
    "biencoder": "{name: apart, maxdoclen: 16, maxqlen: 6, vocab_size: 60}",
    "colbert": "{name: colbert, maxdoclen: 16, maxqlen: 8, vocab_size: 60}",
    **dict.fromkeys(
        ("TFKNRM", "ConvKNRM", "DRMM", "DRMMTKS", "PACRR", "TK"), "{name: embedtext, maxqlen: 4, maxdoclen: 16}"
    ),
}

Tiny = Callable[..., RunConfig]


def write_collection(folder: Path) -> None:
    """24 documents of ten words, 12 queries of two; a query's document holds both of its words."""
    draw = random.Random(5)
    docs = [draw.sample(WORDS, 10) for _ in range(24)]
    queries = [draw.sample(docs[2 * n], 2) for n in range(12)]
    rows = [json.dumps({"_id": f"d{n}", "title": "", "text": " ".join(words)}) for n, words in enumerate(docs)]
    (folder / "docs.jsonl").write_text("\n".join(rows) + "\n")
    rows = [json.dumps({"_id": f"q{n}", "text": " ".join(words)}) for n, words in enumerate(queries)]
    (folder / "queries.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "qrels.txt").write_text("".join(f"q{n} 0 d{2 * n} 1\n" for n in range(12)))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """`tiny("crossencoder", "trainer.niters=2")` is a config over the tiny collection; caches stay in the test's
    folder.
    """
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    write_collection(tmp_path)

    def config(reranker: str = "crossencoder", *overrides: str) -> RunConfig:
        path = tmp_path / f"{reranker}.yaml"
        path.write_text(
            "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}\n"
            f"reranker: {RERANKERS[reranker]}\n"
            f"extractor: {EXTRACTORS[reranker]}\n"
            "sampler: {name: LCE, nneg: 3}\n"
            "trainer:\n"
            "  {batch: 2, niters: 4, itersize: 6, bertlr: 1e-3, lr: 1e-2,\n"
            "   threshold: 10, testthreshold: 20, strategy: cpu}\n"
        )
        return load_config([path], list(overrides))[0]

    return config


OnStep = Callable[[Callable[[Moment, Any], None]], None]


@pytest.fixture
def on_step(monkeypatch: pytest.MonkeyPatch) -> OnStep:
    """`on_step(function)`: `watch`, a listener of every training, calls it after each step with what the step gave."""

    def listen(function: Callable[[Moment, Any], None]) -> None:
        monkeypatch.setattr(Watch, "end_step", lambda self, now, done: function(now, done))

    return listen


@pytest.fixture
def stop_after(on_step: OnStep) -> Callable[[int], None]:
    """SIGTERM arrives during step number n, once."""
    armed: list[int] = []

    def stop(now: Moment, done: Any) -> None:
        if now.step in armed:
            armed.remove(now.step)
            signal.raise_signal(signal.SIGTERM)

    on_step(stop)
    return armed.append


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere but this machine is a failure, not a wait."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise AssertionError(f"a test wants to connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
