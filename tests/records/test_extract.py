"""Examples straight from the texts are those that records hold."""

from __future__ import annotations

from pathlib import Path

from record_fakes import QUERIES, Groups, WordExtractor, converted, job, same

from rankcli.records.extract import examples_of
from rankcli.records.interleave import read_examples
from rankcli.records.texts import InMemory


def test_examples_are_those_of_records_and_every_text_is_tokenised_once(tmp_path: Path) -> None:
    groups, extractor = Groups(size=5), WordExtractor()
    made = examples_of([groups(n) for n in range(60)], extractor, InMemory(QUERIES), job(tmp_path).docs)
    read = list(read_examples(converted(tmp_path, sampler=groups, samples=60, group_size=5)))
    assert len(made) == len(read) == 60 and all(map(same, made, read))
    assert {array.dtype.name for each in made for array in (each.queries["query"], *each.docs["doc"])} == {"int32"}
    assert len(extractor.seen) == len(set(extractor.seen)) == 50 + 3 * 59 + 5
    assert examples_of([], extractor, InMemory(QUERIES), job(tmp_path).docs) == []
