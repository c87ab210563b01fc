"""Markup that is safe against injection: all content is escaped, unless it is markup already."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_VOID = ("meta", "br")
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Html(str):
    """Markup, as opposed to plain text."""


def text(value: object) -> Html:
    """Return `value` as text of a page. Characters that HTML does not allow become U+FFFD."""
    return value if isinstance(value, Html) else Html(html.escape(_UNSHOWN.sub("\ufffd", str(value))))


def joined(parts: Iterable[object]) -> Html:
    """Join markup and texts."""
    return Html("".join(text(part) for part in parts))


def element(name: str, /, *content: object, **attributes: object) -> Html:
    """Return one element: `element("td", "a < b", class_="n")` is `<td class="n">a &lt; b</td>`.

    An underscore in an attribute's name stands for a hyphen; one at its end is dropped.
    """
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{said}>" if name in _VOID else f"<{name}{said}>{joined(content)}</{name}>")
