"""Mine hard negatives from a run, scored by itself or by a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rankcli.data.documents import open_store
from rankcli.data.files import check_apart, replacing
from rankcli.data.mined_formats import IDS, TUPLE, WITH_TEXTS, Mined, MinedTexts, ids
from rankcli.data.source import Documents
from rankcli.data.topics import read_judgments, read_topics
from rankcli.data.trec import RunFile
from rankcli.errors import ConfigError, DataError
from rankcli.runs.mining import QUANTILES, Counts, Mining, Pairs, mined
from rankcli.runs.stream import Inputs, grouped
from rankcli.storage.places import local_root
from rankcli.verbs.rerank import Reranking

DROPPED = ("unjudged", "max_score", "margin", "relative_margin", "number")


def mine(
    *,
    qrels: str,
    run: str,
    output: str | Path,
    options: Mining,
    docs: str | None = None,
    queries: str | None = None,
    topics: Sequence[str] = (),
    model: str | None = None,
    weights: str = "best",
    evalbatch: int = 0,
    amp: str = "none",
    strategy: str = "auto",
    format: str = IDS,
) -> dict[str, Any]:
    """Write the negatives of each relevant document of a run's queries to `output`.

    With `model`, relevant documents and candidates are scored as `rerank` does, and a mining that was stopped goes on
    after the pairs that are scored. `format` is one of `WITH_TEXTS`, or `IDS`, which needs no texts without a model.
    """
    _check(docs, queries, model, format, options)
    reranking = Reranking(model, weights, evalbatch, amp, strategy) if model else None
    check_apart(output, qrels, run, docs, queries, *([reranking.model.path] if reranking else []))
    known = read_topics(queries, None, topics) if queries else None
    store = open_store(docs, None, local_root()) if docs else None
    options = replace(options, exactly=format == TUPLE)
    pairs = Pairs(grouped(run), _judged(qrels, options), options, known, store)
    writer, counts = _Writer(pairs, output, format, run), Counts(judged=len(pairs.qrels))
    if reranking and store is not None and known is not None:
        _check_any(pairs, run)
        inputs = Inputs(store, known, pairs, run, trained={})
        reranking.score(inputs, output, None, lambda made: writer(made, counts))
    else:
        writer(None, counts)
    return _outcome(counts, output)


def _check(docs: str | None, queries: str | None, model: str | None, format: str, options: Mining) -> None:
    if (model or format != IDS) and not (docs and queries):
        why = "a model needs texts" if model else f"--format {format} writes texts"
        raise ConfigError(f"{why}: give --docs and --queries")
    if options.most is None and (options.seed is not None or format == TUPLE):
        raise ConfigError("--negatives is needed: how many of each relevant document")


def _judged(path: str, options: Mining) -> dict[str, dict[str, int]]:
    """The judgments of queries with a relevant document."""
    level, qrels = options.relevance_level, read_judgments(path)
    found = {qid: grades for qid, grades in qrels.items() if max(grades.values()) >= level}
    if not found:
        raise DataError(f"no document is judged {level} or higher", where=path, fix="see --relevance-level")
    return found


def _check_any(pairs: Pairs, run: str) -> None:
    if next(iter(pairs), None) is None:
        raise _nothing(run)


def _nothing(run: str) -> DataError:
    what = "no query has a relevant document, a candidate at these ranks, and texts where they are needed"
    return DataError(what, where=run, fix="check that the files belong together, and --ranks")


class _Writer:
    """Writes the rows of the pairs, with the scores of a file that a model made, or of the run."""

    def __init__(self, pairs: Pairs, output: str | Path, format: str, run: str) -> None:
        self.pairs, self.output, self.format, self.run = pairs, output, format, run

    def __call__(self, made: Path | None, counts: Counts) -> None:
        queries = self.pairs.unmined() if made is None else self.pairs.scored(RunFile(made))
        with replacing(self.output) as stream:
            for row in mined(queries, self.pairs, Path(self.run).name.split(".")[0] or "run", counts):
                stream.writelines(f"{json.dumps(each, ensure_ascii=False)}\n" for each in self._records(row))
            if not counts.queries:
                raise _nothing(self.run)
            if not counts.rows:
                what = "no relevant document has a negative that the options leave"
                raise DataError(what, where=self.run, fix=f"relax them; dropped by {_dropped(counts)}")

    def _records(self, row: Mined) -> Iterator[Mapping[str, Any]]:
        if self.format == IDS:
            yield ids(row)
        else:
            assert self.pairs.store is not None and self.pairs.topics is not None
            yield from WITH_TEXTS[self.format](row, _texts(row, self.pairs.store, self.pairs.topics))


def _texts(row: Mined, store: Documents, topics: Mapping[str, str]) -> MinedTexts:
    positive, *negatives = store.texts((row.positive, *row.negatives))
    return MinedTexts(topics[row.qid], positive, negatives)


def _dropped(counts: Counts) -> str:
    return ", ".join(f"{name} {counts.dropped[name]}" for name in DROPPED if counts.dropped[name]) or "none"


def _outcome(counts: Counts, output: str | Path) -> dict[str, Any]:
    quantiles = counts.quantiles()
    result = {
        "output": str(output),
        "judged_queries": counts.judged,
        "queries": counts.queries,
        "positives": counts.positives,
        "positives_without_score": counts.unscored,
        "positives_without_negative": counts.bare,
        "rows": counts.rows,
        "candidates": counts.candidates,
        "dropped": {name: counts.dropped[name] for name in DROPPED},
        "negatives": counts.kept,
        "quantiles": list(QUANTILES),
        "scores": quantiles,
    }
    return {"result": result, "text": "\n".join([*_rows(counts, output), *_scores(quantiles)])}


def _rows(counts: Counts, output: str | Path) -> list[str]:
    told = [
        ("queries", counts.queries, f"of {counts.judged} with a relevant document"),
        (
            "relevant documents",
            counts.positives,
            f"{counts.unscored} without a score, {counts.bare} left out",
        ),
        ("candidates", counts.candidates, "each once for every relevant document"),
        *((f"  dropped by {name}", counts.dropped[name], "") for name in DROPPED if counts.dropped[name]),
    ]
    done = f"{output}: {counts.kept} negatives of {counts.rows} relevant documents"
    return [done, *(f"  {name:26}{count:>10}  {remark}".rstrip() for name, count, remark in told)]


def _scores(quantiles: Mapping[str, list[float] | None]) -> list[str]:
    lines = ["  score".ljust(28) + "".join(f"{share:>9.0%}" for share in QUANTILES)]
    for kind, found in quantiles.items():
        if found is not None:
            lines.append(f"    {kind}".ljust(28) + "".join(f"{value:9.3f}" for value in found))
    return lines
