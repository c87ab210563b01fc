"""Sessions of searches: imported from a log, simulated from judgments, and compared with runs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from rankcli.data.clicks import Session, line_of, read_sessions
from rankcli.data.documents import open_store
from rankcli.data.files import check_apart, replacing
from rankcli.data.source import Documents
from rankcli.data.trec import Run, ranking, read_run
from rankcli.errors import ConfigError, DataError
from rankcli.storage.inputs import local_copy
from rankcli.storage.places import local_root

COUNTED = ("read", "kept", "clicked", "abandoned", "short", "events", "documents without a text", "scores filled in")


def import_sessions(
    *,
    sessions: str,
    output: str | Path,
    held_out: str | Path | None = None,
    by: Literal["time", "query"] = "time",
    share: float = 0.2,
    run: str | None = None,
    docs: str | None = None,
    abandoned: bool = True,
    cascade: bool = False,
) -> dict[str, Any]:
    """Check the sessions of a log and write those that can be learnt from, a share of them to `held_out`.

    That is the last by time, or those of some queries. `run` fills in the scores of sessions that miss one. With `docs`
    documents without a text are left out. A session needs two documents. `cascade` cuts off what is below the first
    click, which was not seen where users stop at a click.
    """
    check_apart(output, sessions, run, docs)
    if held_out:
        check_apart(held_out, sessions, run, docs)
        _check_held_out(output, held_out, by, sessions)
    scores = read_run(run) if run else None
    store = open_store(docs, None, local_root()) if docs else None
    chosen = _Chosen(sessions, by, share) if held_out else None
    counts, parts = Counter[str](), {"train": Counter[str](), "held out": Counter[str]()}
    with ExitStack() as stack:
        streams = {"train": stack.enter_context(replacing(output))}
        if held_out:
            streams["held out"] = stack.enter_context(replacing(held_out))
        for session in _usable(sessions, store, scores, cascade, counts):
            if session.clicked or abandoned:
                part = "held out" if chosen and chosen(session) else "train"
                _write(streams[part], session, counts, parts[part])
        if not parts["train"]["sessions"]:
            raise DataError("no session is left", where=sessions, fix=f"of {counts['read']} {_told(counts)}")
    return _imported(counts, parts if held_out else {"train": parts["train"]}, output)


def _check_held_out(output: str | Path, held_out: str | Path, by: str, sessions: str) -> None:
    if str(output) == str(held_out):
        raise ConfigError("--output and --held-out are one file")
    if by == "time" and not Path(local_copy(sessions)).is_file():
        raise ConfigError("a split by time reads the sessions twice: name a file", where=sessions)


class _Chosen:
    """True for the sessions to hold out."""

    def __init__(self, sessions: str, by: str, share: float) -> None:
        self.share, self.since = share, None
        if by == "time":
            times = [_time_of(session, sessions) for session in read_sessions(sessions)]
            self.since = float(np.quantile(times, 1 - share, method="higher")) if times else 0.0

    def __call__(self, session: Session) -> bool:
        if self.since is not None:
            return session.time is not None and session.time >= self.since
        return int(hashlib.sha256(session.qid.encode()).hexdigest()[:13], 16) / 16**13 < self.share


def _time_of(session: Session, path: str) -> float:
    if session.time is None:
        fix = "give every session a time, or split --by query"
        raise DataError("the session has no time to split by", where=f"{path}:{session.line}", fix=fix)
    return session.time


def _usable(
    path: str, store: Documents | None, scores: Run | None, cascade: bool, counts: Counter[str]
) -> Iterator[Session]:
    for session in read_sessions(path):
        counts["read"] += 1
        session = _with_texts(session, store, counts)
        session = _cut(session) if cascade else session
        if len(session.shown) >= 2:
            yield session if scores is None else _scored(session, scores, path, counts)
        else:
            counts["short"] += 1


def _with_texts(session: Session, store: Documents | None, counts: Counter[str]) -> Session:
    absent = store.absent([each.docid for each in session.shown]) if store else ()
    if not absent:
        return session
    counts["documents without a text"] += len(absent)
    shown = tuple([each for each in session.shown if each.docid not in absent])
    return session._replace(shown=shown, events=tuple([each for each in session.events if each.docid not in absent]))


def _cut(session: Session) -> Session:
    """The session down to its first click."""
    place = next((n for n, each in enumerate(session.shown) if each.docid in session.clicked), len(session.shown))
    shown = session.shown[: place + 1]
    known = {each.docid for each in shown}
    return session._replace(shown=shown, events=tuple([each for each in session.events if each.docid in known]))


def _scored(session: Session, scores: Run, path: str, counts: Counter[str]) -> Session:
    """The session with all its scores from a run, if it misses one: scores of two models cannot be compared."""
    if all(each.score is not None for each in session.shown):
        return session
    known = scores.get(session.qid, {})
    if missing := next((each.docid for each in session.shown if each.docid not in known), None):
        what = f"the run has no score of document {missing!r} for query {session.qid!r}"
        raise DataError(what, where=f"{path}:{session.line}", fix="score all shown documents")
    counts["scores filled in"] += len(session.shown)
    return session._replace(shown=tuple([each._replace(score=known[each.docid]) for each in session.shown]))


def _write(stream: TextIO, session: Session, counts: Counter[str], part: Counter[str]) -> None:
    stream.write(line_of(session))
    counts["kept"] += 1
    counts["clicked" if session.clicked else "abandoned"] += 1
    counts["events"] += len(session.events)
    part["sessions"] += 1
    part["clicks"] += len(session.clicked)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {counts[name]}" for name in COUNTED[1:] if counts[name])


def _imported(counts: Counter[str], parts: Mapping[str, Counter[str]], output: str | Path) -> dict[str, Any]:
    result = {"output": str(output), **{name.replace(" ", "_"): counts[name] for name in COUNTED}}
    result["parts"] = {name: dict(part) for name, part in parts.items()}
    lines = [f"{name}: {part['sessions']} sessions, {part['clicks']} clicks" for name, part in parts.items()]
    return {"result": result, "text": "\n".join([f"{output}: of {counts['read']} sessions {_told(counts)}", *lines])}


def evaluate_clicks(*, sessions: str, run: str, baseline: str | None = None, distance: bool = False) -> dict[str, Any]:
    """Compare a run with what was clicked.

    Shifts are differences to the scores of `baseline`, or of the sessions: Embedding Studio's `distance_shift` of
    clicked sessions (of clicked documents) and of abandoned ones (of all, downwards), and `separation_shift`, clicked
    less unclicked documents. `click_mrr` is the mean reciprocal rank of the first clicked document among those shown.
    """
    sign, found = -1.0 if distance else 1.0, dict[str, list[float]]()
    new, old = read_run(run), read_run(baseline) if baseline else None
    for session in read_sessions(sessions):
        before, after = _before(session, old), new.get(session.qid, {})
        pairs = {each: (sign * before[each], sign * after[each]) for each in before if each in after}
        if pairs:
            _measure(pairs, session.clicked & pairs.keys(), found)
    if not found:
        raise DataError("no session has scores before and after", where=sessions, fix="check ids, or give --baseline")
    means = {name: float(np.mean(values)) for name, values in sorted(found.items())}
    counts = {"clicked": len(found.get("click_mrr", [])), "abandoned": len(found.get("irrelevant_dist_shift", []))}
    rows = [f"{name:28}{value:>10.4f}" for name, value in means.items()]
    return {"result": {**counts, "metrics": means}, "text": "\n".join([*rows, f"{_sessions(counts)} of {sessions}"])}


def _sessions(counts: Mapping[str, int]) -> str:
    return f"{counts['clicked']} sessions with clicks and {counts['abandoned']} without"


def _before(session: Session, baseline: Run | None) -> dict[str, float]:
    known = baseline.get(session.qid, {}) if baseline is not None else {}
    scores = {each.docid: known.get(each.docid) if baseline is not None else each.score for each in session.shown}
    return {docid: score for docid, score in scores.items() if score is not None}


def _measure(pairs: Mapping[str, tuple[float, float]], clicked: set[str], found: dict[str, list[float]]) -> None:
    shifts = {docid: after - before for docid, (before, after) in pairs.items()}
    if not clicked:
        found.setdefault("irrelevant_dist_shift", []).append(-float(np.mean([*shifts.values()])))
        return
    of_clicked = float(np.mean([shifts[docid] for docid in clicked]))
    found.setdefault("not_irrelevant_dist_shift", []).append(of_clicked)
    if others := [shift for docid, shift in shifts.items() if docid not in clicked]:
        found.setdefault("separation_shift", []).append(of_clicked - float(np.mean(others)))
    for place, name in ((0, "click_mrr_before"), (1, "click_mrr")):
        order = ranking({docid: scores[place] for docid, scores in pairs.items()})
        rank = next(n for n, docid in enumerate(order, 1) if docid in clicked)
        found.setdefault(name, []).append(1 / rank)
