"""Queries and judgments of a file or of `ir_datasets:ID`."""

from __future__ import annotations

from rankcli.data import formats, irds
from rankcli.data.trec import Qrels, read_qrels


def read_topics(source: str, format: formats.Format | None = None) -> dict[str, str]:
    """The queries by id."""
    return irds.read_queries(source) if irds.named(source) else formats.read_queries(source, format)


def read_judgments(source: str) -> Qrels:
    """The judgments: grades by query and document id."""
    return irds.read_qrels(source) if irds.named(source) else read_qrels(source)
