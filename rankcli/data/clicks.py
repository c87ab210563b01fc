"""Sessions of a search: a query, the documents that were shown, and the events on them, as JSONL.

A line is {"query-id": "q1", "time": 12.5, "shown": [{"corpus-id": "d1", "position": 1, "score": 3.2}, ...], "events":
[{"corpus-id": "d1", "type": "click", "dwell": 40.0, "time": 13.0}], "irrelevant": false}. A shown document may be an id
alone; positions default to the order. All else but query and shown documents may be missing, or null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from rankcli.data.fields import HEADERS
from rankcli.data.lines import checked_id, fail
from rankcli.data.texts import json_records

CLICK = "click"
FIX = 'a session is {"query-id": ..., "shown": [...], "events": [{"corpus-id": ..., "type": "click"}]}'


class Shown(NamedTuple):
    """A document that was shown, its position from 1 and its score, if it is known."""

    docid: str
    position: int
    score: float | None = None


class Event(NamedTuple):
    """Something that happened to a shown document: what, for how long, and when."""

    docid: str
    type: str = CLICK
    dwell: float | None = None
    time: float | None = None


class Session(NamedTuple):
    """One search: the documents by position, the events in their order; `irrelevant` if the user said so."""

    line: int
    qid: str
    shown: tuple[Shown, ...]
    events: tuple[Event, ...]
    time: float | None = None
    irrelevant: bool = False

    @property
    def clicked(self) -> set[str]:
        """The documents with an event; none of a session that its user called irrelevant."""
        return set() if self.irrelevant else {event.docid for event in self.events}


def read_sessions(path: str | Path) -> Iterator[Session]:
    """The sessions of a file."""
    for line, record in json_records(path):
        yield _Reader(record, path, line).session()


def line_of(session: Session) -> str:
    """A session as a line of JSONL."""
    return json.dumps(_filled(_record(session)), ensure_ascii=False) + "\n"


def _record(session: Session) -> dict[str, Any]:
    shown = [
        _filled({"corpus-id": each.docid, "position": each.position, "score": each.score})
        if each.score is not None or each.position != place
        else each.docid
        for place, each in enumerate(session.shown, 1)
    ]
    events = [_filled({"corpus-id": each.docid, **each._asdict(), "docid": None}) for each in session.events]
    irrelevant = session.irrelevant or None
    return {
        "query-id": session.qid,
        "time": session.time,
        "shown": shown,
        "events": events,
        "irrelevant": irrelevant,
    }


def _filled(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


class _Reader:
    """The parts of one line."""

    def __init__(self, record: Mapping[str, Any], path: str | Path, line: int) -> None:
        self.record, self.path, self.line = record, path, line

    def session(self) -> Session:
        shown = self._shown()
        known = {each.docid for each in shown}
        events = tuple([self._event(each, known) for each in self._list("events", needed=False)])
        irrelevant = self.record.get("irrelevant") or False
        if not isinstance(irrelevant, bool):
            self._fail(f"irrelevant is {irrelevant!r}, not true or false")
        qid, time = self._id(self.record, 0, "query id"), self._number(self.record, "time")
        return Session(self.line, qid, shown, events, time, irrelevant)

    def _shown(self) -> tuple[Shown, ...]:
        found = [self._one(each, place) for place, each in enumerate(self._list("shown", needed=True), 1)]
        for which, what in ((0, "document"), (1, "position")):
            values = [each[which] for each in found]
            if twice := next((value for value in values if values.count(value) > 1), None):
                self._fail(f"the {what} {twice!r} is shown twice")
        return tuple(sorted(found, key=lambda each: each.position))

    def _one(self, value: Any, place: int) -> Shown:
        record = value if isinstance(value, Mapping) else {"corpus-id": value}
        position = place if record.get("position") is None else record["position"]
        if isinstance(position, bool) or not isinstance(position, int) or position < 1:
            self._fail(f"the position {str(position)[:40]!r} is not a whole number from 1")
        return Shown(self._id(record, 1, "id of a shown document"), position, self._number(record, "score"))

    def _event(self, value: Any, known: set[str]) -> Event:
        record = value if isinstance(value, Mapping) else {"corpus-id": value}
        docid, kind = self._id(record, 1, "document of an event"), record.get("type") or CLICK
        if docid not in known:
            self._fail(f"an event is on document {docid!r}, which was not shown")
        if not isinstance(kind, str):
            self._fail(f"the type of an event is {str(kind)[:40]!r}, not a text")
        dwell = self._number(record, "dwell")
        if dwell is not None and dwell < 0:
            self._fail(f"the dwell time {dwell} is below 0")
        return Event(docid, kind, dwell, self._number(record, "time"))

    def _list(self, name: str, needed: bool) -> list[Any]:
        value = self.record.get(name)
        if value is None and not needed:
            return []
        if not isinstance(value, list) or (needed and not value):
            self._fail(f"there is no list of {'shown documents' if name == 'shown' else name}")
        return value

    def _id(self, record: Mapping[str, Any], column: int, what: str) -> str:
        value = next((value for name, value in record.items() if name.lower() in HEADERS[column]), None)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            self._fail(f"there is no {what}")
        return checked_id(str(value), self.path, self.line, what)

    def _number(self, record: Mapping[str, Any], name: str) -> float | None:
        value = record.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self._fail(f"{name} is {str(value)[:40]!r}, not a number")
        return float(value)

    def _fail(self, what: str) -> NoReturn:
        fail(self.path, self.line, what, FIX)
