"""The layout that rankcli's records are compared with: everything padded, as int64, tokenised again for every sample.

A miniature of how Capreolus stores groups for its LCE loss: per sample one `tf.train.Example` whose features are
serialised tensors, ids, mask and segments of the relevant document `[maxseqlen]` and of the others `[n, maxseqlen]`.
Texts are at hand in memory and tokenised by the same library, one at a time, in one process: the original asks a search
index for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rankcli.backend import tf
from rankcli.shapes import Sample

BUFFERED = 20_000  # records that are held in memory before they are written to a file of their own

Tensor = npt.NDArray[Any]
Text = Callable[[str], str]


@dataclass(frozen=True)
class Padded:
    """Makes records of samples; `tokenizer` is a `tokenizers.Tokenizer` of BERT's kind."""

    tokenizer: Any
    query: Text
    document: Text
    maxseqlen: int
    maxqlen: int

    def write(self, samples: Iterable[Sample], folder: Path) -> int:
        """Write the samples to files in `folder`; their size in bytes."""
        buffer: list[bytes] = []
        for sample in samples:
            buffer.append(self.record(sample))
            if len(buffer) > BUFFERED:
                _flush(buffer, folder)
        _flush(buffer, folder)
        return sum(path.stat().st_size for path in folder.iterdir())

    def record(self, sample: Sample) -> bytes:
        """One serialised example."""
        query = self.tokenizer.encode(self.query(sample.qid), add_special_tokens=False).ids[: self.maxqlen]
        documents = [self._tensors(query, self.document(docid)) for docid in sample.docids]
        tensors: dict[str, Tensor] = {"label": np.array(sample.labels, np.float32)}
        for n, name in enumerate(("bert_input", "mask", "seg")):
            tensors[f"pos_{name}"] = documents[0][n]
            tensors[f"neg_{name}"] = np.stack([document[n] for document in documents[1:]])
        return _serialised(tensors)

    def _tensors(self, query: list[int], text: str) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, mask and segments of `[CLS] query [SEP] document [SEP] [PAD] ...`, int64 `[maxseqlen]` each."""
        cls, sep = self.tokenizer.token_to_id("[CLS]"), self.tokenizer.token_to_id("[SEP]")
        document = self.tokenizer.encode(text, add_special_tokens=False).ids[: self.maxseqlen - len(query) - 3]
        tokens = [cls, *query, sep, *document, sep]
        ids = np.full(self.maxseqlen, self.tokenizer.token_to_id("[PAD]"), np.int64)
        mask, segments = np.zeros(self.maxseqlen, np.int64), np.ones(self.maxseqlen, np.int64)
        ids[: len(tokens)], mask[: len(tokens)], segments[: len(query) + 2] = tokens, 1, 0
        return ids, mask, segments


def _serialised(tensors: dict[str, Tensor]) -> bytes:
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[tf.io.serialize_tensor(tensor).numpy()]))
        for name, tensor in tensors.items()
    }
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def _flush(buffer: list[bytes], folder: Path) -> None:
    with tf.io.TFRecordWriter(str(folder / f"{len(list(folder.iterdir()))}.tfrecord")) as writer:
        for record in buffer:
            writer.write(record)
    buffer.clear()
