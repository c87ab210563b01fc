"""The common part of extractors of query and document in one sequence: the first stage's score between the two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.config.registry import option
from rankcli.errors import DataError, MissingError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.subwords import SubwordExtractor, SubwordOptions
from rankcli.shapes import FIRST_STAGE, SPECIAL, Example, Ints, Level, TokenSequence
from rankcli.storage.json_files import read_object
from rankcli.text.template import Template
from rankcli.text.tokenizer import Tokenizer

FILE = "run_scores.json"
HIGHEST = 100  # scores are written as whole numbers from 0 to it
QUANTILES = (0.001, 0.999)
EMPTY = np.zeros(0, np.int32)


@dataclass(frozen=True, kw_only=True)
class PairOptions(SubwordOptions):
    """The options of every extractor of query and document in one sequence."""

    run_score: bool = option(False, "write the first stage's score between query and document, from 0 to 100")
    score_low: float | None = option(
        None, "with run_score: what is written as 0; default: the 0.1 % quantile of the training queries' candidates"
    )
    score_high: float | None = option(None, "what is written as 100; default: their 99.9 % quantile")

    def __post_init__(self) -> None:
        given = [bound for bound in (self.score_low, self.score_high) if bound is not None]
        if given and not self.run_score:
            raise ValueError(
                "score_low and score_high are of the first stage's score: set run_score, or leave them out"
            )
        if len(given) == 2 and given[0] >= given[1]:
            raise ValueError(f"score_low ({given[0]:g}) must be below score_high ({given[1]:g})")

    @property
    def columns(self) -> tuple[str, ...]:
        """The first stage's score, if it is written."""
        return (FIRST_STAGE,) if self.run_score else ()

    def written(self, ctx: ExtractorContext, tokenizer: Tokenizer) -> WrittenScores | None:
        """Return the scores as tokens, by the range of the options, of the saved model or of the training data."""
        if not self.run_score:
            return None
        low, high = self._range(ctx)
        return WrittenScores(tokenizer, low, high)

    def _range(self, ctx: ExtractorContext) -> tuple[float, float]:
        if ctx.saved is not None:
            about = read_object(ctx.saved / FILE)
            return float(about["low"]), float(about["high"])
        if self.score_low is not None and self.score_high is not None:
            return self.score_low, self.score_high
        scores = ctx.scores() if ctx.scores is not None else np.zeros(0)
        if not len(scores):
            fix = "set extractor.score_low and score_high"
            raise MissingError("no candidates of training queries to take the range of scores from", fix=fix)
        low, high = np.quantile(np.asarray(scores, np.float64), QUANTILES).tolist()
        low, high = (
            low if self.score_low is None else self.score_low,
            high if self.score_high is None else self.score_high,
        )
        if low >= high:
            what = f"the first stage's scores cannot be told apart: they go from {low:g} to {high:g}"
            raise DataError(what, where="extractor.run_score", fix="set score_low and score_high, or leave it out")
        return low, high


class WrittenScores:
    """The first stage's scores as tokens: special tokens as between two texts, and a whole number (CE_BM25, Askari et
    al., ECIR 2023: global minimum and maximum, as an integer).
    """

    def __init__(self, tokenizer: Tokenizer, low: float, high: float) -> None:
        self.low, self.high = low, high
        between = np.array(tokenizer.pair_template.pieces[1][0], np.int32)
        numbers = tokenizer.encode([str(n) for n in range(HIGHEST + 1)])
        self._tokens = [np.concatenate([between, ids]) for ids in numbers]
        self.room = max(map(len, self._tokens))

    def of(self, example: Example) -> list[Ints]:
        """The tokens of each document's score."""
        given = np.asarray(example.columns[FIRST_STAGE], np.float64)
        shares = np.clip((given - self.low) / (self.high - self.low), 0, 1)
        return [self._tokens[n] for n in (HIGHEST * shares).astype(np.int64)]


class PairExtractor(SubwordExtractor):
    """A field `pair`: `[CLS] query [SEP] document [SEP]`, with a score `[CLS] query [SEP] score [SEP] document [SEP]`.
    The score's tokens have the query's segment, and are special. `template` is by default the tokenizer's own.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        lengths: Mapping[str, tuple[Level, int]],
        keep: Mapping[str, int],
        most: int = 1,
        scores: WrittenScores | None = None,
        template: Template | None = None,
    ) -> None:
        self.template, self.scores = template or tokenizer.pair_template, scores
        super().__init__(tokenizer, lengths, keep, most, self.template.leading + keep["query"])
        self.columns = (FIRST_STAGE,) if scores else ()

    def written(self, example: Example) -> list[Ints]:
        """The tokens between the query and each document."""
        return self.scores.of(example) if self.scores else [EMPTY] * len(example.docids)

    def pair(self, query: Ints, written: Ints, document: Ints, doc: int) -> TokenSequence:
        """The sequence of a query, what is written after it, and the text of document number `doc`."""
        if not len(written):
            return TokenSequence(*self.template.fill(query, document), doc)
        ids, segments, parts = self.template.fill(np.concatenate([query, written]), document)
        start = len(self.template.pieces[0][0]) + len(query)
        parts[start : start + len(written)] = SPECIAL
        return TokenSequence(ids, segments, parts, doc)

    def save(self, directory: Path) -> None:
        """Write the tokenizer's files and the range of scores."""
        super().save(directory)
        if self.scores:
            about: dict[str, Any] = {"low": self.scores.low, "high": self.scores.high}
            (directory / FILE).write_text(json.dumps(about) + "\n", encoding="utf-8")


def room_of(scores: WrittenScores | None) -> int:
    """The tokens that a score takes."""
    return scores.room if scores else 0
