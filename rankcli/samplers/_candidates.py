"""The groups of prediction: every query with the candidates to rerank."""

from __future__ import annotations

from rankcli.shapes import Judged, Sample


class Candidates:
    """Sample n is the n-th query, by id, that has candidates, with its top `depth` of them in run order.

    Labels are the grades of the judgments; unjudged documents and those with grades below 0 (spam in some collections)
    have 0.
    """

    def __init__(self, judged: Judged, depth: int) -> None:
        self._qids = tuple(qid for qid in sorted(judged.qids) if judged.run.get(qid))
        self._run = {qid: judged.run[qid][:depth] for qid in self._qids}
        self._grades = {qid: dict(judged.qrels.get(qid, {})) for qid in self._qids}

    def __len__(self) -> int:
        return len(self._qids)

    @property
    def group_size(self) -> int:
        """The documents of the largest group."""
        return max(map(len, self._run.values()), default=0)

    def __call__(self, n: int) -> Sample:
        qid = self._qids[n]
        grades, docids = self._grades[qid], self._run[qid]
        return Sample(qid, docids, tuple(float(max(grades.get(docid, 0), 0)) for docid in docids))
