"""The special tokens that a tokenizer puts around one text or two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rankcli.errors import MissingError
from rankcli.shapes import DOC, QUERY, Ints

SAVE_AGAIN = "save the tokenizer again with a current version of transformers"
MOST_IDS = 10_000_000  # tokens of a vocabulary; the largest that are published have about a million


class Template(NamedTuple):
    """The special tokens of a sequence: `pieces` surround the parts, which have the segment ids `segments`.

    A template of n parts has n + 1 pieces; each piece is its token ids and their segment ids.
    """

    pieces: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    segments: tuple[int, ...]

    @property
    def special(self) -> int:
        """The number of special tokens that it adds."""
        return sum(len(ids) for ids, _ in self.pieces)

    @property
    def leading(self) -> int:
        """The number of special tokens before the first text."""
        return len(self.pieces[0][0])

    def marked(self, marker: int) -> Template:
        """Return a template with a marker before the first text, as the last special token there."""
        (ids, segments), *rest = self.pieces
        return Template((((*ids, marker), (*segments, self.segments[0])), *rest), self.segments)

    def fill(self, *texts: Ints, kinds: Sequence[int] = (QUERY, DOC)) -> tuple[Ints, Ints, Ints]:
        """Token ids, segment ids and parts, int32 [T] each, of texts with the special tokens around them.

        `kinds` gives the part, `QUERY` or `DOC`, of each text's tokens.
        """
        length = self.special + sum(len(text) for text in texts)
        ids, segments, parts = np.empty(length, np.int32), np.empty(length, np.int32), np.zeros(length, np.int32)
        at = len(self.pieces[0][0])
        ids[:at], segments[:at] = self.pieces[0]
        for text, kind, segment, special in zip(
            texts, kinds[: len(texts)], self.segments, self.pieces[1:], strict=True
        ):
            middle, end = at + len(text), at + len(text) + len(special[0])
            ids[at:middle], segments[at:middle], parts[at:middle] = text, segment, kind
            ids[middle:end], segments[middle:end] = special
            at = end
        return ids, segments, parts


def template_of(backend: Any, parts: int) -> Template:
    """Read the template from the post-processor: encode `parts` probes, and take the tokens added around them."""
    made = backend.encode(*["a"] * parts)
    pieces: list[tuple[list[int], list[int]]] = [([], [])]
    segments: list[int] = []
    for token, segment, part in zip(made.ids, made.type_ids, made.sequence_ids, strict=True):
        if part is None:
            pieces[-1][0].append(token)
            pieces[-1][1].append(segment)
        elif part == len(segments):
            segments.append(segment)
            pieces.append(([], []))
    if (largest := max([*made.ids, *made.type_ids], default=0)) >= MOST_IDS:
        raise MissingError(f"a special token has the id or the segment {largest}", fix=SAVE_AGAIN)
    if len(segments) < parts:
        raise MissingError("the tokenizer has no token for `a`", fix="use a tokenizer with the letters a to z")
    return Template(tuple((tuple(ids), tuple(types)) for ids, types in pieces), tuple(segments))
