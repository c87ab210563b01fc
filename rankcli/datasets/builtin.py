"""Collections that are part of rankcli and need no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rankcli.config.registry import DATASETS, option
from rankcli.data import stdlib_docs
from rankcli.data.source import DatasetOptions, Source, SourceContext
from rankcli.data.store import store_of
from rankcli.data.trec import Qrels


@DATASETS.register("builtin")
@dataclass(frozen=True, kw_only=True)
class Builtin(DatasetOptions):
    """The docstrings of Python's standard library, with a split of their own; `data: {builtin: stdlib-docs}`."""

    version: ClassVar[int] = 1
    collection: Literal["stdlib-docs"] = option("stdlib-docs", "the collection")

    def build(self, ctx: SourceContext) -> Source:
        """Make the collection."""
        made = stdlib_docs.read()
        docs = store_of(made.docs, self.collection, ctx.scratch)
        qrels: dict[str, Qrels] = {"train": {}, "dev": {}, "test": {}}
        for qid, part in made.split.items():
            qrels[part][qid] = made.qrels[qid]
        return Source(name=self.collection, queries=made.queries, qrels=qrels, docs=docs, fingerprint=docs.fingerprint)
