"""Descriptions of caches, as text for people and as data for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from rankcli.caches.entries import INTERRUPTED, Entry
from rankcli.caches.local import Work
from rankcli.runs.uses import Use

WIDTH = 100
_LOCAL = "{:46} {:24} {:>13} {}"
_COLUMNS = "{:20} {:5} {:>11} {:>7} {:>17} {:>7} {:>7}  {}"
_HASH = 24  # longer values are cut off


def table(found: Sequence[Entry], now: float) -> list[str]:
    """Return a line per cache and, indented below it, its identity and its uses."""
    heading = _COLUMNS.format("CACHE", "SPLIT", "SAMPLES", "SHARDS", "BYTES", "AGE", "USED", "STATE")
    return [heading, *(line for entry in found for line in _lines(entry, now))]


def described(uri: str, entry: Entry) -> dict[str, Any]:
    """Return all known facts about a cache."""
    return {
        "cache_id": entry.cache_id,
        "generation": entry.generation,
        "path": f"{uri}/{entry.location}",
        "state": entry.state,
        "why": entry.why,
        "in_use": entry.in_use,
        "split": entry.split,
        "made_of": entry.made_of,
        "samples": entry.manifest.samples if entry.manifest else None,
        "shards": entry.shards,
        "bytes": entry.bytes,
        "modified": timestamp(entry.modified),
        "last_used": timestamp(entry.uses[0].last) if entry.uses else None,
        "runs": [{**use._asdict(), "last": timestamp(use.last), "exists": use.exists()} for use in entry.uses],
        "identity": dict(entry.identity),
        "versions": dict(entry.manifest.versions) if entry.manifest else {},
    }


def described_work(work: Work) -> dict[str, Any]:
    """Return all known facts about a local file or folder."""
    return {
        "kind": work.kind,
        "source": work.source,
        "path": str(work.path),
        "bytes": work.bytes,
        "last_used": timestamp(work.last_used),
        "in_use": work.in_use,
    }


def local_lines(found: Sequence[Work], now: float) -> Iterator[str]:
    """Yield a line for each local file or folder, and what it is made of."""
    for work in found:
        used = ", in use" if work.in_use else ""
        yield _LOCAL.format(work.path.name, work.kind, f"{work.bytes:,}", ago(now - work.last_used) + used)
        if work.source:
            yield f"    {plain(work.source)}"


def timestamp(seconds: float) -> str:
    """Return a time as ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def ago(seconds: float) -> str:
    """Return a time span in its largest unit."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, as in "1 cache" and "2 caches"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _lines(entry: Entry, now: float) -> Iterator[str]:
    samples = f"{entry.manifest.samples:,}" if entry.manifest else "?"
    used = ago(now - entry.uses[0].last) if entry.uses else "never"
    counts = (samples, f"{entry.shards:,}", f"{entry.bytes:,}", ago(now - entry.modified), used)
    yield _COLUMNS.format(entry.location, plain(entry.split), *counts, _state(entry))
    for text in (*(plain(text) for text in (entry.why, entry.made_of) if text), *_readable(entry.identity)):
        yield from textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="        ")
    for use in entry.uses:
        yield f"    {used_by(use, now)}"


def _state(entry: Entry) -> str:
    if entry.state == INTERRUPTED and entry.in_use:
        return "being converted"
    return f"{entry.state}, in use" if entry.in_use else entry.state


def _readable(identity: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line per component with its options, and one line with the rest."""
    rest = []
    for key, value in identity.items():
        if isinstance(value, Mapping):
            options = {name: each for name, each in value.items() if name != "name"}
            yield f"{key} {_short(value.get('name', ''))}".rstrip() + f": {_options(options)}"
        elif key != "split":
            rest.append(f"{key} {_short(value)}")
    if rest:
        yield ", ".join(rest)


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{plain(name)} {_short(value)}" for name, value in options.items())


def _short(value: Any) -> str:
    text = f"({_options(value)})" if isinstance(value, Mapping) else str(value)
    return plain(text if isinstance(value, Mapping) or len(text) <= _HASH else f"{text[:8]}...")


def _user(use: Use) -> str:
    where = {None: f" of {use.host or 'a bucket'}", True: "", False: " (exists no more)"}[use.exists()]
    return plain(f"{use.run_dir}{where}")


def used_by(use: Use, now: float) -> str:
    """Return one use of a cache in words."""
    return f"used by {_user(use)}, {ago(now - use.last)} ago"


def plain(text: str) -> str:
    """Return text from files on one line and without control characters for terminals."""
    return text if text.isprintable() else repr(text)
