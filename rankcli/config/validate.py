"""Turn trees of plain values into options objects.

The registry finds the options of a name. `hints` checks each value strictly against the declared type of its option.
The messages are written here. All problems are collected, not only the first.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from rankcli.config.conflicts import conflicts
from rankcli.config.hints import dataclass_in, expected, taken
from rankcli.config.nearest import did_you_mean
from rankcli.config.paths import REMOTE, joined
from rankcli.config.problems import Keys, Place, Problem, fail_on
from rankcli.config.registry import KINDS, LOSSES, SEARCHERS, Registry
from rankcli.config.schema import RunConfig
from rankcli.config.strict_yaml import Node, plain, planted
from rankcli.errors import RankcliError

INVALID: Any = object()  # stands for a value that has a problem
Option = dataclasses.Field[Any]
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
ELSEWHERE = (REMOTE, "ir_datasets:")
# names that other programs have for our options
SYNONYMS = {  # names in other tools
    **{"max_epochs": "niters", "epochs": "niters", "num_train_epochs": "niters", "steps_per_epoch": "itersize"},
    **{"learning_rate": "lr", "batch_size": "batch", "learner": "trainer", "model": "reranker"},
}


def run_config(tree: Node) -> tuple[RunConfig | None, list[Problem]]:
    """The configuration that `tree` describes, or None if it has problems, and all of its problems."""
    check = _Check()
    config = check.section(RunConfig, tree, ())
    if config is INVALID:
        return None, check.problems
    for conflict in conflicts(config):
        key, _, what = conflict.partition(": ")
        check.complain(_nearest(tree, key), key.split("."), what)
    return config, check.problems


def component_from(registry: Registry, section: Mapping[str, Any] | str, source: str = "saved options") -> Any:
    """The options object of a saved section `{name: ..., option: ...}`, or ConfigError; paths are not checked."""
    check = _Check()
    options = check.component(registry, planted(section, Place(source)), (), None)
    fail_on(check.problems)
    return options


class _Check:
    """One pass over a tree, which collects problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def complain(self, node: Node, keys: Keys | list[str], what: str) -> Any:
        self.problems.append(Problem(node.place, tuple(keys), what))
        return INVALID

    def section(self, cls: type, node: Node, keys: Keys) -> Any:
        """An instance of the dataclass `cls`; every option checked, even after a problem."""
        hints = get_type_hints(cls, include_extras=True)
        options = {option.name: option for option in dataclasses.fields(cls)}
        found: dict[str, Any] = {}
        for name, option in options.items():
            found[name] = self.option(option, hints[name], node, (*keys, name), found)
        listed = _listed(list(options))  # with the first of the keys alone
        for key, child in node.value.items():
            if key not in options:
                inside = [f"{name}.{key}" for name, value in found.items() if not keys and _has(value, key)]
                meant = f"did you mean {inside[0]!r}?" if inside else did_you_mean(key, options, SYNONYMS)
                parts = [f"unknown key; {meant}" if meant else "unknown key", "" if inside else listed]
                self.complain(child, (*keys, key), " ".join(filter(None, parts)))
                listed = listed if inside else ""
        if INVALID in found.values() or any(key not in options for key in node.value):
            return INVALID
        try:
            return cls(**found)
        except ValueError as error:
            return self.complain(node, keys, str(error))

    def option(self, option: Option, hint: Any, section: Node, keys: Keys, before: Mapping[str, Any]) -> Any:
        node = section.value.get(option.name)
        if "registry" in option.metadata:
            return self.slot(option, node, section, keys, before)
        if node is None:
            return self.default(option, section, keys)
        node = self.located(option, node, keys)
        return INVALID if node is None else self.value(hint, node, keys)

    def default(self, option: Option, section: Node, keys: Keys) -> Any:
        if option.default is not dataclasses.MISSING:
            return option.default
        if option.default_factory is not dataclasses.MISSING:
            return option.default_factory()
        about = option.metadata.get("help")
        return self.complain(section, keys, "is needed" + (f": {about}" if about else ""))

    def slot(self, option: Option, node: Node | None, section: Node, keys: Keys, before: Mapping[str, Any]) -> Any:
        """The value of an option for a component. The default extractor is the reranker's `default_extractor`."""
        registry, default = KINDS[option.metadata["registry"]], typing.cast("str | None", option.default)
        if option.default == ():
            return self.components(registry, node, keys)
        if option.name == "extractor" and "reranker" in before:
            default = getattr(before["reranker"], "default_extractor", None)
            if before["reranker"] is INVALID and (node is None or _nameless(node)):
                return INVALID  # the name of the default is not known
        if node is None or (node.value is None and default is None):
            if default is None and option.name == "reranker":
                return self.complain(section, keys, f"is needed: {option.metadata['help']}")
            return None if default is None else self.component(registry, Node(default, section.place), keys, None)
        return self.file_or_component(registry, node, keys, default)

    def file_or_component(self, registry: Registry, node: Node, keys: Keys, default: str | None) -> Any:
        """A component; in place of a searcher there may be a run file."""
        if registry is SEARCHERS and isinstance(node.value, str) and not _known(registry, node.value):
            names = " ".join(filter(None, (did_you_mean(node.value, registry.names()), _listed(registry.names()))))
            return self.file(node, keys, f"neither a searcher, {names}, nor a run file")
        return self.component(registry, node, keys, default)

    def components(self, registry: Registry, node: Node | None, keys: Keys) -> Any:
        """The value of an option for a list of components."""
        if node is None:
            return ()
        if not isinstance(node.value, list):
            return self.complain(node, keys, f"expected a list of {registry.kind}, got {_shown(node)}")
        items = enumerate(node.value)
        found = tuple(self.file_or_component(registry, item, (*keys, str(n)), None) for n, item in items)
        return INVALID if INVALID in found else found

    def component(self, registry: Registry, node: Node, keys: Keys, default: str | None) -> Any:
        """The options object of a name, or of a mapping with a `name`."""
        spread = _spread(registry, node, default)
        if spread is None:
            return self.complain(node, keys, f"expected a name or a mapping with `name`, got {_shown(node)}")
        name, options = spread
        if not isinstance(name.value, str):
            what = "is needed" if name.value is None else f"expected a name, got {_shown(name)}"
            return self.complain(name, (*keys, "name"), what)
        try:
            cls = registry.get(name.value)
        except RankcliError as error:
            return self.complain(name, keys, str(error))
        return self.section(cls, Node(options, node.place), keys)

    def value(self, hint: Any, node: Node, keys: Keys) -> Any:
        """A value of the declared type: checked strictly by pydantic, refused in our own words."""
        inner, held = dataclass_in(hint)
        if inner is not None and held == "one" and isinstance(node.value, dict):
            return self.section(inner, node, keys)
        if inner is not None and held == "list" and isinstance(node.value, list):
            items = [self.value(inner, item, (*keys, str(n))) for n, item in enumerate(node.value)]
            return INVALID if INVALID in items else tuple(items)
        if inner is not None and held == "mapping" and isinstance(node.value, dict):
            named = {name: self.named(inner, name, item, (*keys, name)) for name, item in node.value.items()}
            return INVALID if INVALID in named.values() else named
        try:
            if not dataclasses.is_dataclass(hint):
                return taken(hint, json.dumps(plain(node)))
        except ValueError:
            pass
        return self.complain(node, keys, f"expected {expected(hint)}, got {_shown(node)}")

    def named(self, inner: type, name: str, node: Node, keys: Keys) -> Any:
        """A section under a name that the user chose; the name must be usable in KEY=VALUE arguments."""
        if not NAME.fullmatch(name):
            return self.complain(node, keys, "names are letters, digits, `_` and `-`, and begin with a letter")
        return self.value(inner, node, keys)

    def located(self, option: Option, node: Node, keys: Keys) -> Node | None:
        """Return `node` with absolute paths if the option is a path; None after a complaint."""
        kind = option.metadata.get("path")
        if not kind or node.place.base is None:
            return node
        if isinstance(node.value, dict):
            found = {key: self.located(option, child, (*keys, key)) for key, child in node.value.items()}
            return None if None in found.values() else Node(found, node.place)
        if isinstance(node.value, list):
            items = [self.located(option, child, (*keys, str(n))) for n, child in enumerate(node.value)]
            return None if None in items else Node(items, node.place)
        if not isinstance(node.value, str) or node.value.startswith(ELSEWHERE):
            return node
        if kind == "folder":
            return Node(_remote(node) or str(_absolute(node)), node.place)
        path = self.model(node, keys) if kind == "model" else self.file(node, keys, "no such file")
        return None if path is INVALID else Node(path, node.place)

    def file(self, node: Node, keys: Keys, otherwise: str) -> Any:
        """The absolute path of an existing file; a file in a bucket is not looked for before it is read."""
        if node.value.startswith(ELSEWHERE) or node.place.base is None:
            return node.value
        if uri := _remote(node):
            return uri
        path = _absolute(node)
        if _exists(path):
            return str(path)
        return self.complain(node, keys, f"{otherwise}: {path}")

    def model(self, node: Node, keys: Keys) -> Any:
        """The absolute path of an existing directory, else the hub id unchanged."""
        path, said = _absolute(node), node.value.startswith(("/", "./", "../", "~"))
        if uri := _remote(node):
            return uri if said else node.value
        if _exists(path):
            return str(path)
        if said:
            return self.complain(node, keys, f"no such directory: {path}")
        return node.value


def _remote(node: Node) -> str | None:
    """The URI of a path that is relative to a file in a bucket."""
    return joined(node.place.source, node.value)


def _absolute(node: Node) -> Path:
    base: Any = node.place.base
    return Path(base, os.path.expanduser(node.value)).absolute()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL in it, is no file
        return False


def _nameless(node: Node) -> bool:
    return isinstance(node.value, dict) and "name" not in node.value and node.over is None


def _known(registry: Registry, name: str) -> bool:
    return registry.canonical(name) in registry.names()


def _spread(registry: Registry, node: Node, default: str | None) -> tuple[Node, dict[str, Node]] | None:
    """The name and the options of a component section; None if it is neither text nor a mapping."""
    if isinstance(node.value, dict):
        options = dict(node.value)
        name = options.pop("name", None) or Node(node.over or default, node.place)
    elif isinstance(node.value, str):
        name, options = node, {}
    else:
        return None
    if registry is LOSSES and isinstance(name.value, str) and name.value.startswith("tfr:"):
        options = {"key": Node(name.value.removeprefix("tfr:"), name.place), **options}
        name = Node("tfr", name.place)
    return name, options


def _nearest(tree: Node, dotted: str) -> Node:
    """The deepest node on the way to a dotted key."""
    for key in dotted.split("."):
        if not isinstance(tree.value, dict) or key not in tree.value:
            break
        tree = tree.value[key]
    return tree


def _has(section: Any, key: str) -> bool:
    """True if a section has an option called `key`."""
    return dataclasses.is_dataclass(section) and key in {option.name for option in dataclasses.fields(section)}


def _listed(legal: list[str]) -> str:
    return f"(there are: {', '.join(sorted(legal)) or 'none'})"


def _shown(node: Node) -> str:
    text = json.dumps(plain(node), ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
