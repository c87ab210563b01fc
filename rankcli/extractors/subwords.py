"""The common base of extractors over subword tokens: opening the tokenizer, cutting off, saving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankcli.config.registry import option
from rankcli.config.types import PositiveInt
from rankcli.errors import ConfigError, MissingError
from rankcli.extractors.base import ExtractorContext, ExtractorOptions
from rankcli.log import say
from rankcli.shapes import Encoded, FieldSpec, Floats, Level, Record, SequenceSpec, StreamSpec
from rankcli.text.template import Template
from rankcli.text.tokenizer import Tokenizer
from rankcli.text.wordpiece import train_wordpiece

LEVELS: tuple[Level, ...] = ("query", "doc")


@dataclass(frozen=True, kw_only=True)
class SubwordOptions(ExtractorOptions):
    """The options of every extractor over subword tokens."""

    tokenizer: str | None = option(
        None,
        "hub id or directory of a tokenizer; default: reranker.pretrained's, else one trained on the collection",
        path="model",
    )
    vocab_size: PositiveInt = option(8000, "size of a trained WordPiece vocabulary")
    lowercase: bool = option(True, "whether a trained vocabulary ignores case")

    def open_tokenizer(self, ctx: ExtractorContext, more: tuple[str, ...] = ()) -> Tokenizer:
        """The saved tokenizer, else the pretrained one, else one trained on the collection's texts, which has the
        tokens `more` besides.
        """
        directory = ctx.saved or ctx.pretrained
        if directory is not None:
            return ctx.once(directory, lambda: Tokenizer.open(directory))
        texts = ctx.texts
        if texts is None:
            raise MissingError("no tokenizer and no collection to train one on", fix="set extractor.tokenizer")

        def train() -> Tokenizer:
            say(f"training a WordPiece vocabulary of {self.vocab_size} pieces on the collection")
            return train_wordpiece(texts, self.vocab_size, self.lowercase, more)

        return ctx.once(("wordpiece", self.vocab_size, self.lowercase, *more), train)


class SubwordExtractor:
    """The common part of the built extractors: a stream `query` and a stream `doc` over one vocabulary.

    `lengths` gives the level and the longest sequence of each field, `keep` the most tokens of a text that each stream
    ever uses, `most` and `leading` those of fields at document level (`SequenceSpec`).
    """

    columns: tuple[str, ...] = ()

    def __init__(
        self,
        tokenizer: Tokenizer,
        lengths: Mapping[str, tuple[Level, int]],
        keep: Mapping[str, int],
        most: int = 1,
        leading: int = 0,
    ) -> None:
        self.tokenizer, self._keep, self.fingerprint = tokenizer, keep, tokenizer.fingerprint
        self.streams: Mapping[str, StreamSpec] = {name: StreamSpec(name, tokenizer.vocab_size) for name in LEVELS}
        self.fields: Mapping[str, FieldSpec] = {
            name: SequenceSpec(level, level, longest, tokenizer.pad_id, most if level == "doc" else 1, leading=leading)
            for name, (level, longest) in lengths.items()
        }
        self.tables: Mapping[str, Floats] = {}

    def encode(self, stream: str, records: Sequence[Record]) -> Encoded:
        """Token ids of each text, without special tokens, cut off at the most that the stream ever uses."""
        tokens = self.tokenizer_of(stream).encode([record.text for record in records])
        # a copy, so that the tokens that were cut off leave memory
        return Encoded([ids[: self._keep[stream]].copy() for ids in tokens], [len(ids) for ids in tokens])

    def tokenizer_of(self, stream: str) -> Tokenizer:
        """The tokenizer of a stream."""
        return self.tokenizer

    def save(self, directory: Path) -> None:
        """Write the tokenizer's files."""
        self.tokenizer.save(directory)


def room(template: Template, most: int, taken: int, what: str) -> int:
    """Tokens left for a text in a sequence of `most` tokens, `taken` of them for other texts; ConfigError if none."""
    left = most - template.special - taken
    if left < 1:
        raise ConfigError(
            f"no token of {what} fits beside {template.special} special tokens",
            where="extractor",
            fix=f"the sequence length must be at least {template.special + taken + 1}",
        )
    return left


def known_id(tokenizer: Tokenizer, *names: str, where: str) -> int:
    """The id of the first of these special tokens that the tokenizer has; ConfigError at `where` if it has none."""
    found = next((known for name in names if (known := tokenizer.id_of(name)) is not None), None)
    if found is None:
        fix = "name a token of its vocabulary that no text has, or use a tokenizer with unused tokens, such as BERT's"
        raise ConfigError(f"the tokenizer has no token {' or '.join(names)}", where=where, fix=fix)
    return found
