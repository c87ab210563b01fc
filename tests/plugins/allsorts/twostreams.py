"""Documents in two vocabularies, words and letters, next to the first stage's score and the source's features."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rankcli.api import (
    DOC,
    TINY,
    Batch,
    DenseSpec,
    Dropout,
    Encoded,
    EncoderSize,
    Example,
    ExtractorContext,
    Floats,
    Outputs,
    Record,
    Reranker,
    RerankerContext,
    RerankerOptions,
    SequenceSpec,
    StreamSpec,
    SubwordExtractor,
    SubwordOptions,
    TokenSequence,
    Weight,
    dense,
    family_of,
    option,
    per_document,
    query_of,
    tf,
    token_means,
)

LETTERS, LONGEST, WIDTH = 28, 12, 3  # letter ids: 0 padding, 1 any other character


@dataclass(frozen=True, kw_only=True)
class TwoStreams(SubwordOptions):
    """The fields `query` and `doc` of words, `letters` of each document, and `numbers` of its features."""

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("query", "doc", "letters", "numbers")
    columns: ClassVar[tuple[str, ...]] = ("features",)

    def build(self, ctx: ExtractorContext) -> TwoStreamExtractor:
        return TwoStreamExtractor(self.open_tokenizer(ctx))


class TwoStreamExtractor(SubwordExtractor):
    """Words by the tokenizer, letters by the alphabet."""

    columns = ("features",)

    def __init__(self, tokenizer: Any) -> None:
        lengths = {"query": ("query", LONGEST), "doc": ("doc", LONGEST)}
        super().__init__(tokenizer, lengths, {"query": LONGEST - 2, "doc": LONGEST - 2})
        self.streams = {**self.streams, "letters": StreamSpec("doc", LETTERS)}
        self.fields = {**self.fields, "letters": SequenceSpec("doc", "letters", LONGEST), "numbers": DenseSpec(WIDTH)}

    def encode(self, stream: str, records: Sequence[Record]) -> Encoded:
        if stream != "letters":
            return super().encode(stream, records)
        ids = [[2 + ord(char) - 97 if "a" <= char <= "z" else 1 for char in record.text] for record in records]
        return Encoded([np.array(letters[:LONGEST], np.int32) for letters in ids], [len(letters) for letters in ids])

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        return LONGEST if stream == "letters" else LONGEST - 2

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        fill = self.tokenizer.single_template.fill
        letters = [
            TokenSequence(ids, np.zeros_like(ids), np.full_like(ids, DOC), n)
            for n, ids in enumerate(example.docs["letters"])
        ]
        return {
            "query": [TokenSequence(*fill(example.queries["query"]))],
            "doc": [TokenSequence(*fill(ids, kinds=(DOC,)), n) for n, ids in enumerate(example.docs["doc"])],
            "letters": letters,
            "numbers": example.columns["features"],
        }


@dataclass(frozen=True, kw_only=True)
class TwoStreamReranker(RerankerOptions):
    """q . d + w . (mean letter of d) + v . features + u x first-stage score."""

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = TwoStreams.fields
    default_extractor: ClassVar[str] = "twostreams"
    columns: ClassVar[tuple[str, ...]] = ("first_stage",)
    vectors: ClassVar[tuple[str, ...]] = ("query", "doc")
    pretrained: str | None = option(None, "hub id or directory of an encoder", path="model")
    encoder: EncoderSize = option(TINY, "the size of the encoder where nothing is pretrained")

    def build(self, ctx: RerankerContext) -> TwoStreamModel:
        return TwoStreamModel(self, ctx)


class TwoStreamModel(Reranker):
    """An encoder of words, a table of letters, a linear layer."""

    def __init__(self, options: TwoStreamReranker, ctx: RerankerContext) -> None:
        self._encoder = ctx.encoder(options.encoder, "doc")
        own = [
            Weight("letters", (LETTERS, 4), ("letters.weight",), "normal"),
            *dense("mix", ("mix",), 4 + WIDTH + 1, 1),
        ]
        self.parameters = {"encoder": self._encoder.parameters, "head": ctx.parameters(own)}
        self.encoders = {"encoder": self._encoder}

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        query, doc, letters = (batch.fields[name] for name in ("query", "doc", "letters"))
        queries = self._encoder.pooled(query.layout, "mean", dropout and dropout.fold(0))
        docs = self._encoder.pooled(doc.layout, "mean", dropout and dropout.fold(1))
        own = tf.gather(queries, query_of(query.owner, doc.owner, batch.doc_mask))
        match = per_document(tf.reduce_sum(own * docs, axis=-1), doc.owner, batch.doc_mask)
        head = self.parameters["head"]
        rows = tf.gather(head.exact("letters"), tf.reshape(letters.layout.ids, [-1]))
        means = token_means(rows, letters.layout)
        spelt = [per_document(means[:, n], letters.owner, batch.doc_mask) for n in range(4)]
        inputs = tf.concat(
            [tf.stack(spelt, -1), batch.fields["numbers"], batch.columns["first_stage"][:, :, None] / 10], axis=-1
        )
        linear = tf.tensordot(inputs, head.exact("mix/kernel"), 1)[:, :, 0] + head.exact("mix/bias")
        return Outputs(match + linear, {"query": queries, "doc": docs}, {"query": query.owner, "doc": doc.owner})

    def save_config(self, directory: Path) -> None:
        config = self._encoder.config
        (directory / "config.json").write_text(json.dumps(family_of(config.kind).write(config)))
