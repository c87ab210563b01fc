"""Choose k1 and b on judged queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from rankcli.data.source import Documents
from rankcli.data.trec import CompactRun, Qrels, Run
from rankcli.log import Progress
from rankcli.searchers.bm25 import BM25, Index, Words

GRID = tuple((k1, b) for k1 in (0.6, 0.9, 1.2, 1.6, 2.0) for b in (0.2, 0.4, 0.6, 0.75, 0.9))
_DEFAULTS = BM25()


class Tuned(NamedTuple):
    """The best k1 and b, and the value of the metric for every pair tried."""

    k1: float
    b: float
    table: dict[tuple[float, float], float]


def tune(
    docs: Documents,
    queries: Mapping[str, str],
    qrels: Qrels,
    metric: Callable[[Qrels, Run], float],
    grid: Iterable[tuple[float, float]] = GRID,
    options: BM25 = _DEFAULTS,
) -> Tuned:
    """Try every (k1, b) of `grid` on the judged queries; the collection is read and stemmed once.

    `metric(qrels, run)` is higher for a better run. Equal values go to the pair nearest to that of `options`, then to
    the smaller.
    """
    settings = list(grid)
    words = Words(docs, options.stemmer, options.stopwords)
    judged = {qid: queries[qid] for qid in sorted(qrels) if qid in queries}
    table = {}
    with Progress(len(settings) * len(judged), "tuning", "searches") as bar:
        for k1, b in settings:
            table[k1, b] = metric(qrels, CompactRun.of(Index(words, k1, b, options.k).each(judged, bar)))
    best = min(table, key=lambda pair: (-table[pair], abs(pair[0] - options.k1) + abs(pair[1] - options.b), pair))
    return Tuned(*best, table)
