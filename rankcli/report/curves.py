"""The section of the training: curves by iteration, or the folds."""

from __future__ import annotations

from rankcli.report import charts
from rankcli.report.charts import Curve
from rankcli.report.facts import Facts
from rankcli.report.history import Series
from rankcli.report.html import Html, element
from rankcli.report.numbers import finite, measure, plain
from rankcli.report.parts import mapping, missing_note, section
from rankcli.report.tables import row


def training(facts: Facts) -> Html:
    """Return loss, dev metrics and learning rates by iteration or, for several folds, the result of each."""
    if facts.folds:
        return section("Folds", _folds(facts))
    history, figures = facts.history, []
    figures.append(_figure(Curve("training loss", history.loss), "mean over the steps of an iteration"))
    for metric, points in history.dev().items():
        figures.append(_dev_figure(facts, metric, points))
    for group, points in (facts.rates or history.learning_rates()).items():
        below = "at every step" if facts.rates else "at the last step of an iteration"
        figures.append(_figure(Curve(f"learning rate {group}", points, from_zero=True), below))
    notes = [] if history.validations else [missing_note("metrics.jsonl holds no validation on dev.")]
    if history.unreadable:
        notes.append(
            missing_note(f"Lines of metrics.jsonl that could not be read and are left out: {history.unreadable}.")
        )
    return section("Training", element("div", *figures, class_="curves"), *notes, _numbers(facts))


def _dev_figure(facts: Facts, metric: str, points: Series) -> Html:
    best = mapping(facts.result, "best", metric)
    first = mapping(facts.result, "splits", "dev", "first_stage").get(metric)
    drawn, untrained = without_outlier(points)
    legend: list[object] = []
    if finite(best.get("value")) is not None:
        text = f"best {measure(best['value'])}, iteration {plain(best.get('iter'))}"
        legend.append(element("span", _key("circle", "best"), text))
    if finite(first) is not None:
        legend.append(element("span", _key("line", "first"), f"first stage {measure(first)}"))
    if untrained is not None:
        legend.append(element("span", f"untrained {measure(untrained)}, not drawn"))
    return _figure(Curve(f"dev {metric}", drawn, best.get("iter"), first), *legend)


def without_outlier(points: Series) -> tuple[Series, object]:
    """Return the points without iteration 0, and its value, if that is so low that it would flatten the other points.

    Otherwise return all points and None.
    """
    known = {finite(iteration): finite(value) for iteration, value in points}
    trained = [value for iteration, value in known.items() if iteration and value is not None]
    start = known.get(0.0)
    if start is None or len(trained) < 2 or start >= min(trained) / 2:
        return points, None
    return [point for point in points if finite(point[0])], start


def _key(shape: str, kind: str) -> Html:
    """Return a sample of a chart's mark for the legend."""
    circle, line = {"cx": 10, "cy": 5, "r": 3.5}, {"x1": 0, "x2": 20, "y1": 5, "y2": 5}
    drawn = element(shape, class_=kind, **(circle if shape == "circle" else line))
    return element("svg", drawn, viewBox="0 0 20 10", class_="key", aria_hidden="true")


def _figure(curve: Curve, *below: object) -> Html:
    svg = charts.curve(curve)
    title = element("b", curve.label[0].upper() + curve.label[1:])
    return element("figure", element("figcaption", title, *below), svg or missing_note("No values are recorded."))


def _numbers(facts: Facts) -> Html:
    """Return the table of the numbers in the curves."""
    dev, rates = facts.history.dev(), facts.history.learning_rates()
    columns = {"loss": dict(facts.history.loss), **{f"dev {name}": dict(points) for name, points in dev.items()}}
    columns |= {f"lr {name}": dict(points) for name, points in rates.items()}
    found = sorted({iteration for points in columns.values() for iteration in points}, key=lambda it: finite(it) or 0.0)
    rows = [row("td", [plain(it), *(plain(points.get(it)) for points in columns.values())]) for it in found]
    if not rows:
        return missing_note("metrics.jsonl holds no iteration.")
    table = element("table", element("thead", row("th", ["iteration", *columns])), element("tbody", *rows))
    return element("details", element("summary", "The numbers"), element("div", table, class_="scroll"))


def _folds(facts: Facts) -> Html:
    rows = [
        element(
            "tr",
            element("td", element("a", fold.name, href=fold.page)),
            *(element("td", value) for value in (fold.run_id, plain(fold.iteration), plain(fold.alpha))),
        )
        for fold in facts.folds
    ]
    header = element("thead", row("th", ["fold", "run id", "best iteration", "alpha"]))
    return element("div", element("table", header, element("tbody", *rows)), class_="scroll")
