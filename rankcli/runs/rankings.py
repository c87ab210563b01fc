"""The rankings that a report shows: of the queries that gained and lost most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rankcli.data.source import Documents
from rankcli.data.trec import ranking
from rankcli.evaluation.trec import Qrels, Run
from rankcli.report.facts import Ranked, Ranking
from rankcli.report.gains import Gains

SHOWN = 5  # documents of a ranking


def rankings_of(
    values: Mapping[str, Mapping[str, float]], runs: Mapping[str, Run], qrels: Qrels, docs: Documents
) -> Iterator[Ranking]:
    """Yield the largest gain and the largest loss of the last stage of `runs` against the first stage, if any."""
    stage = list(runs)[-1]
    gains = Gains.of(values["first_stage"], values[stage])
    for change in (*gains.largest(1), *gains.worst(1)):
        found = [_documents(runs[each].get(change.qid, {}), qrels[change.qid], docs) for each in ("first_stage", stage)]
        yield Ranking(change.qid, stage, *found)


def _documents(scores: Mapping[str, float], grades: Mapping[str, int], docs: Documents) -> list[Ranked]:
    best = ranking(scores)[:SHOWN]
    absent = docs.absent(best) if len(docs) else best  # a source of features has no texts
    known = [docid for docid in best if docid not in absent]
    texts = dict(zip(known, docs.texts(known), strict=True))
    return [Ranked(docid, grades.get(docid), texts.get(docid, "")) for docid in best]
