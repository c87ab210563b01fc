"""Features of query and document as numbers, as a data source has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from rankcli.config.registry import EXTRACTORS, option
from rankcli.config.types import NonNegativeInt
from rankcli.errors import DataError, MissingError
from rankcli.extractors._pieces import Pieces, edges_of
from rankcli.extractors.base import ExtractorContext, ExtractorOptions
from rankcli.shapes import DenseSpec, Encoded, Example, FieldSpec, Floats, Record, StreamSpec, TokenSequence
from rankcli.storage.json_files import read_object

FILE = "features.json"


@EXTRACTORS.register("features")
@dataclass(frozen=True, kw_only=True)
class Features(ExtractorOptions):
    """The source's features of each document, in the field `features`. No text is read.

    With `log1p`, x becomes sign(x) log(1 + |x|), for counts and other numbers of any size. With `standardize`, mean and
    standard deviation of each feature are taken from the judged documents of the training queries, after `log1p`; a
    feature that is constant there becomes 0. With `pieces`, each feature becomes several numbers from 0 to 1, one per
    piece of its range in the training data (piecewise linear encoding; Gorishniy et al., NeurIPS 2022): a net then
    learns from few queries what trees do. What was measured is kept with the model.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("features",)
    columns: ClassVar[tuple[str, ...]] = ("features",)
    log1p: bool = option(False, "replace x by sign(x) log(1 + |x|)")
    standardize: bool = option(False, "subtract the mean of the training data, divide by their standard deviation")
    pieces: NonNegativeInt = option(
        0, "pieces of each feature's range, with equally many of the values that are not 0; 0: the number itself"
    )

    def __post_init__(self) -> None:
        if self.pieces and self.standardize:
            raise ValueError("`pieces` are from 0 to 1 already: leave `standardize` out")

    def build(self, ctx: ExtractorContext) -> FeatureExtractor:
        """Open what was saved, else measure the training data."""
        if ctx.saved is not None:
            return FeatureExtractor.open(self, ctx.saved)
        if ctx.features is None:
            raise MissingError("no features to read", fix="use a data source that has them, such as `libsvm` or `elwc`")
        blocks = (transformed(block, self.log1p) for block in ctx.features())
        mean, deviation = moments(blocks) if self.standardize else unchanged(next(ctx.features()).shape[1])
        pieces = Pieces(edges_of(blocks, self.pieces)) if self.pieces else None
        if pieces is not None and not len(pieces):
            raise DataError("all features of the training queries are 0")
        return FeatureExtractor(self, mean, deviation, pieces)


class FeatureExtractor:
    """The field `features`, float32 [K, width or number of pieces]."""

    columns: tuple[str, ...] = ("features",)
    tables: Mapping[str, Floats] = {}
    streams: Mapping[str, StreamSpec] = {}

    def __init__(self, options: Features, mean: Floats, deviation: Floats, pieces: Pieces | None = None) -> None:
        self._log1p, self._mean, self._deviation, self._pieces = options.log1p, mean, deviation, pieces
        self.fields: Mapping[str, FieldSpec] = {"features": DenseSpec(len(mean) if pieces is None else len(pieces))}
        self.fingerprint = hashlib.sha256(json.dumps([options.log1p, self._about]).encode()).hexdigest()

    @classmethod
    def open(cls, options: Features, directory: Path) -> FeatureExtractor:
        """Read what `save` wrote."""
        about = read_object(directory / FILE)
        pieces = Pieces(about["edges"]) if "edges" in about else None
        return cls(options, np.array(about["mean"], np.float32), np.array(about["deviation"], np.float32), pieces)

    @property
    def width(self) -> int:
        """The number of features of a document."""
        return len(self._mean)

    def encode(self, stream: str, records: Sequence[Record]) -> Encoded:
        """Raise ValueError, as there are no streams."""
        raise ValueError(f"there is no stream {stream!r}: this extractor reads no text")

    def budget(self, stream: str, query_tokens: Mapping[str, int]) -> int:
        """0, as no text is read."""
        return 0

    def extract(self, example: Example) -> dict[str, list[TokenSequence] | Floats]:
        """`features`: the features of each document, transformed."""
        given = example.columns["features"]
        if given.shape[1] != len(self._mean):
            what = f"documents have {given.shape[1]} features, but the model was made for {len(self._mean)}"
            raise DataError(what, where=f"query {example.qid!r}", fix="set `width` of the data source")
        found = (transformed(given, self._log1p) - self._mean) / self._deviation
        return {"features": found if self._pieces is None else self._pieces(found)}

    def save(self, directory: Path) -> None:
        """Write number, means, standard deviations and edges of the features."""
        (directory / FILE).write_text(json.dumps(self._about) + "\n", encoding="utf-8")

    @property
    def _about(self) -> dict[str, object]:
        about = {"width": len(self._mean), "mean": self._mean.tolist(), "deviation": self._deviation.tolist()}
        return about if self._pieces is None else {**about, "edges": self._pieces.edges}


def transformed(values: Floats, log1p: bool) -> Floats:
    """Return sign(x) log(1 + |x|) where `log1p` is set, else the values."""
    return np.sign(values) * np.log1p(np.abs(values)) if log1p else values


def unchanged(width: int) -> tuple[Floats, Floats]:
    """Return mean 0 and deviation 1, which leave features as they are."""
    return np.zeros(width, np.float32), np.ones(width, np.float32)


def moments(blocks: Iterable[Floats]) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each column of all blocks, by Chan's update, which rounds little; the
    deviation is 1 where it is 0 or as small as rounding.
    """
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for block in blocks:
        own = block.astype(np.float64)
        total, delta = count + len(own), own.mean(0) - mean
        squares = squares + ((own - own.mean(0)) ** 2).sum(0) + delta**2 * count * len(own) / total
        mean, count = mean + delta * len(own) / total, total
    deviation = np.sqrt(squares / count)
    deviation = np.where(deviation > 1e-6 * np.abs(mean), deviation, 1.0)
    return mean.astype(np.float32), deviation.astype(np.float32)
