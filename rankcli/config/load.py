"""Configuration files and `KEY=VALUE` arguments, laid over one another: the later one wins, key by key.

A file may name others in `extends:`, which are read before it. A mapping whose `name` differs from the one below
replaces it whole, so that no option of another component is left behind; only an argument keeps the options that both
components have. The caller's `fetch` makes local copies of files at `gs://`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rankcli.config.paths import REMOTE, joined
from rankcli.config.problems import Keys, Place, Problem, fail_on
from rankcli.config.recipes import recipe_of
from rankcli.config.schema import RunConfig
from rankcli.config.strict_yaml import Node, plain, planted, read_file, read_text
from rankcli.config.switch import kept_options
from rankcli.config.validate import run_config
from rankcli.errors import ConfigError

MAX_FILES = 100
COMMAND_LINE = "command line"

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")

SECTIONS = tuple(option.name for option in dataclasses.fields(RunConfig))
Provenance = dict[str, str]
Fetch = Callable[[str], Path]
Kept = Callable[[Keys, Mapping[str, Node], str | None, object], dict[str, Node]]


def load_config(
    files: Sequence[str | Path], overrides: Sequence[str] = (), fetch: Fetch = Path
) -> tuple[RunConfig, Provenance]:
    """The configuration that `files` and `overrides` (`KEY=VALUE`) make together, and the place of each dotted key.

    All problems are reported in one ConfigError, a line each.
    """
    tree, problems = read_layers(files, overrides, fetch)
    config, more = run_config(tree)
    fail_on([*problems, *more], SECTIONS)
    assert config is not None  # without a problem there is a configuration
    return config, provenance(tree)


def load_saved(path: Path) -> RunConfig:
    """The resolved configuration that a run saved at `path`; its paths are not checked, since they may be gone."""
    tree, problems = read_file(path, str(path))
    config, more = run_config(planted(plain(tree), Place(str(path))))
    fail_on([*problems, *more])
    assert config is not None  # without a problem there is a configuration
    return config


def read_layers(
    files: Sequence[str | Path], overrides: Sequence[str] = (), fetch: Fetch = Path
) -> tuple[Node, list[Problem]]:
    """All files and overrides as one tree, not validated, and the problems found while reading them."""
    reader = _Files(fetch)
    tree = Node({}, Place(str(files[-1]) if files else COMMAND_LINE, 1 if files else 0, Path.cwd()))
    for file in files:
        tree = lay_over(tree, reader.read(reader.opened(str(file)), str(file)))
    for text in overrides:
        tree = lay_over(tree, _override(text, reader.problems), kept_options)
    made, tree, problems = recipe_of(tree)
    return tree if made is None else lay_over(made, tree), [*reader.problems, *problems]


def _nothing(keys: Keys, below: Mapping[str, Node], old: str | None, new: object) -> dict[str, Node]:
    return {}


def lay_over(below: Node, above: Node, kept: Kept = _nothing, keys: Keys = ()) -> Node:
    """`above` laid over `below`: mappings are merged, everything else is replaced.

    `kept` returns the options that stay where `above` names another component than `below`. `keys` lead to both.
    """
    if isinstance(above.value, dict):
        if isinstance(below.value, str):
            return Node(above.value, above.place, over=below.value)
        if isinstance(below.value, dict):
            if _renamed(below, above):
                stay = kept(keys, below.value, _name(below), above.value["name"].value)
                below = Node(stay, below.place)
            merged = dict(below.value)
            for key, child in above.value.items():
                merged[key] = lay_over(merged[key], child, kept, (*keys, key)) if key in merged else child
            return Node(merged, above.place, over=above.over or below.over)
    elif isinstance(below.value, dict) and isinstance(above.value, str):
        if _name(below) == above.value:
            return Node(below.value, above.place, over=below.over)
        if stay := kept(keys, below.value, _name(below), above.value):
            return Node({**stay, "name": above}, above.place)
    return above


def _name(node: Node) -> str | None:
    name = node.value.get("name")
    return node.over if name is None else name.value


def _renamed(below: Node, above: Node) -> bool:
    return "name" in above.value and _name(below) is not None and _name(below) != above.value["name"].value


def provenance(tree: Node, prefix: str = "") -> Provenance:
    """The place of every value of `tree`, by dotted key."""
    if not isinstance(tree.value, dict):
        return {prefix: str(tree.place)}
    found: Provenance = {}
    for key, child in tree.value.items():
        found.update(provenance(child, f"{prefix}.{key}" if prefix else key))
    return found


def _override(text: str, problems: list[Problem]) -> Node:
    key, equals, value = text.partition("=")
    if not equals or not _KEY.fullmatch(key):
        raise ConfigError(f"{text!r} is not KEY=VALUE", where=COMMAND_LINE, fix="for example trainer.niters=2")
    node, wrong = read_text(os.fsencode(value), Place(COMMAND_LINE, 0, Path.cwd()))
    keys = key.split(".")
    problems += [Problem(problem.place, (*keys, *problem.keys), problem.what) for problem in wrong]
    for part in reversed(keys):
        node = Node({part: node}, node.place)
    return node


class _Files:
    """Reads files and the files that they extend, and collects their problems."""

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        self.problems: list[Problem] = []
        self.count = 0

    def opened(self, source: str) -> Path:
        return self.fetch(source) if source.startswith(REMOTE) else Path(source)

    def read(self, path: Path, source: str, open_files: tuple[str, ...] = ()) -> Node:
        self.count += 1
        if self.count > MAX_FILES:
            raise ConfigError(f"more than {MAX_FILES} files are read through `extends`", where=source)
        tree, problems = read_file(path, source)
        self.problems += problems
        if tree.value is None:
            tree = Node({}, tree.place)
        if not isinstance(tree.value, dict):
            raise ConfigError("a configuration is a mapping of sections (data, reranker, ...)", where=str(tree.place))
        own = {key: child for key, child in tree.value.items() if key != "extends"}
        below = Node({}, tree.place)
        if "extends" in tree.value:
            for base in self.extended(tree.value["extends"]):
                below = lay_over(below, self.follow(base, path, source, (*open_files, _unique(path, source))))
        return lay_over(below, Node(own, tree.place))

    def extended(self, node: Node) -> list[Node]:
        items = node.value if isinstance(node.value, list) else [node]
        if all(isinstance(item.value, str) and item.value for item in items):
            return list(items)
        raise ConfigError("extends: expected a path or a list of paths", where=str(node.place))

    def follow(self, base: Node, path: Path, source: str, open_files: tuple[str, ...]) -> Node:
        uri, target = joined(source, base.value), path.parent / base.value
        if _unique(target, uri or "") in open_files:
            raise ConfigError(f"extends: {base.value} leads back to itself", where=str(base.place))
        if uri is not None:
            return self.read(self.opened(uri), uri, open_files)
        if not target.is_file():
            raise ConfigError(f"extends: there is no file {target}", where=str(base.place))
        return self.read(target, os.path.normpath(Path(source).parent / base.value), open_files)


def _unique(path: Path, source: str) -> str:
    """The one name of a file that may be written in several ways."""
    return source if source.startswith(REMOTE) else str(path.resolve())
