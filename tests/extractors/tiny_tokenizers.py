"""Tokenizer folders whose tokens are single letters, and examples made of them."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from rankcli.records.codec import token_dtype
from rankcli.shapes import Example, Record, TokenSequence

CLS, SEP = 2, 3


def bert(directory: Path) -> Path:
    """Ids: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, a 4, b 5, ..."""
    vocabulary = {token: n for n, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *string.ascii_lowercase])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    return _saved(backend, directory)


def roberta(directory: Path) -> Path:
    """Ids: <s> 0, <pad> 1, </s> 2, <unk> 3, a 4, b 5, ...; two </s> between the texts."""
    vocabulary = {token: n for n, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *string.ascii_lowercase])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return _saved(backend, directory)


def example(extractor, query: str, *docs: str) -> Example:
    """An example as it reaches `extract`: tokens cut by `encode` and then to the budget, in a small integer type."""
    small = token_dtype(extractor.streams["doc"].vocab_size)
    (query_ids,) = extractor.encode("query", [Record("q", query)]).tokens
    budget = extractor.budget("doc", {"query": len(query_ids)})
    cut = tuple(ids[:budget].astype(small) for ids in extractor.encode("doc", [Record("", doc) for doc in docs]).tokens)
    labels = np.arange(len(docs), dtype=np.float32)
    docids = tuple(f"d{n}" for n in range(len(docs)))
    return Example("q", docids, labels, {"query": query_ids.astype(small)}, {"doc": cut})


def listed(sequences: list[TokenSequence]) -> list[tuple[list[int], list[int], int]]:
    """Ids, segments and document of each sequence."""
    return [(s.ids.tolist(), s.segments.tolist(), s.doc) for s in sequences]


def _saved(backend: Tokenizer, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    backend.save(str(directory / "tokenizer.json"))
    return directory
