"""The section of probabilities: how true they are on test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rankcli.report import charts
from rankcli.report.facts import STAGES, Facts
from rankcli.report.html import Html, element, joined
from rankcli.report.numbers import count, measure, share
from rankcli.report.parts import mapping, missing_note, note, section
from rankcli.report.tables import row


def probabilities(facts: Facts) -> Html:
    """Return the reliability of each stage's probabilities."""
    found = mapping(facts.result, "probability")
    tables = [element("div", _table(name, found[stage])) for stage, name in STAGES.items() if stage in found]
    if not tables:
        where = "They are in the pages of the folds." if facts.folds else "Nothing is recorded of them."
        return section("Probabilities", missing_note(where))
    remark = (
        "A sigmoid of the score, fitted on dev, gives the probability that a candidate is relevant; "
        "`rankcli rerank --probability` writes it. Each row has the test pairs with such a probability: the bar is the "
        "share of them that is relevant, which should be the mean probability. A document that is not judged counts as "
        "not relevant. The error is the mean difference of the two, over all pairs."
    )
    return section("Probabilities", element("div", *tables, class_="pair"), note(remark))


def _table(name: str, found: Mapping[str, Any]) -> Html:
    error = f" · expected calibration error {measure(found.get('error'))}"
    caption = element("caption", element("b", name), error)
    head = row("th", ["probability", "", "mean", "relevant", "pairs"])
    return element("table", caption, element("thead", head), element("tbody", joined(map(_bin, found.get("bins", [])))))


def _bin(each: Mapping[str, Any]) -> Html:
    low, relevant = each["from"], each["relevant"]
    bar = charts.shares(share(relevant), [("part", relevant), ("rest", 1 - relevant)])
    figures = (measure(each["predicted"]), measure(relevant), count(each["pairs"]))
    return element(
        "tr",
        element("td", f"{low:.1f} to {low + 0.1:.1f}"),
        element("td", bar, class_="bar"),
        *(element("td", text, class_="number") for text in figures),
    )
