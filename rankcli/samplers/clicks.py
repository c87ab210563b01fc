"""Groups of documents that were shown together, labelled by clicks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from rankcli.config.registry import SAMPLERS, option
from rankcli.config.types import Factor, NonNegativeFloat, PositiveFloat, PositiveInt
from rankcli.data.clicks import CLICK, Session, read_sessions
from rankcli.errors import DataError
from rankcli.log import say
from rankcli.samplers._confidence import Confidence, confidences
from rankcli.samplers._draw import GROUP, ORDER, Draws, permutation
from rankcli.samplers._examination import estimated
from rankcli.samplers.base import Sampler, SamplerContext, SamplerOptions
from rankcli.shapes import Sample

WEIGHT, POSITION, SEEN = "weight", "position", "seen"
Groups = Literal["list", "session", "all", "skip_above", "last_click"]


class Clicked(NamedTuple):
    """A session as it is drawn from: by place the documents, positions, weights of their events (0: no click), scores,
    and seconds of the longest visit.
    """

    qid: str
    docids: tuple[str, ...]
    positions: tuple[int, ...]
    clicked: tuple[float, ...]
    scores: tuple[float, ...]
    dwell: tuple[float | None, ...]


class Unit(NamedTuple):
    """A sample's beginning: a session, the place of a click (-1: none), and the places to draw from."""

    session: int
    place: int
    others: tuple[int, ...]


@dataclass(frozen=True)
class _Clicks:
    sessions: tuple[Clicked, ...]
    units: tuple[Unit, ...]
    options: Clicks
    seen: tuple[float, ...]
    seed: int
    columns: frozenset[str]

    def __call__(self, n: int) -> Sample:
        turn, place = divmod(n, len(self.units))
        unit = self.units[int(permutation(self.seed, ORDER, turn, len(self.units))[place])]
        session = self.sessions[unit.session]
        places = self._places(unit, Draws(self.seed, GROUP, n, len(unit.others)))
        labels = tuple([float(session.clicked[k] > 0) for k in places])
        columns = {name: values for name, values in self._columns(session, places).items() if name in self.columns}
        return Sample(session.qid, tuple([session.docids[k] for k in places]), labels, columns)

    def _places(self, unit: Unit, draws: Draws) -> list[int]:
        """The click and the others; for a pair one of these, else as many as are kept, by place."""
        kept = 1 if self.options.pairs else max(1, round(self.options.negatives * len(unit.others)))
        picked = sorted(unit.others[k] for k in draws.distinct(len(unit.others), min(kept, len(unit.others))))
        session = self.sessions[unit.session]
        if unit.place < 0:
            return sorted([*(k for k, weight in enumerate(session.clicked) if weight), *picked])
        return [unit.place, *picked]

    def _columns(self, session: Clicked, places: Sequence[int]) -> dict[str, tuple[float, ...]]:
        options = self.options
        seen = [self.seen[position - 1] for position in session.positions]
        sure = confidences(options.confidence, session, seen, options.clip, options.dwell)
        weights = [sure[k] * (session.clicked[k] or 1.0) for k in places]
        if options.pairs:  # a pair is as sure as the less sure of its documents
            weights = [min(sure[k] for k in places) * session.clicked[places[0]]] * 2
        return {
            WEIGHT: tuple(weights),
            POSITION: tuple([float(session.positions[k]) for k in places]),
            SEEN: tuple([seen[k] for k in places]),
        }


@SAMPLERS.register("clicks")
@dataclass(frozen=True, kw_only=True)
class Clicks(SamplerOptions):
    """Documents that were shown together, with label 1 for those that were clicked; every click once per pass.

    `list`: a click and all shown documents without one. `all`, `skip_above`, `last_click`: a click and a document
    without one, any of the session, any above the click, or for the last click of a session any above it, all equally
    likely (Joachims et al., SIGIR 2005). `session`: all shown documents, every session once per pass. A click without
    such a document is left out. The column `weight` is the weight of the event times the confidence, of a pair the
    lower confidence of both; `position` counts from 1; `seen` is the chance that a position is looked at.
    """

    version: ClassVar[int] = 1
    file: str = option(help="sessions, as `rankcli clicks import` writes them", path="file")
    groups: Groups = option("list", "which documents make a group")
    shown: PositiveInt = option(10, "documents of a session, at most; those further down are left out")
    events: dict[str, NonNegativeFloat] | None = option(
        None, "weight by type of event, others are no clicks; default: {click: 1}"
    )
    negatives: Factor = option(1.0, "share of the documents without a click in a list or session, drawn anew each time")
    abandoned: bool = option(False, "with groups `session`, also sessions without a click")
    confidence: Confidence = option(
        "none", "1 for all; by neighbours; by chance to be seen, for what was not clicked; ips: 1 / seen; by dwell time"
    )
    propensities: tuple[Factor, ...] = option(
        (),
        "chance that a position is looked at, from the first; the last counts for all below; default: estimated by EM",
    )
    clip: PositiveFloat = option(10.0, "the highest weight that `ips` gives")
    dwell: PositiveFloat = option(30.0, "seconds of a visit that counts fully, for confidence `dwell`")

    def __post_init__(self) -> None:
        if self.abandoned and self.groups != "session":
            raise ValueError("abandoned goes with groups `session`: other groups begin with a click")
        if self.events is not None and not any(self.events.values()):
            raise ValueError("events must give a type a weight above 0")

    @property
    def pairs(self) -> bool:
        """True for groups of two."""
        return self.groups not in ("list", "session")

    @property
    def gives(self) -> tuple[str, ...]:
        """The weights, positions, and chances to be seen."""
        return (WEIGHT, POSITION, SEEN)

    @property
    def group_size(self) -> int:
        """The documents of a group, at most."""
        return 2 if self.pairs else self.shown

    @property
    def depth(self) -> int:
        """0: it reads no candidates."""
        return 0

    def build(self, ctx: SamplerContext) -> Sampler:
        """The sampler over the sessions of training queries; DataError without any that can be drawn from."""
        qids, sessions = set(ctx.judged.qids), list[Clicked]()
        for session in read_sessions(self.file):
            if session.qid in qids:
                sessions.append(self._clicked(session))
        units = tuple(self._units(sessions))
        if not units:
            what = "no session of a training query has a click and a document without one"
            raise DataError(what, where=self.file, fix="check the ids of queries, sampler.groups and sampler.events")
        seen = self._seen(sessions)
        self._tell(sessions, units, seen)
        return _Clicks(tuple(sessions), units, self, seen, ctx.seed, ctx.columns)

    def _clicked(self, session: Session) -> Clicked:
        shown = session.shown[: self.shown]
        if self.confidence == "window" and any(each.score is None for each in shown):
            fix = "fill them in: rankcli clicks import --run"
            raise DataError("a document has no score", where=f"{self.file}:{session.line}", fix=fix)
        weights, dwell = dict[str, float](), dict[str, float | None]()
        for event in () if session.irrelevant else session.events:
            if weight := (self.events or {CLICK: 1.0}).get(event.type):
                weights[event.docid] = max(weight, weights.get(event.docid, 0.0))
                dwell[event.docid] = _longer(event.dwell, dwell.get(event.docid))
        docids = tuple([each.docid for each in shown])
        return Clicked(
            session.qid,
            docids,
            tuple([each.position for each in shown]),
            tuple([weights.get(docid, 0.0) for docid in docids]),
            tuple([each.score or 0.0 for each in shown]),
            tuple([dwell.get(docid) for docid in docids]),
        )

    def _units(self, sessions: Sequence[Clicked]) -> Iterator[Unit]:
        for number, session in enumerate(sessions):
            clicks = [k for k, weight in enumerate(session.clicked) if weight]
            others = tuple([k for k, weight in enumerate(session.clicked) if not weight])
            if self.groups == "session":
                if (clicks or self.abandoned) and others:
                    yield Unit(number, -1, others)
                continue
            for k in clicks[-1:] if self.groups == "last_click" else clicks:
                above = others if self.groups in ("list", "all") else tuple([other for other in others if other < k])
                if above:
                    yield Unit(number, k, above)

    def _seen(self, sessions: Sequence[Clicked]) -> tuple[float, ...]:
        deepest = max(position for session in sessions for position in session.positions)
        given = self.propensities or estimated(sessions)
        return (*given, *[given[-1]] * (deepest - len(given)))

    def _tell(self, sessions: Sequence[Clicked], units: Sequence[Unit], seen: Sequence[float]) -> None:
        clicks = sum(weight > 0 for session in sessions for weight in session.clicked)
        name, chances = Path(self.file).name, " ".join(f"{chance:.2g}" for chance in seen[: self.shown])
        how = "given" if self.propensities else "estimated"
        clipped = sum(1 / seen[self._position(sessions, unit) - 1] > self.clip for unit in units if unit.place >= 0)
        share = f", {clipped / len(units):.1%} of the weights clipped" if self.confidence == "ips" else ""
        say(f"{name}: {len(sessions)} sessions, {clicks} clicks, {len(units)} to draw{share}; seen ({how}): {chances}")

    def _position(self, sessions: Sequence[Clicked], unit: Unit) -> int:
        return sessions[unit.session].positions[unit.place]


def _longer(one: float | None, other: float | None) -> float | None:
    return one if other is None else other if one is None else max(one, other)
