"""Training triples as judgments and candidates; a query is read when it is accessed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rankcli.data.source import TrainingTriples
from rankcli.shapes import Ranked


class TripleJudgments(Mapping[str, Mapping[str, int]]):
    """Grade 1 for the relevant documents of each query, in the order of their first line."""

    def __init__(self, triples: TrainingTriples, qids: Sequence[str]) -> None:
        self._triples, self._qids = triples, dict.fromkeys(qids)

    def __getitem__(self, qid: str) -> Mapping[str, int]:
        self._qids[qid]
        positives = dict.fromkeys(self._triples.pairs(qid)[:, 0].tolist())
        return dict.fromkeys(self._triples.docs.ids_at(n for n in positives if n >= 0), 1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._qids)

    def __len__(self) -> int:
        return len(self._qids)


class TripleCandidates(Mapping[str, Ranked]):
    """The documents that no triple of a query has as relevant, in the order of their first line; without scores."""

    def __init__(self, triples: TrainingTriples, qids: Sequence[str]) -> None:
        self._triples, self._qids = triples, dict.fromkeys(qids)

    def __getitem__(self, qid: str) -> Ranked:
        self._qids[qid]
        pairs = self._triples.pairs(qid)
        relevant = {-1, *pairs[:, 0].tolist()}
        others = [n for n in dict.fromkeys(pairs[:, 1].tolist()) if n not in relevant]
        return Ranked(tuple(self._triples.docs.ids_at(others)), np.zeros(0, np.float32))

    def __iter__(self) -> Iterator[str]:
        return iter(self._qids)

    def __len__(self) -> int:
        return len(self._qids)
