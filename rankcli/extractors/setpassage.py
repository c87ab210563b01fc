"""Query and document in one sequence, after a token by which the documents of a query see each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rankcli.config.registry import EXTRACTORS, option
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.passage import Passage, PassageExtractor
from rankcli.extractors.subwords import known_id


@EXTRACTORS.register("setpassage")
@dataclass(frozen=True, kw_only=True)
class SetPassage(Passage):
    """One sequence per document: `[CLS] [INT] query [SEP] document [SEP]` (Set-Encoder, Schlatt et al., ECIR 2025).

    All else is as in `passage`. [INT] is a token of the vocabulary, `marker`.
    """

    version: ClassVar[int] = 1
    marker: str = option("[unused0]", "the token [INT]")

    def build(self, ctx: ExtractorContext) -> SetPassageExtractor:
        """Open the tokenizer, or train one that has the marker."""
        tokenizer = self.open_tokenizer(ctx, (self.marker,))
        template = tokenizer.pair_template.marked(known_id(tokenizer, self.marker, where="extractor.marker"))
        return SetPassageExtractor(self, tokenizer, self.written(ctx, tokenizer), template)


class SetPassageExtractor(PassageExtractor):
    """The field `pair`, one sequence per document, each with [INT] at the place `shared`."""

    @property
    def shared(self) -> int:
        """The place of [INT] in every sequence."""
        return self.template.leading - 1
