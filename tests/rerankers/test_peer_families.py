"""Models of every family score alike in rankcli and in sentence-transformers, whichever of them saved the directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import peer_tokenizers
import pytest
import test_peers as peers

pytestmark = pytest.mark.peers

FAMILIES = ("roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "albert", "modernbert", "deberta-v2")
every = pytest.mark.parametrize("kind", FAMILIES)


@pytest.fixture(scope="module")
def python() -> str:
    if not (python := os.environ.get("RANKCLI_PEERS_PYTHON")):
        pytest.skip("RANKCLI_PEERS_PYTHON names no Python that has sentence-transformers: scripts/test-peers")
    return python


@pytest.fixture(scope="module")
def saved(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cross-encoder and a bi-encoder of every family, saved by sentence-transformers."""
    root = tmp_path_factory.mktemp("families")
    animals = "lynx toad kiwi quail eel fox dog newt pig hen rat owl cat ibis wren the cats sat on mats over hills"
    texts = [animals, animals[::-1]] * 4
    sources = {kind: peer_tokenizers.write(kind, texts, root / f"{kind}-tokenizer") for kind in (*FAMILIES, "t5")}
    side = Path(__file__).with_name("peer_families.py")
    peers.command(root, python, str(side), str(root), *(f"{kind}={source}" for kind, source in sources.items()))
    return root


@pytest.fixture
def small(tiny: Any, tmp_path: Path) -> peers.Candidates:
    """The tiny collection, some documents as candidates of every query."""
    tiny()
    queries, docs = (peers.texts_in(tmp_path / f"{name}.jsonl") for name in ("queries", "docs"))
    lines = [f"{qid} Q0 {docid} {n + 1} {-n} all\n" for qid in queries for n, docid in enumerate(docs)]
    (tmp_path / "first.run").write_text("".join(lines))
    return peers.candidates(tmp_path)


@every
def test_a_cross_encoder_scores_as_the_peer_does_there_and_back(python, saved, small, kind) -> None:
    theirs = saved / kind / "crossencoder"
    if kind != "albert":  # without `model_input_names`, transformers 5 gives it no segments
        peers.compare(python, "crossencoder", small, theirs, theirs)
    best, said = peers.train(small, "crossencoder", theirs, longest=28, maxqlen=11)
    assert peers.RANDOM not in said
    longest_query, cut_pairs = peers.cut(small, theirs, 28, pair=True)
    assert longest_query <= 11, "of each pair only the document is cut, by the peer too"
    assert cut_pairs > 0
    assert peers.compare(python, "crossencoder", small, best.parents[1], best)["max_seq_length"] == 28


@pytest.mark.parametrize("kind", ["modernbert", "t5"])
def test_a_cross_encoder_of_several_modules_scores_as_the_peer_does_there_and_back(python, saved, small, kind) -> None:
    theirs = saved / kind / "modules"
    peers.compare(python, "crossencoder", small, theirs, theirs)
    best, said = peers.train(small, "crossencoder", theirs, longest=28, maxqlen=11)
    assert peers.RANDOM not in said
    assert peers.compare(python, "crossencoder", small, best.parents[1], best)["max_seq_length"] == 28


@pytest.mark.parametrize("kind", [*FAMILIES, "t5"])
def test_a_bi_encoder_scores_as_the_peer_does_there_and_back(python, saved, small, kind) -> None:
    theirs = saved / kind / "biencoder"
    peers.compare(python, "biencoder", small, theirs, theirs)
    best, _ = peers.train(small, "biencoder", theirs, longest=24, maxqlen=24)
    assert peers.compare(python, "biencoder", small, best.parents[1], best)["max_seq_length"] == 24


@pytest.mark.parametrize(
    ("kind", "form", "model"), [("t5", "crossencoder", "modules"), ("distilbert", "biencoder", "biencoder")]
)
def test_the_peer_opens_an_adapter_that_is_kept_and_so_does_rankcli(python, saved, small, kind, form, model) -> None:
    lora = ("reranker.adapter={name: lora, rank: 4, keep: true}", "trainer.bertlr=0.02")
    best, said = peers.train(small, form, saved / kind / model, 24, 11, *lora)
    assert peers.RANDOM not in said
    peers.compare(python, form, small, best / "adapter", best / "adapter")
    peers.compare(python, form, small, best, best / "adapter")
