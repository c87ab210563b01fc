"""Whatever is put into the page stays text."""

from __future__ import annotations

import pytest

from rankcli.report.html import Html, element, joined, text


def test_text_and_attributes_are_escaped_and_markup_is_not() -> None:
    made = element("td", "a < b & c", element("b", "'x'"), class_="n", aria_label='say "<i>"')
    assert made == ('<td class="n" aria-label="say &quot;&lt;i&gt;&quot;">a &lt; b &amp; c<b>&#x27;x&#x27;</b></td>')


def test_a_string_made_from_markup_is_text_again() -> None:
    assert element("p", "<b>" + element("i")) == "<p>&lt;b&gt;&lt;i&gt;&lt;/i&gt;</p>"
    assert joined([Html("<br>"), "<br>", 3]) == "<br>&lt;br&gt;3"


@pytest.mark.parametrize("bad", ["\0", "\x1b", "\x9b", "\ud800", "\udcff", "\uffff"])
def test_characters_that_a_page_may_not_hold_are_replaced(bad: str) -> None:
    assert text(f"a{bad}b") == "a\ufffdb"
    text(f"a{bad}b").encode()


def test_an_element_without_content_and_without_end() -> None:
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert element("td") == "<td></td>"
