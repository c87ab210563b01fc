"""Negatives from several sources, kept clear of documents that may be relevant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rankcli.config.registry import option
from rankcli.config.types import NonNegativeFloat
from rankcli.data.source import DocIds
from rankcli.samplers._draw import Draws
from rankcli.samplers.guards import Guards

SOURCES = ("retrieved", "judged", "others", "random")


@dataclass(frozen=True, kw_only=True)
class Negatives(Guards):
    """Where negatives come from, as weights, and bounds on their scores.

    Each negative is drawn by itself: first one of the sources that have a document left, in proportion to its weight,
    then one of that source's documents, all equally likely. No document comes twice in a group, and none that is
    relevant to the query.
    """

    retrieved: NonNegativeFloat = option(1.0, "weight of the candidates at ranks `neg_from` to `neg_to`")
    judged: NonNegativeFloat = option(0.0, "weight of the documents that are judged, below the relevance level")
    others: NonNegativeFloat = option(0.0, "weight of the documents that are relevant to other training queries")
    random: NonNegativeFloat = option(0.0, "weight of the documents of the whole collection")
    runs: tuple[str, ...] = option(
        (), "more runs, whose documents at the same ranks are candidates, too; each document counts once", path="file"
    )
    scores: str | None = option(
        None, "a run, or JSONL, with the scores that the bounds compare; default: the candidates' own", path="file"
    )

    def __post_init__(self) -> None:
        if not sum(self.weights):
            raise ValueError(f"at least one of {', '.join(SOURCES)} must be above 0")
        if self.runs and not self.retrieved:
            raise ValueError("runs have candidates, whose weight `retrieved` is 0")
        if self.scores and not self.guarded:
            raise ValueError("scores does nothing without max_score, margin or relative_margin")

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights of the sources, in their order."""
        return (self.retrieved, self.judged, self.others, self.random)

    @property
    def plain(self) -> bool:
        """True for the candidates of one run alone, without bounds."""
        return not self.guarded and not self.runs and not any(self.weights[1:])


class Places(Protocol):
    """Documents by place, from 0."""

    def __len__(self) -> int:
        """The number of documents."""

    def id_at(self, place: int) -> str:
        """The document at a place."""

    def taken(self, docids: AbstractSet[str]) -> Sequence[int]:
        """The places of those of the documents that are here, in rising order."""


@dataclass(frozen=True)
class Listed:
    """A list of different documents."""

    docids: Sequence[str]
    index: Mapping[str, int]

    @classmethod
    def of(cls, docids: Sequence[str]) -> Listed:
        """The places of a list."""
        return cls(docids, {docid: place for place, docid in enumerate(docids)})

    def __len__(self) -> int:
        return len(self.docids)

    def id_at(self, place: int) -> str:
        """The document at a place."""
        return self.docids[place]

    def taken(self, docids: AbstractSet[str]) -> Sequence[int]:
        """The places of those of the documents that are here."""
        return sorted(self.index[docid] for docid in docids if docid in self.index)


@dataclass(frozen=True)
class Collection:
    """All documents of a collection, by ordinal."""

    docs: DocIds

    def __len__(self) -> int:
        return len(self.docs)

    def id_at(self, place: int) -> str:
        """The document at a place."""
        return self.docs.id_at(place)

    def taken(self, docids: AbstractSet[str]) -> Sequence[int]:
        """The places of those of the documents that are here."""
        ordinals = np.unique(self.docs.ordinals(docids))
        return [int(ordinal) for ordinal in ordinals if ordinal >= 0]


def draw_from(sources: Sequence[tuple[float, Places]], barred: AbstractSet[str], draws: Draws, count: int) -> list[str]:
    """Draw `count` different documents, fewer if there are no more; takes at most `choices(count, len(sources))`."""
    found: list[str] = []
    left = [each for each in sources if each[0]]
    while left and len(found) < count:
        chosen = draws.weighted([weight for weight, _ in left])
        docid = _one(left[chosen][1], barred | set(found), draws)
        if docid is None:
            left.pop(chosen)
        else:
            found.append(docid)
    return found


def choices(count: int, sources: int = len(SOURCES)) -> int:
    """The most choices that it takes to draw `count` documents: of a source and a document, and of sources that turn
    out to be used up.
    """
    return 2 * count + sources


def available(sources: Sequence[tuple[float, Places]], barred: AbstractSet[str]) -> bool:
    """True if there is a document to draw."""
    return any(weight and len(source) > len(source.taken(barred)) for weight, source in sources)


def _one(source: Places, barred: AbstractSet[str], draws: Draws) -> str | None:
    """One of the documents that are not barred, all equally likely: a place counted without those of the barred."""
    taken = source.taken(barred)
    if len(taken) == len(source):
        return None
    place = draws.below(len(source) - len(taken))
    for barred_place in taken:
        if barred_place > place:
            break
        place += 1
    return source.id_at(place)
