"""Recipes: one word for values of several sections, which a configuration's own values are laid over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rankcli.config.problems import Place, Problem
from rankcli.config.strict_yaml import Node, plain, planted

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
NAMES = ("small", "standard")


def recipe_of(tree: Node) -> tuple[Node | None, Node, list[Problem]]:
    """Return the values that the option `recipe` of a tree stands for, the tree without it, and problems.

    A model that the tree names itself as `reranker.pretrained` is the recipe's, too.
    """
    named = tree.value.get("recipe")
    if named is None:
        return None, tree, []
    own = Node({key: child for key, child in tree.value.items() if key != "recipe"}, tree.place)
    if named.value not in NAMES:
        return None, own, [Problem(named.place, ("recipe",), f"{named.value!r} is no recipe: {' or '.join(NAMES)}")]
    reranker = plain(own.value["reranker"]) if "reranker" in own.value else None
    given = reranker.get("pretrained") if isinstance(reranker, Mapping) else None
    made = {"reranker": {"name": "biencoder", "pretrained": given or MODEL}}
    if named.value == "small":
        made |= _small(given or MODEL)
    return planted(made, Place(f"recipe {named.value}", base=named.place.base)), own, []


def _small(model: str) -> dict[str, Any]:
    """Return the sections for few judged queries: a careful mixture over tuned BM25, and no training."""
    vectors = {"pretrained": model}
    signals = [
        "first_stage",
        {"name": "cosine", **vectors},
        {"name": "rocchio", **vectors},
        {"name": "search", "run": {"name": "bm25", "tune": True}},
        "beginning",
        "length",
    ]
    return {
        "data": {"run": {"name": "bm25", "tune": True, "feedback": "rm3"}},
        "trainer": {"niters": 0},
        "mixture": {"careful": True, "signals": signals},
    }
