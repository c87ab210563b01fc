"""Options that stay when an argument names another component, as in `reranker=crossencoder`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from rankcli.config.problems import Keys
from rankcli.config.registry import KINDS, Registry
from rankcli.config.strict_yaml import Node
from rankcli.errors import RankcliError
from rankcli.log import say


def kept_options(keys: Keys, below: Mapping[str, Node], old: str | None, new: object) -> dict[str, Node]:
    """Return the options in `below`, of the component `old`, that `new` has with the same name and type.

    The others are listed in one line on stderr. Nothing is kept where `keys` name no component, or where a component is
    unknown; `old` is None for a default.
    """
    registry = next((each for each in KINDS.values() if keys and each.noun == keys[-1]), None)
    types = _types(registry, new) if registry else None
    if registry is None or types is None:
        return {}
    before = _types(registry, old) or types
    options = {key: node for key, node in below.items() if key != "name"}
    kept = {key: node for key, node in options.items() if key in types and before.get(key) == types[key]}
    if dropped := [key for key in options if key not in kept]:
        of = f" of {old}" if old else ""
        say(f"{'.'.join(keys)}={new}: without {', '.join(dropped)}{of}, which {new} does not have")
    return kept


def _types(registry: Registry, name: object) -> dict[str, Any] | None:
    """Return the type of every option of a component; None if there is no such component."""
    if not isinstance(name, str):
        return None
    try:
        options = registry.get(name)
    except RankcliError:  # validation says so, with the place
        return None
    hints = get_type_hints(options, include_extras=True)
    return {option.name: hints[option.name] for option in dataclasses.fields(options)}
