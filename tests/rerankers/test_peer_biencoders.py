"""Bi-encoders with heads, with another encoder for queries, and with dense layers of sentence-transformers' own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
from test_peers import Candidates, compare, peer, saved_by_peer, small

from rankcli.config.registry import EXTRACTORS, HEADS, RERANKERS
from rankcli.encoders.build import Pretrained
from rankcli.extractors.base import ExtractorContext
from rankcli.rerankers._towers import OneEncoder
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.saved import save_reranker, sections_of

pytestmark = pytest.mark.peers
__all__ = ["peer", "small"]

WIDE = dataclasses.replace(tiny.TINY, layers=2, hidden=12)


def saved(where: Candidates, name: str, query_model: Path | None = None, vocabulary: int = 60, **options: Any) -> Path:
    """Save a bi-encoder with weights far from zero, over the tokens of the candidates' texts."""
    texts = sorted({text for pair in where.texts.values() for text in pair})
    extractor_options = EXTRACTORS.get("apart")(maxqlen=24, maxdoclen=24, vocab_size=vocabulary)
    extractor = extractor_options.build(ExtractorContext(query=query_model, texts=lambda: texts))
    reranker = RERANKERS.get("biencoder")(**{"encoder": tiny.TINY, **options})
    models = {"query.pretrained": Pretrained(query_model)} if query_model else {}
    model = reranker.build(RerankerContext(extractor=extractor, models=models))
    tiny.shake(model)
    save_reranker(model, extractor, sections_of(reranker, extractor_options), where.folder / name)
    return where.folder / name


@pytest.mark.parametrize(
    "head",
    [
        HEADS.get("skip")(layers=2),
        HEADS.get("gated")(),
        HEADS.get("mlp")(sizes=(20, 10), activation="gelu", last="tanh"),
    ],
    ids=lambda head: HEADS.name_of(head),
)
def test_heads_are_dense_layers_there(peer, small, head) -> None:
    model = saved(small, "model", head=head)
    compare(peer, "biencoder", small, model, model)


def test_another_encoder_and_head_for_queries_are_a_router_there(peer, small) -> None:
    queries = saved(small, "queries", vocabulary=45, encoder=WIDE)
    own = OneEncoder(pretrained=str(queries), pooling="cls")
    heads = {"head": HEADS.get("mlp")(sizes=(6,), last="tanh"), "queryhead": HEADS.get("linear")(size=6)}
    model = saved(small, "model", query_model=queries, query=own, **heads)
    compare(peer, "biencoder", small, model, model)


def test_another_head_for_queries_alone_is_a_router_there(peer, small) -> None:
    model = saved(small, "model", queryhead=HEADS.get("skip")())
    compare(peer, "biencoder", small, model, model)


def test_dense_layers_of_theirs_open_here(peer, small) -> None:
    theirs = saved_by_peer(peer, "dense", saved(small, "model"), small.folder / "theirs")
    compare(peer, "biencoder", small, theirs, theirs)
