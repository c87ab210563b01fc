"""The groups of prediction: every query with the candidates to rerank."""

from __future__ import annotations

from rankcli.samplers.base import FirstStage
from rankcli.shapes import FIRST_STAGE, Judged, Sample


class Candidates:
    """Sample n is the n-th query, by id, that has candidates, with its top `depth` of them in run order.

    Labels are the grades of the judgments; unjudged documents and those with grades below 0 (spam in some collections)
    have 0. `columns` are the names of the columns that some component reads.
    """

    def __init__(self, judged: Judged, depth: int, columns: frozenset[str] = frozenset()) -> None:
        self._qids = tuple(qid for qid in sorted(judged.qids) if qid in judged.run and judged.run[qid].docids)
        self._run, self._grades, self._depth = judged.run, judged.qrels, depth
        self._columns = FirstStage(judged.run, depth, FIRST_STAGE in columns)

    def __len__(self) -> int:
        return len(self._qids)

    @property
    def group_size(self) -> int:
        """The documents of the largest group."""
        return min(self._depth, max((len(self._run[qid].docids) for qid in self._qids), default=0))

    @property
    def documents(self) -> int:
        """The documents of all groups."""
        return sum(min(self._depth, len(self._run[qid].docids)) for qid in self._qids)

    def __call__(self, n: int) -> Sample:
        """The group of the n-th query."""
        qid = self._qids[n]
        grades, docids = self._grades.get(qid, {}), self._run[qid].docids[: self._depth]
        labels = tuple(float(max(grades.get(docid, 0), 0)) for docid in docids)
        return Sample(qid, docids, labels, self._columns(qid, docids))
