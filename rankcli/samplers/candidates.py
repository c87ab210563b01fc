"""The groups of prediction: every query with the candidates to rerank."""

from __future__ import annotations

from rankcli.shapes import Judged, Sample


class Candidates:
    """Sample n is the n-th query, by id, that has candidates, with its top `depth` of them in run order.

    Labels are the grades of the judgments; unjudged documents and those with grades below 0 (spam in some collections)
    have 0.
    """

    def __init__(self, judged: Judged, depth: int) -> None:
        tops = ((qid, judged.run.get(qid, ())[:depth]) for qid in sorted(judged.qids))
        self._run = {qid: docids for qid, docids in tops if docids}
        self._qids, self._grades = tuple(self._run), judged.qrels

    def __len__(self) -> int:
        return len(self._qids)

    @property
    def group_size(self) -> int:
        """The documents of the largest group."""
        return max(map(len, self._run.values()), default=0)

    def __call__(self, n: int) -> Sample:
        """The group of the n-th query."""
        qid = self._qids[n]
        grades, docids = self._grades.get(qid, {}), self._run[qid]
        return Sample(qid, docids, tuple(float(max(grades.get(docid, 0), 0)) for docid in docids))
