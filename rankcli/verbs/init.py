"""Look at a collection and write a configuration for it, with the figures behind each proposal as comments."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rankcli.config.render import to_yaml
from rankcli.data.files import exists, replacing
from rankcli.data.formats import DOCUMENT_READERS, detect, read_queries
from rankcli.data.trec import Qrels, read_qrels, read_run
from rankcli.errors import ConfigError, DataError
from rankcli.storage.base import is_remote

MIN_QUERIES = 3  # one to train, one to choose weights, one to test
FIVE_FOLDS_FROM = 75  # judged queries; with fewer, a fifth is too few to choose weights on
TOKENS_PER_WORD = 1.4  # of English text with a vocabulary of 30,000 subwords
READ = 128  # tokens of a document that are read by default, with two special ones

Place = str | Path  # a local path, or a gs:// URI as text


@dataclass(frozen=True)
class Findings:
    """The facts about a collection: counts, lengths in words, grades of the judgments, and how many ids match."""

    docs: int
    doc_words: tuple[int, int]
    queries: int
    query_words: tuple[int, int]
    judged: int
    grades: Mapping[int, int]
    run_queries: int | None

    @property
    def relevance_level(self) -> int:
        """2 where grades go to 3 or more and 0 occurs, because 1 then usually means "related"; else 1."""
        return 2 if max(self.grades) >= 3 and 0 in self.grades else 1

    @property
    def folds(self) -> int:
        """The number of folds that fits the number of judged queries."""
        return 5 if self.judged >= FIVE_FOLDS_FROM else 3

    @property
    def fits(self) -> bool:
        """True if 19 of 20 documents are read to their end."""
        return self.doc_words[1] * TOKENS_PER_WORD <= READ - 2


def init(*, docs: Place, queries: Place, qrels: Place, run: Place | None, output: Place) -> str:
    """Write a configuration to `output`, and return the findings and the next command. ConfigError where `output`
    exists.
    """
    if exists(output):
        raise ConfigError("this file exists and is not overwritten", where=str(output), fix="give another --output")
    found = look(docs, queries, qrels, run)
    paths = {"docs": docs, "queries": queries, "qrels": qrels, **({"run": run} if run else {})}
    with replacing(output) as stream:
        stream.write(configuration(found, {key: _relative(path, output) for key, path in paths.items()}))
    return f"{summary(found)}\nwrote {output}; next: rankcli train --config {output} --dry-run"


def look(docs: Place, queries: Place, qrels: Place, run: Place | None) -> Findings:
    """Read all files once and count; DataError where the ids do not match."""
    texts, judgments = read_queries(queries), read_qrels(qrels)
    judged = [qid for qid in judgments if qid in texts]
    if len(judged) < MIN_QUERIES:
        raise DataError(
            f"{len(judged)} of {len(judgments)} judged queries have a text in {queries}, {MIN_QUERIES} are needed",
            where=str(qrels),
            fix="check that both files use the same query ids",
        )
    lengths = _document_lengths(docs, judgments)
    return Findings(
        docs=len(lengths),
        doc_words=_median_and_95th(lengths),
        queries=len(texts),
        query_words=_median_and_95th(len(text.split()) for text in texts.values()),
        judged=len(judged),
        grades=Counter(grade for qid in judged for grade in judgments[qid].values()),
        run_queries=sum(qid in texts for qid in read_run(run)) if run else None,
    )


def _document_lengths(docs: Place, judgments: Qrels) -> list[int]:
    """Return the number of words of each document; DataError if no judged document is among them."""
    wanted = {docid for grades in judgments.values() for docid in grades}
    lengths, seen = [], False
    for _, docid, text in DOCUMENT_READERS[detect(docs)](docs):
        seen = seen or docid in wanted
        lengths.append(len(text.split()))
    if not seen:
        raise DataError(f"none of the {len(wanted)} judged documents is there", where=str(docs), fix="check the ids")
    return lengths


def _median_and_95th(lengths: Iterable[int]) -> tuple[int, int]:
    known = sorted(lengths)
    return int(statistics.median_low(known)), known[(len(known) * 95 - 1) // 100]


def _relative(path: Place, output: Place) -> str:
    """Return `path` as a file at `output` should name it: relative if it is in or below that file's folder, else
    absolute.
    """
    if is_remote(path) or is_remote(output):
        return str(path) if is_remote(path) else os.path.abspath(path)
    target, folder = Path(os.path.abspath(path)), Path(os.path.abspath(output)).parent
    return str(target.relative_to(folder)) if target.is_relative_to(folder) else str(target)


def summary(found: Findings) -> str:
    """Return the findings as a few lines."""
    lines = [
        f"{found.docs} documents, {found.doc_words[0]} words (median), {found.doc_words[1]} (19 of 20 are no longer)",
        f"{found.queries} queries, {found.query_words[0]} words (median); {found.judged} of them judged",
        "grades: " + ", ".join(f"{grade}: {count}" for grade, count in sorted(found.grades.items())),
    ]
    if found.run_queries is not None:
        lines.append(f"candidates for {found.run_queries} queries")
    return "\n".join(lines)


def configuration(found: Findings, paths: Mapping[str, str]) -> str:
    """Return the configuration as YAML with comments. It states only options that depend on the collection."""
    files = to_yaml({"data": {**paths, "relevance_level": found.relevance_level}})
    notes = "".join(f"# {line}\n" for line in summary(found).split("\n"))
    first_stage = "" if "run" in paths else "  # run: first.run      # a TREC run; BM25 is searched otherwise\n"
    return (
        f"{notes}\n{files}{first_stage}"
        f"  folds: {{k: {found.folds}, fold: 0, seed: 7}}  # `fold: all` trains every fold in turn\n\n"
        f"# A directory, or a hub id that is downloaded once. `rankcli modules rerankers` lists the others.\n"
        f"reranker: {{name: biencoder, pretrained: sentence-transformers/all-MiniLM-L6-v2}}\n"
        f"# reranker: TFKNRM        # word embeddings: nothing to download\n\n"
        f"{_extractor(found)}\n"
        f"# Every other option has a default: rankcli modules trainers tensorflow. To train for longer:\n"
        f"# trainer: {{niters: 10}}\n"
    )


def _extractor(found: Findings) -> str:
    if found.fits:
        return f"# Documents are read to their end: they fit into {READ} tokens, the default of the extractor.\n"
    return (
        f"# Some documents are longer than the {READ} tokens that are read by default. To read more of them:\n"
        "# extractor: {name: apart, maxdoclen: 256}\n"
        "# or several passages of each:\n"
        "# reranker: {name: TFBERTMaxP, pretrained: cross-encoder/ms-marco-MiniLM-L6-v2}\n"
        "# extractor: {name: pooledpassage, numpassages: 4}\n"
    )
