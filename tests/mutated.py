"""JSON with one place changed: what a bug, a foreign tool or an attacker may leave."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

ODD: list[Any] = [
    *(None, True, False, "", "x", "\ud800", "[UNK]", [], {}, [1], {"a": 1}, [[]], [None]),
    *(0, 1, -1, -5, 2**31 + 5, 2**63, 10**30, 0.5, -0.0, 1e308),
]


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a tree of dicts and lists."""
    yield path
    for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(child, (*path, key))


def changed(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of the tree with another value at a path; without the entry for the value `...`."""
    if not path:
        return None if value is ... else value
    tree = copy.deepcopy(tree)
    at = tree
    for key in path[:-1]:
        at = at[key]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return tree


def mutants(tree: Any) -> st.SearchStrategy[Any]:
    """Trees with one value replaced by an odd one, or left out."""
    return st.builds(
        lambda path, value: changed(tree, path, value),
        st.sampled_from(list(places(tree))),
        st.sampled_from([*ODD, ...]),
    )
