"""The complete page."""

from __future__ import annotations

from pathlib import Path

from rankcli.report import curves, probabilities, rankings, sections
from rankcli.report.facts import Facts
from rankcli.report.html import Html, element, joined
from rankcli.report.style import STYLE
from rankcli.storage.atomic import write_file

# The browser loads nothing and runs no script, whatever a query or an id contains.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(facts: Facts) -> str:
    """Return the page; the same text for the same facts."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("title", f"{facts.name} – rankcli"),
        element("style", Html(STYLE)),
    )
    parts = (
        sections.head,
        sections.effectiveness,
        probabilities.probabilities,
        curves.training,
        sections.queries,
        rankings.rankings,
        sections.time,
        sections.data,
        sections.options,
        sections.made_with,
    )
    body = element("body", element("main", *(part(facts) for part in parts)))
    return joined([Html("<!doctype html>\n"), element("html", head, body, lang="en"), "\n"])


def write_report(path: Path, facts: Facts) -> None:
    """Write the page, completely or not at all."""
    write_file(path, page(facts).encode())
