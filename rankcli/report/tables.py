"""Tables and lists of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rankcli.report.facts import STAGES
from rankcli.report.gains import Change
from rankcli.report.html import Html, element, joined
from rankcli.report.numbers import change, measure, probability
from rankcli.report.verdict import compared

LONGEST_QUERY = 200  # longer queries are cut off at this number of characters
LONGEST_TEXT = 120  # longer texts in a ranking, likewise


def split_table(name: str, split: Mapping[str, Any]) -> Html:
    """Return the table of one split: for every metric the stages, each compared with the first."""
    queries = split.get("queries")
    caption = element("caption", element("b", name.capitalize()), f" · {queries} queries" if queries else "")
    names = [element("th", name) for name in ("stage", "mean", "change", "p", "p, Holm")]
    head = element("tr", *names, element("th", "significant", class_="words"))
    first = split.get("first_stage")
    metrics = list(first) if isinstance(first, Mapping) else []
    bodies = [_metric_rows(split, metric) for metric in metrics]
    return element("table", caption, element("thead", head), *bodies, class_="stages")


def _metric_rows(split: Mapping[str, Any], metric: str) -> Html:
    rows = [element("tr", element("th", metric, class_="metric", colspan=6, scope="rowgroup"))]
    for stage, name in STAGES.items():
        if stage not in split:
            continue
        found = compared(split, stage, metric)
        cells = [element("td", name), _number(measure(found.mean))]
        if stage != "first_stage":
            cells += [_number(text) for text in (change(found.delta), probability(found.p), probability(found.p_holm))]
            # On a phone this cell is on a line of its own, away from the head of its column.
            name_of_column = element("span", "significant: ", class_="narrow")
            cells.append(element("td", name_of_column, found.answer, class_=f"words {found.kind}".strip()))
        rows.append(element("tr", *cells))
    return element("tbody", *rows)


def row(cell: str, texts: Iterable[object]) -> Html:
    """Return a row of plain cells."""
    return element("tr", *(element(cell, text) for text in texts))


def changes_table(title: str, changes: Sequence[Change], queries: Mapping[str, str]) -> Html:
    """Return queries with their values before and after; a sentence if there are none."""
    if not changes:
        return element("p", f"{title}: none.", class_="missing")
    rows = [_change_row(found, queries) for found in changes]
    caption = element("caption", element("b", title))
    head = row("th", ["query", "first stage", "now", "change"])
    return element("table", caption, element("thead", head), element("tbody", *rows), class_="changes")


def _change_row(found: Change, queries: Mapping[str, str]) -> Html:
    query = queries.get(found.qid)
    # An isolated element, so that a query in a right-to-left script does not reverse the row.
    said = element("bdi", cut(query, LONGEST_QUERY), class_="query") if query is not None else "(text not known)"
    kind = "better" if found.by > 0 else "worse"
    label = joined([said, element("bdi", found.qid, class_="id")])
    numbers = [_number(measure(found.before)), _number(measure(found.after))]
    return element("tr", element("td", label), *numbers, element("td", change(found.by), class_=f"number {kind}"))


def cut(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters; of a longer one, its start."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _number(text: str) -> Html:
    return element("td", text, class_="number")


def facts_list(pairs: Mapping[str, object]) -> Html:
    """Return names and values side by side."""
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in pairs.items()),
        class_="facts",
    )
