"""Examples made directly from texts, equal to those of records, for data that is read only once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rankcli.extractors.base import Extractor
from rankcli.records.texts import FEATURES, LEVELS, Features, Texts
from rankcli.records.tokens import encoded_texts
from rankcli.shapes import Example, Floats, Ints, Level, Sample

Tokens = dict[str, dict[str, Ints]]  # by stream and id


def examples_of(
    samples: Sequence[Sample],
    extractor: Extractor,
    queries: Texts,
    docs: Texts,
    features: Features | None = None,
    columns: Sequence[str] = (),
) -> list[Example]:
    """The example of each sample; every text is tokenised once, and all examples that contain it share its tokens."""
    qids = list(dict.fromkeys(sample.qid for sample in samples))
    docids = list(dict.fromkeys(docid for sample in samples for docid in sample.docids))
    tokens: Tokens = {}
    for level, ids, texts in zip(LEVELS, (qids, docids), (queries, docs), strict=True):
        tokens |= _tokens(extractor, level, ids, texts)
    return [_example(sample, extractor, tokens, features, columns) for sample in samples]


def _tokens(extractor: Extractor, level: Level, ids: list[str], texts: Texts) -> Tokens:
    streams = [name for name, spec in extractor.streams.items() if spec.level == level]
    records = texts.records(ids) if streams else []
    found: Tokens = {}
    for stream in streams:
        encoded = (tokens.astype(np.int32, copy=False) for tokens in encoded_texts(extractor, stream, records).tokens)
        found[stream] = dict(zip(ids, encoded, strict=True))
    return found


def _example(
    sample: Sample, extractor: Extractor, tokens: Tokens, features: Features | None, columns: Sequence[str]
) -> Example:
    levels = {name: spec.level for name, spec in extractor.streams.items()}
    queries = {name: tokens[name][sample.qid] for name, level in levels.items() if level == "query"}
    lengths = {name: len(ids) for name, ids in queries.items()}
    cuts = {name: extractor.budget(name, lengths) for name, level in levels.items() if level == "doc"}
    docs = {name: tuple(tokens[name][docid][:most] for docid in sample.docids) for name, most in cuts.items()}
    given: dict[str, Floats] = {name: np.array(sample.columns[name], np.float32) for name in columns}
    if features is not None:
        given[FEATURES] = features.features(sample.qid, sample.docids)
    return Example(sample.qid, sample.docids, np.array(sample.labels, np.float32), queries, docs, given)
