"""Examples straight from the texts, for what is read once: the same as records would hold, and none are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rankcli.extractors.base import Extractor
from rankcli.records.tokens import Texts, encoded_texts
from rankcli.shapes import Example, Ints, Level, Sample


def examples_of(
    samples: Sequence[Sample], extractor: Extractor, queries: Mapping[str, str], docs: Texts
) -> list[Example]:
    """The example of each sample; every text is tokenised once, and shared by all examples that it is in."""

    def tokens(level: Level, ids: list[str], texts: list[str]) -> dict[str, Ints]:
        encoded = (found.astype(np.int32, copy=False) for found in encoded_texts(extractor, level, texts).tokens)
        return dict(zip(ids, encoded, strict=True))

    qids = list(dict.fromkeys(sample.qid for sample in samples))
    docids = list(dict.fromkeys(docid for sample in samples for docid in sample.docids))
    query_tokens = tokens("query", qids, [queries[qid] for qid in qids])
    doc_tokens = tokens("doc", docids, docs.texts(docids))
    made = []
    for sample in samples:
        query, count = query_tokens[sample.qid], len(sample.docids)
        most = extractor.doc_budget(len(query))
        cut = tuple(doc_tokens[docid][:most] for docid in sample.docids)
        labels = np.array(sample.labels, np.float32)
        made.append(Example(sample.qid, sample.docids, query, cut, labels, np.ones(count, np.float32)))
    return made
