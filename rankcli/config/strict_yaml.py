"""A strict subset of YAML, read to a tree that has the place of every value.

PyYAML's own safe loader reads `1e-5` as a string, `NO` as False, `1:30` as 90 and `012` as 10, keeps the last of two
equal keys and spends seconds on a 2 KB merge bomb. Here only its event parser is used: `true` and `false` are the
booleans, `null`, `~` and an empty value are null, numbers are decimal, everything else is text. Tags, anchors,
aliases, merge keys and second documents are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rankcli.config.problems import Keys, Place, Problem
from rankcli.errors import ConfigError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_NODES = 10_000

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*|(?=[eE]))|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True)
class Node:
    """A value and its place: a scalar, a dict of nodes or a list of nodes.

    `over` is the component name that a mapping without a `name` was laid over, as when `loss: lce` is followed by
    `loss: {temperature: 2.0}`.
    """

    value: Any
    place: Place
    over: str | None = None


def plain(node: Node) -> Any:
    """The value of `node` as ordinary dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def planted(value: Any, place: Place) -> Node:
    """Ordinary dicts, lists and scalars as a tree whose nodes all have one place."""
    if isinstance(value, dict):
        return Node({str(key): planted(child, place) for key, child in value.items()}, place)
    if isinstance(value, (list, tuple)):
        return Node([planted(child, place) for child in value], place)
    return Node(value, place)


def read_file(path: Path, source: str) -> tuple[Node, list[Problem]]:
    """The tree of a configuration file and its problems; `source` is the file's name in messages.

    ConfigError if the file cannot be read or parsed.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        fix = "check the path; `rankcli init` writes a configuration"
        raise ConfigError(f"cannot read the configuration: {error.strerror}", where=source, fix=fix) from None
    return read_text(content, Place(source, 1, path.parent))


def read_text(content: bytes, start: Place) -> tuple[Node, list[Problem]]:
    """The tree of a YAML text and its problems; ConfigError if it cannot be parsed (syntax, encoding, limits)."""
    if len(content) > MAX_BYTES:
        raise ConfigError(f"more than {MAX_BYTES // 1024} KiB is not a configuration", where=start.source)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8", where=str(Place(start.source, start.line and line))) from None
    reader = _Reader(text, start)
    try:
        return reader.document(), reader.problems
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else 0
        raise ConfigError(f"not YAML: {error.problem}", where=str(reader.place(line))) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {getattr(error, 'reason', error)}", where=start.source) from None
    except (ValueError, OverflowError):  # PyYAML lets an impossible escape or version number through to chr() and int()
        raise ConfigError("not YAML: an impossible character or number", where=start.source) from None


@dataclass
class _Reader:
    """Builds the tree directly from parser events, so that limits are checked before anything is built."""

    text: str
    start: Place
    problems: list[Problem] = field(default_factory=list)
    nodes: int = 0

    def place(self, line: int) -> Place:
        return Place(self.start.source, self.start.line and line + 1, self.start.base)

    def complain(self, event: Any, keys: Keys, what: str) -> None:
        self.problems.append(Problem(self.place(event.start_mark.line), keys, what))

    def document(self) -> Node:
        events = yaml.parse(self.text, Loader=yaml.SafeLoader)
        next(events)
        first = next(events)
        if isinstance(first, yaml.StreamEndEvent):
            return Node(None, self.place(0))
        root = self.node(next(events), events, (), 1)
        next(events)
        second = next(events)
        if not isinstance(second, yaml.StreamEndEvent):
            self.complain(second, (), "a second document (`---`) is not read; use a second file")
        return root

    def screen(self, event: Any, keys: Keys, depth: int) -> None:
        """Count a value against the limits; note anchors, aliases and tags as problems. ConfigError above a limit."""
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            limit = f"{MAX_NODES} values" if self.nodes > MAX_NODES else f"{MAX_DEPTH} levels"
            raise ConfigError(f"more than {limit} is not a configuration", where=str(self.place(event.start_mark.line)))
        if event.anchor is not None:
            self.complain(event, keys, "anchors and aliases (`&`, `*`) are not read; write the value out, or quote it")
        if getattr(event, "tag", None) is not None:
            self.complain(event, keys, "tags (`!`) are not read; leave it out, or quote the value")

    def node(self, event: Any, events: Iterator[Any], keys: Keys, depth: int) -> Node:
        self.screen(event, keys, depth)
        place = self.place(event.start_mark.line)
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self.mapping(events, keys, depth), place)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(self.sequence(events, keys, depth), place)
        return Node(self.scalar(event, keys) if isinstance(event, yaml.ScalarEvent) else None, place)

    def sequence(self, events: Iterator[Any], keys: Keys, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self.node(event, events, (*keys, str(len(items))), depth + 1))
        return items

    def mapping(self, events: Iterator[Any], keys: Keys, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.key(event, events, keys, depth)
            child = self.node(next(events), events, (*keys, key or "?"), depth + 1)
            if key in found:
                self.complain(event, (*keys, key), f"said twice: here and at line {found[key].place.line}")
            elif key is not None:
                found[key] = Node(child.value, self.place(event.start_mark.line))
        return found

    def key(self, event: Any, events: Iterator[Any], keys: Keys, depth: int) -> str | None:
        """The text of a key as it is written (`on`, `012`); None, with a problem noted, if it is no text."""
        if not isinstance(event, yaml.ScalarEvent):
            self.node(event, events, keys, depth + 1)
        else:
            self.screen(event, keys, depth + 1)
            if event.style is None and event.value == "<<":
                self.complain(event, keys, "merge keys (`<<`) are not read; use `extends:` or a second --config")
                return None
            if text := self.characters(event, keys):
                return text
        self.complain(event, keys, "a key must be text")
        return None

    def characters(self, event: yaml.ScalarEvent, keys: Keys) -> str:
        try:
            event.value.encode()
        except UnicodeEncodeError:
            self.complain(event, keys, "a lone surrogate is not a character")
            return "?"
        return str(event.value)

    def scalar(self, event: yaml.ScalarEvent, keys: Keys) -> Any:
        text = self.characters(event, keys)
        if event.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text):
            return self.integer(event, keys)
        if _FLOAT.fullmatch(text):
            return self.number(event, keys)
        return text

    def integer(self, event: yaml.ScalarEvent, keys: Keys) -> int:
        if len(event.value) <= 19 or (len(event.value) == 20 and event.value[0] in "+-"):
            value = int(event.value)
            if -(2**63) <= value < 2**63:
                return value
        self.complain(event, keys, f"{event.value[:20]}... does not fit in 64 bits")
        return 0

    def number(self, event: yaml.ScalarEvent, keys: Keys) -> float:
        value = float(event.value)
        if math.isfinite(value):
            return value
        self.complain(event, keys, f"{event.value[:20]} is not a finite number")
        return 0.0
