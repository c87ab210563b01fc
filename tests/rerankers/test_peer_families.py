"""Models of every family score 300 pairs of Cranfield alike here and in sentence-transformers, whichever saved them."""

from __future__ import annotations

import os
from pathlib import Path

import peer_tokenizers
import pytest
import test_peers as peers

pytestmark = [pytest.mark.peers, pytest.mark.collections]

FAMILIES = ("roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "albert", "modernbert", "deberta-v2")
LONGEST, LONGEST_QUERY = 256, 100  # tokens
every = pytest.mark.parametrize("kind", FAMILIES)


@pytest.fixture(scope="module")
def python() -> str:
    if not (python := os.environ.get("RANKCLI_PEERS_PYTHON")):
        pytest.skip("RANKCLI_PEERS_PYTHON names no Python that has sentence-transformers: scripts/test-peers")
    return python


@pytest.fixture(scope="module")
def cranfield(python: str, tmp_path_factory: pytest.TempPathFactory) -> peers.Candidates:
    """Cranfield, with the first 20 documents for each of its 15 shortest queries."""
    return peers.searched("cranfield", tmp_path_factory.mktemp("cranfield"), 15, shortest=True)


@pytest.fixture(scope="module")
def saved(python: str, cranfield: peers.Candidates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cross-encoder and a bi-encoder of every family, saved by sentence-transformers."""
    root = tmp_path_factory.mktemp("families")
    texts = sorted({text for pair in cranfield.texts.values() for text in pair})
    sources = {kind: peer_tokenizers.write(kind, texts, root / f"{kind}-tokenizer") for kind in (*FAMILIES, "t5")}
    side = Path(__file__).with_name("peer_families.py")
    peers.command(root, python, str(side), str(root), *(f"{kind}={source}" for kind, source in sources.items()))
    return root


@pytest.fixture
def where(cranfield: peers.Candidates, tmp_path: Path) -> peers.Candidates:
    """A folder of the test's own with that collection and run."""
    for name in ("docs.jsonl", "queries.jsonl", "qrels.txt", "first.run"):
        (tmp_path / name).symlink_to((cranfield.folder / name).resolve())
    return cranfield._replace(folder=tmp_path)


@every
def test_a_cross_encoder_scores_as_the_peer_does_there_and_back(python, saved, where, kind) -> None:
    theirs = saved / kind / "crossencoder"
    if kind != "albert":  # without `model_input_names`, transformers 5 gives it no segments
        peers.compare(python, "crossencoder", where, theirs, theirs)
    best, said = peers.train(where, "crossencoder", theirs, LONGEST, LONGEST_QUERY)
    assert peers.RANDOM not in said
    longest_query, cut_pairs = peers.cut(where, theirs, LONGEST, pair=True)
    assert longest_query <= LONGEST_QUERY, "of each pair only the document is cut, by the peer too"
    assert cut_pairs > 0
    assert peers.compare(python, "crossencoder", where, best.parents[1], best)["max_seq_length"] == LONGEST


@pytest.mark.parametrize("kind", ["modernbert", "t5"])
def test_a_cross_encoder_of_several_modules_scores_as_the_peer_does_there_and_back(python, saved, where, kind) -> None:
    theirs = saved / kind / "modules"
    peers.compare(python, "crossencoder", where, theirs, theirs)
    best, said = peers.train(where, "crossencoder", theirs, LONGEST, LONGEST_QUERY)
    assert peers.RANDOM not in said
    assert peers.compare(python, "crossencoder", where, best.parents[1], best)["max_seq_length"] == LONGEST


@pytest.mark.parametrize("kind", [*FAMILIES, "t5"])
def test_a_bi_encoder_scores_as_the_peer_does_there_and_back(python, saved, where, kind) -> None:
    theirs = saved / kind / "biencoder"
    peers.compare(python, "biencoder", where, theirs, theirs)
    best, _ = peers.train(where, "biencoder", theirs, LONGEST, LONGEST)
    assert peers.compare(python, "biencoder", where, best.parents[1], best)["max_seq_length"] == LONGEST


@pytest.mark.parametrize(
    ("kind", "form", "model"), [("t5", "crossencoder", "modules"), ("distilbert", "biencoder", "biencoder")]
)
def test_the_peer_opens_an_adapter_that_is_kept_and_so_does_rankcli(python, saved, where, kind, form, model) -> None:
    lora = ("reranker.adapter={name: lora, rank: 4, keep: true}", "trainer.bertlr=0.02")
    best, said = peers.train(where, form, saved / kind / model, LONGEST, LONGEST_QUERY, *lora)
    assert peers.RANDOM not in said
    peers.compare(python, form, where, best / "adapter", best / "adapter")
    peers.compare(python, form, where, best, best / "adapter")
