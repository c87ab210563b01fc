"""The section of rankings: the documents of a few queries before and after."""

from __future__ import annotations

from rankcli.report.facts import STAGES, Facts, Ranked, Ranking
from rankcli.report.html import Html, element, joined
from rankcli.report.numbers import measure
from rankcli.report.parts import section
from rankcli.report.tables import LONGEST_TEXT, cut, row


def rankings(facts: Facts) -> Html:
    """Return the first documents of the queries with the largest gain and the largest loss; empty without any."""
    if not facts.rankings:
        return joined([])
    return section("Rankings", element("div", *(_ranking(facts, each) for each in facts.rankings), class_="rankings"))


def _ranking(facts: Facts, found: Ranking) -> Html:
    before, after = (facts.values.get(stage, {}).get(found.qid) for stage in ("first_stage", found.stage))
    said = element("bdi", cut(facts.queries.get(found.qid, ""), LONGEST_TEXT), class_="query")
    caption = element("caption", joined([said, element("bdi", found.qid, class_="id")]))
    titles = (f"first stage, {facts.metric} {measure(before)}", f"{STAGES[found.stage].lower()}, {measure(after)}")
    head = element("thead", row("th", ["", *titles]))
    rows = zip(found.before, found.after, strict=False)
    body = [element("tr", element("td", rank), *map(_document, pair)) for rank, pair in enumerate(rows, 1)]
    return element("table", caption, head, element("tbody", *body), class_="ranking")


def _document(found: Ranked) -> Html:
    grade = "not judged" if found.grade is None else f"grade {found.grade}"
    kind = "better" if found.grade else "same"
    below = element("span", joined([element("bdi", found.docid), f" · {grade}"]), class_=kind)
    return element("td", element("bdi", cut(found.text, LONGEST_TEXT)), below)
