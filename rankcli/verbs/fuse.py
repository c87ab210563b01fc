"""Fuse runs in files to one run, query by query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from rankcli.data.files import check_apart, replacing
from rankcli.data.trec import write_query
from rankcli.errors import DataError
from rankcli.log import say, warn
from rankcli.runs.stream import ordered
from rankcli.searchers.fuse import Fuse

TAG = "rankcli-fused"
Placed = tuple[int, int, Mapping[str, float]]  # the place of the query, the number of the run, the scores


def fuse(options: Fuse, output: str | Path) -> dict[str, Any]:
    """Fuse the run files of the options and write the run: the queries of the first one, then those of the next.

    Runs are read query by query where their queries come in that order; any other run is held in memory.
    """
    check_apart(output, *options.runs)
    lines, found = 0, _Runs(options.runs)
    with replacing(output) as stream:
        for qid, parts in found:
            fused = options.fused(parts)
            lines += len(fused)
            write_query(stream, qid, fused, TAG)
    runs, queries = len(options.runs), len(found.counts)
    result = {"output": str(output), "runs": runs, "queries": queries, "incomplete": found.incomplete, "lines": lines}
    text = f"{output}: {lines} lines for {queries} queries, {runs} runs fused by {options.method}"
    return {"result": result, "text": text}


class _Runs:
    """Several runs, query by query."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._runs = [ordered(path) for path in paths]
        self._paths = paths
        self.counts = Counter(qid for _, qids in self._runs for qid in qids)
        if max(self.counts.values()) < 2:
            what, fix = "no query is in more than one of the runs", "check that the runs write query ids alike"
            raise DataError(what, where=", ".join(paths), fix=fix)
        self.incomplete = sum(count < len(paths) for count in self.counts.values())
        if self.incomplete:
            example = next(qid for qid, count in self.counts.items() if count < len(paths))
            warn(f"{self.incomplete} of {len(self.counts)} queries are not in all runs, for example {example!r}")

    def __iter__(self) -> Iterator[tuple[str, list[Mapping[str, float]]]]:
        """Yield every query with its scores in each run; they are empty where a run does not have it."""
        qids = list(self.counts)
        place = {qid: n for n, qid in enumerate(qids)}
        placed = merge(*(self._placed(n, place) for n in range(len(self._runs))), key=itemgetter(0))
        for where, group in groupby(placed, key=itemgetter(0)):
            scores = {run: found for _, run, found in group}
            yield qids[where], [scores.get(run, {}) for run in range(len(self._runs))]

    def _placed(self, number: int, place: Mapping[str, int]) -> Iterator[Placed]:
        run, qids = self._runs[number]
        places = [place[qid] for qid in qids]
        if places != sorted(places):
            say(f"{self._paths[number]}: its queries come in another order, so it is held in memory")
            run = sorted(run, key=lambda item: place[item[0]])
        return ((place[qid], number, scores) for qid, scores in run)
