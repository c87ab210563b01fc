"""The collection and the reranker that a cache was made for, from the config that is kept with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rankcli.caches.regular import irregular
from rankcli.config.paths import shortened
from rankcli.config.problems import Place
from rankcli.config.strict_yaml import plain, read_text
from rankcli.errors import ConfigError
from rankcli.records.convert import SOURCE
from rankcli.storage.base import Storage

_PLACES = ("docs", "builtin", "triples", "source")  # of the options of `data`, the first that is given


def origin(storage: Storage, place: str, names: Collection[str]) -> str:
    """Return text such as `cranfield/corpus.jsonl, for biencoder`; empty if the config is missing or not readable."""
    name = f"{place}/{SOURCE}"
    if SOURCE not in names or irregular(storage, name):
        return ""
    try:
        config = plain(read_text(storage.read_bytes(name), Place(name))[0])
    except ConfigError:  # only a line of a listing is lost; `verify --repair` reports it
        return ""
    data, reranker = (_options(config, section) for section in ("data", "reranker"))
    found = next((data[key] for key in _PLACES if data.get(key)), None)
    collection = ", ".join(shortened(_name(each)) for each in (found if isinstance(found, list) else [found]) if each)
    return ", for ".join(filter(None, (collection, _name(reranker))))


def _options(config: Any, section: str) -> Mapping[str, Any]:
    found = config.get(section) if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _name(value: Any) -> str:
    return str(value.get("name", "") if isinstance(value, Mapping) else value)
