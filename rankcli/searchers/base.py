"""The contract of searchers: functions from queries to a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from rankcli.data.source import Documents
from rankcli.data.trec import Run


@dataclass(frozen=True)
class SearcherContext:
    """The inputs of a searcher besides its options: the collection."""

    docs: Documents


class Searcher(Protocol):
    """Finds documents for queries. The same collection, in any order, and the same queries give the same run."""

    def search(self, queries: Mapping[str, str]) -> Run:
        """The best documents of each query text; a query that matches nothing has an empty entry."""
