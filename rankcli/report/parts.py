"""Parts that several sections of the page are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rankcli.report.html import Html, element


def section(title: str, *content: object) -> Html:
    """Return one section with its heading."""
    return element("section", element("h2", title), element("div", *content))


def missing_note(sentence: str) -> Html:
    """Return a sentence that something is not there."""
    return element("p", sentence, class_="missing")


def note(sentence: object) -> Html:
    """Return a remark."""
    return element("p", sentence, class_="note")


def mapping(tree: Any, *keys: str) -> Mapping[str, Any]:
    """Return the mapping below some keys; an empty one where there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}
