"""A collection in files: documents, queries, judgments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rankcli.config.registry import DATASETS, option
from rankcli.config.schema import Places
from rankcli.data.documents import open_store
from rankcli.data.folds import check_disjoint
from rankcli.data.source import DatasetOptions, Source, SourceContext
from rankcli.data.topics import places, read_judgments, read_topics
from rankcli.data.trec import Qrels


@DATASETS.register("files")
@dataclass(frozen=True, kw_only=True)
class Files(DatasetOptions):
    """Files of documents, queries and judgments; `data: {docs, queries, qrels, format}` is short for it.

    If `docs` is `ir_datasets:ID`, queries and judgments that are left out come from that data set.
    """

    version: ClassVar[int] = 1
    docs: Places = option(
        help="documents: a file, folder or zip archive, or a list of them; or `ir_datasets:ID`", path="file"
    )
    queries: Places | dict[str, Places] | None = option(None, "queries: a file, or several", path="file")
    qrels: Places | dict[str, Places] | None = option(
        None,
        "judgments; or {train, dev, test} files, which then make the split; without dev, a fifth of train is dev",
        path="file",
    )
    format: Literal["jsonl", "tsv", "trec", "parquet"] | None = option(
        None, "of docs and queries; default: seen from the content"
    )

    topics: tuple[str, ...] = option((), "fields of TREC topics to read as the query, as [title, desc]; default: title")

    def build(self, ctx: SourceContext) -> Source:
        """Read the files; documents are parsed into a store the first time."""
        docs = open_store(self.docs, self.format, ctx.scratch)
        queries = read_topics(self.queries or self.docs, self.format, self.topics)
        qrels = self._qrels()
        return Source(name=self._name(), queries=queries, qrels=qrels, docs=docs, fingerprint=docs.fingerprint)

    def _qrels(self) -> dict[str, Qrels]:
        if not isinstance(self.qrels, dict):
            return {"": read_judgments(self.qrels or self.docs)}
        parts = {name: read_judgments(path) for name, path in sorted(self.qrels.items())}
        check_disjoint(parts, "data.qrels")
        return parts

    def _name(self) -> str:
        return ", ".join(dict.fromkeys(places(self.qrels or self.docs)))
