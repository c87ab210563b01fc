"""What a searcher is, and what it is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from rankcli.data.source import Documents
from rankcli.data.trec import Run


@dataclass(frozen=True)
class SearcherContext:
    """What a searcher may be built from: the collection."""

    docs: Documents


class Searcher(Protocol):
    """Queries to scored documents. The same collection, in whatever order, and the same queries give the same run."""

    def search(self, queries: Mapping[str, str]) -> Run:
        """The best documents of each query text; a query that matches nothing has an empty entry."""
