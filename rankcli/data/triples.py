"""Training triples as MS MARCO publishes them: query, relevant and not relevant document, by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rankcli.data.lines import checked_id, fail, read_rows
from rankcli.data.trec import Qrels
from rankcli.log import warn


@dataclass(frozen=True)
class Triples:
    """What triples say: `qrels` holds grade 1 for every relevant document, `negatives` the others in the order met.

    All of it is held in memory, about 100 bytes per distinct query and document.
    """

    qrels: Qrels
    negatives: dict[str, tuple[str, ...]]


def read_triples(path: str | Path) -> Triples:
    """Read `qid docid docid`, separated by tabs or spaces.

    A document that is both relevant and not for the same query counts as relevant, with a warning.
    """
    positives: dict[str, dict[str, int]] = {}
    negatives: dict[str, dict[str, None]] = {}
    for number, line in read_rows(path):
        qid, positive, negative = _triple(line, path, number)
        positives.setdefault(qid, {})[positive] = 1
        negatives.setdefault(qid, {})[negative] = None
    both = sum(docid in positives[qid] for qid, docids in negatives.items() for docid in docids)
    if both:
        warn(f"{path}: {both} documents are both relevant and not for the same query; they count as relevant")
    return Triples(
        positives, {qid: tuple(d for d in docids if d not in positives[qid]) for qid, docids in negatives.items()}
    )


def _triple(line: str, path: str | Path, number: int) -> list[str]:
    fields = line.split("\t") if "\t" in line else line.split(" ")
    if len(fields) != 3:
        fail(path, number, f"{len(fields)} columns, expected 3: qid docid docid")
    if any(" " in field.strip() for field in fields):
        fail(
            path,
            number,
            "triples of texts are not read, only triples of ids",
            "use the file of ids, e.g. qidpidtriples.train.full.2.tsv",
        )
    return [checked_id(field.strip(), path, number) for field in fields]
