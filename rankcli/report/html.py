"""Markup that cannot be broken out of: whatever is not markup already is escaped when it is put in."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_VOID = ("meta", "br")
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Html(str):
    """Markup, as opposed to text."""


def text(value: object) -> Html:
    """`value` as text of a page; characters that HTML does not allow become U+FFFD."""
    return value if isinstance(value, Html) else Html(html.escape(_UNSHOWN.sub("\ufffd", str(value))))


def joined(parts: Iterable[object]) -> Html:
    """Markup and texts, one after the other."""
    return Html("".join(text(part) for part in parts))


def element(name: str, /, *content: object, **attributes: object) -> Html:
    """One element: `element("td", "a < b", class_="n")` is `<td class="n">a &lt; b</td>`.

    An underscore in an attribute's name stands for a hyphen, one at its end for nothing.
    """
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{said}>" if name in _VOID else f"<{name}{said}>{joined(content)}</{name}>")
