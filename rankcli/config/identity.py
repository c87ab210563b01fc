"""Identities: the options of a component or the inputs of a cache as canonical JSON, and its digest.

An identity is equal in every process and on every machine. An option equal to its default is left out, so that a new
option does not change the ids of older runs and caches. A component's `version` constant is included, so that a change
of behaviour does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from rankcli.config.registry import KINDS, Registry

DIGEST_CHARS = 16
HashFile = Callable[[str], str]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and shortest round-trip floats (2.0 is 2); ValueError for NaN and infinities."""
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:DIGEST_CHARS]


def digest_of_items(items: Iterable[tuple[str, Any]]) -> str:
    """`digest(dict(items))` of items that come in the order of their keys; only one is in memory at a time."""
    hashed = hashlib.sha256(b"{")
    for n, (key, value) in enumerate(items):
        hashed.update(f"{',' if n else ''}{canonical_json(key)}:{canonical_json(value)}".encode())
    hashed.update(b"}")
    return hashed.hexdigest()[:DIGEST_CHARS]


def by_name(path: str) -> str:
    """Raise TypeError: the `hash_file` of options that name no files."""
    raise TypeError(f"the option names the file {path!r}: its identity needs the content")


def component_identity(registry: Registry, options: Any, hash_file: HashFile = by_name) -> dict[str, Any]:
    """Name, version and the options that differ from their defaults and may change results, as plain values.

    `hash_file(path)`, a hash of the content, stands for a file; its path does not count.
    """
    return {"name": registry.name_of(options), "version": options.version, **_chosen(options, hash_file)}


def _chosen(options: Any, hash_file: HashFile) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option in dataclasses.fields(options):
        value, default = getattr(options, option.name), _default(option)
        if not option.metadata.get("identity", True) or value == default:
            continue
        if "registry" in option.metadata and isinstance(value, tuple):
            registry = KINDS[option.metadata["registry"]]
            value = [_member(registry, each, hash_file) for each in value if getattr(each, "identity", True)]
            if not value:  # components that change no result
                continue
        elif "registry" in option.metadata and not isinstance(value, str):
            value = component_identity(KINDS[option.metadata["registry"]], value, hash_file)
            if value == {
                "name": default,
                "version": 1,
            }:  # the default component in its first version is left out, like any default
                continue
        elif option.metadata.get("path") == "file":
            value = _contents(value, hash_file)
        found[option.name] = _plain(value, hash_file)
    return found


def _member(registry: Registry, value: Any, hash_file: HashFile) -> Any:
    """The identity of one of several components, or the hash of the file that stands in its place."""
    return hash_file(value) if isinstance(value, str) else component_identity(registry, value, hash_file)


def _contents(value: Any, hash_file: HashFile) -> Any:
    """The hashes of one file or of several, in the shape of the option."""
    if isinstance(value, Mapping):
        return {key: _contents(child, hash_file) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_contents(child, hash_file) for child in value]
    return hash_file(str(value))


def _plain(value: Any, hash_file: HashFile) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(child, hash_file) for child in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(child, hash_file) for key, child in value.items()}
    return _chosen(value, hash_file) if dataclasses.is_dataclass(value) else _canonical(value)


def _default(option: dataclasses.Field[Any]) -> Any:
    return option.default_factory() if option.default_factory is not dataclasses.MISSING else option.default


def _canonical(value: Any) -> Any:
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, (list, tuple)):
        return [_canonical(child) for child in value]
    if isinstance(value, Mapping):
        return {str(key): _canonical(child) for key, child in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {option.name: _canonical(getattr(value, option.name)) for option in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no canonical form")


class _Absent(Enum):
    """The value of a key that is left out; a type of its own, since None is a value."""

    default = "default"

    def __repr__(self) -> str:
        return self.value


ABSENT = _Absent.default


class Difference(NamedTuple):
    """A dotted key with its present and its wanted value; ABSENT if it is left out (the default)."""

    key: str
    have: Any
    want: Any

    def __str__(self) -> str:
        """As in "extractor.maxseqlen (256, wanted 512)"."""
        return f"{self.key} ({self.have!r}, wanted {self.want!r})"


def differences(have: Any, want: Any, prefix: str = "") -> list[Difference]:
    """The differences of two identities, sorted by key; [] if they are equal."""
    have, want = _canonical_or_absent(have), _canonical_or_absent(want)
    if isinstance(have, dict) and isinstance(want, dict):
        found = []
        for key in sorted({*have, *want}):
            dotted = f"{prefix}.{key}" if prefix else key
            found += differences(have.get(key, ABSENT), want.get(key, ABSENT), dotted)
        return found
    # 1 and True are equal in Python but not in JSON
    return [] if have is want or (type(have) is type(want) and have == want) else [Difference(prefix, have, want)]


def _canonical_or_absent(value: Any) -> Any:
    return value if value is ABSENT else _canonical(value)
