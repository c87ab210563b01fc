"""The sections of the page, in its order. A section without data says so."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from rankcli.report import charts
from rankcli.report.charts import Curve
from rankcli.report.facts import STAGES, Facts
from rankcli.report.gains import Gains
from rankcli.report.history import Series
from rankcli.report.html import Html, element, joined
from rankcli.report.numbers import change, count, duration, finite, measure, plain, share
from rankcli.report.tables import changes_table, facts_list, row, split_table
from rankcli.report.timing import missing, slowest
from rankcli.report.verdict import compared, sentence

LISTED = 10  # number of largest gains and losses


def head(facts: Facts) -> Html:
    """Return the title, the result in one sentence, and the three figures that it compares."""
    test = _mapping(facts.result, "splits", "test")
    stage = "interpolated" if "interpolated" in test else "reranked"
    return element(
        "header",
        element("p", "rankcli training report", class_="kind"),
        element("h1", facts.name),
        element("p", sentence(test, stage, facts.metric), class_="lede"),
        element("div", *(_tile(test, stage, facts.metric) for stage in STAGES if stage in test), class_="tiles"),
        facts_list({**_ids(facts), **facts.summary}),
    )


def _ids(facts: Facts) -> dict[str, object]:
    known = {"run id": facts.result.get("run_id"), "alpha": facts.result.get("alpha")}
    named = {"run id": "Run id", "alpha": "Weight of the reranker (alpha)"}
    return {named[key]: _listed(value) for key, value in known.items() if value is not None}


def _listed(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _tile(test: Mapping[str, Any], stage: str, metric: str) -> Html:
    found = compared(test, stage, metric)
    below = metric if stage == "first_stage" else f"{change(found.delta)} · {found.words}"
    kind = "" if stage == "first_stage" else found.kind
    return element(
        "div",
        element("span", STAGES[stage]),
        element("b", measure(found.mean)),
        element("span", below, class_=kind),
        class_=kind,
    )


def effectiveness(facts: Facts) -> Html:
    """Return the tables of dev and test, with all metrics."""
    splits = {name: _mapping(facts.result, "splits", name) for name in ("test", "dev")}
    tables = [element("div", split_table(name, split), class_="scroll") for name, split in splits.items() if split]
    lacking = [f"No figures for {name} are recorded." for name, split in splits.items() if not split]
    if facts.folds:
        lacking = ["Every fold has other dev queries: their figures are in the pages of the folds."]
    note = (
        "p: two-sided paired t-test over the queries, against the first stage; Holm: adjusted for the number of "
        "metrics. Significant: the adjusted p is below 0.05. Weights and alpha were chosen on dev, which therefore "
        "flatters them; test had no part in it."
    )
    return section("Effectiveness", element("div", *tables, class_="pair"), *map(_missing, lacking), _note(note))


def queries(facts: Facts) -> Html:
    """Return gains and losses, query by query."""
    stages = [stage for stage in ("reranked", "interpolated") if stage in _mapping(facts.result, "splits", "test")]
    blocks = [element("div", _stage_gains(facts, stage)) for stage in stages]
    return section("Query by query", element("div", *blocks, class_="pair"))


def _stage_gains(facts: Facts, stage: str) -> Html:
    found, title = facts.gains(stage), f"{STAGES[stage]} against first stage: {facts.metric} on test"
    if found is None or not found.changes:
        return joined([element("h3", title), _missing("The values of single queries are not known.")])
    gained = changes_table("Largest gains", found.largest(LISTED), facts.queries)
    lost = changes_table("Largest losses", found.worst(LISTED), facts.queries)
    return joined([_gains_chart(found, title), _balance(found), gained, lost])


def _gains_chart(found: Gains, title: str) -> Html:
    svg = charts.gains(title, [one.by for one in found.changes])
    note = "One column per query, from the largest gain to the largest loss."
    if len(found.changes) > charts.COLUMNS:
        note = f"Queries from the largest gain to the largest loss; each column is the mean of some {_stretch(found)}."
    caption = element("figcaption", element("b", title), note)
    return element("figure", caption, svg or _missing("No query changed."))


def _stretch(found: Gains) -> str:
    return count(len(found.changes) / charts.COLUMNS)


def _balance(found: Gains) -> Html:
    """Return wins, ties and losses as one divided bar and as figures."""
    figures = {"Better": ("gain", found.wins), "The same": ("tie", found.ties), "Worse": ("loss", found.losses)}
    total = len(found.changes)
    label = ", ".join(f"{name}: {n}" for name, (_, n) in figures.items())
    bar = charts.shares(label, [(kind, n / total) for kind, n in figures.values()])
    return element("figure", bar, facts_list({name: f"{n:,} ({share(n / total)})" for name, (_, n) in figures.items()}))


def training(facts: Facts) -> Html:
    """Return loss, dev metrics and learning rates by iteration or, for several folds, the result of each."""
    if facts.folds:
        return section("Folds", _folds(facts))
    history, figures = facts.history, []
    figures.append(_figure(Curve("training loss", history.loss), "mean over the steps of an iteration"))
    for metric, points in history.dev().items():
        figures.append(_dev_figure(facts, metric, points))
    for group, points in history.learning_rates().items():
        curve = Curve(f"learning rate {group}", points, from_zero=True)
        figures.append(_figure(curve, "at the last step of an iteration"))
    notes = [] if history.validations else [_missing("metrics.jsonl holds no validation on dev.")]
    if history.unreadable:
        notes.append(_missing(f"Lines of metrics.jsonl that could not be read and are left out: {history.unreadable}."))
    return section("Training", element("div", *figures, class_="curves"), *notes, _numbers(facts))


def _dev_figure(facts: Facts, metric: str, points: Series) -> Html:
    best = _mapping(facts.result, "best", metric)
    first = _mapping(facts.result, "splits", "dev", "first_stage").get(metric)
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
    return element("figure", element("figcaption", title, *below), svg or _missing("No values are recorded."))


def _numbers(facts: Facts) -> Html:
    """Return the table of the numbers in the curves."""
    dev, rates = facts.history.dev(), facts.history.learning_rates()
    columns = {"loss": dict(facts.history.loss), **{f"dev {name}": dict(points) for name, points in dev.items()}}
    columns |= {f"lr {name}": dict(points) for name, points in rates.items()}
    found = sorted({iteration for points in columns.values() for iteration in points}, key=lambda it: finite(it) or 0.0)
    rows = [row("td", [plain(it), *(plain(points.get(it)) for points in columns.values())]) for it in found]
    if not rows:
        return _missing("metrics.jsonl holds no iteration.")
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


def time(facts: Facts) -> Html:
    """Return the parts of the time, the slowest by name, and the rates of the training."""
    found, rates = facts.time, facts.history.rates()
    if not found:
        return section("Time", _missing("No times are recorded."))
    body: list[object] = [element("p", f"Slowest part: {slowest(found)}." if slowest(found) else "")]
    rows = [
        element(
            "tr",
            element("td", part.name),
            element("td", charts.shares(share(part.share), _filled(part.share)), class_="bar"),
            *(element("td", value, class_="number") for value in (duration(part.seconds), share(part.share))),
        )
        for part in found
    ]
    body.append(element("table", element("tbody", *rows)))
    lacking = missing(found)
    if lacking:
        body.append(_note(f"Not recorded: {', '.join(lacking)}."))
    body.append(facts_list(_speed(rates)) if rates else _note("Rates of the training were not recorded."))
    return section("Time", *(part for part in body if part != "<p></p>"))


def _filled(part: float) -> list[tuple[str, float]]:
    return [("part", part), ("rest", 1 - part)]


def _speed(rates: Mapping[str, float]) -> dict[str, object]:
    shown = {
        "pairs_per_second": ("Pairs per second", count),
        "tokens_per_second": ("Tokens per second", count),
        "padding_share": ("Padding among the tokens", share),
        "waiting_share": ("Waiting for input", share),
    }
    return {name: how(rates[key]) for key, (name, how) in shown.items() if key in rates}


def data(facts: Facts) -> Html:
    """Return the counts of the data that was read."""
    if not facts.counts:
        return section("Data", _missing("No counts are recorded."))
    named = {key.replace("_", " ").capitalize(): count(value) for key, value in facts.counts.items()}
    return section("Data", facts_list(named))


def options(facts: Facts) -> Html:
    """Return the options of the configuration that are not the default."""
    if not facts.options:
        return section("Options", _missing("Every option has its default, or they are not known."))
    lines = joined(joined([_option(line), "\n"]) for line in facts.options)
    folder = f"{facts.folds[0].name}/" if facts.folds else ""
    whole = element("a", "config.yaml", href=f"{folder}config.yaml")
    note = _note(joined(["What is not the default, and what was before. All options, with this run's values: ", whole]))
    return section("Options", note, element("pre", lines))


def _option(line: str) -> Html:
    value, mark, default = line.rpartition("  # default: ")
    return joined([value, element("span", mark + default, class_="same")]) if mark else joined([line])


def made_with(facts: Facts) -> Html:
    """Return the command, versions and devices."""
    versions, devices = _mapping(facts.run, "versions"), facts.run.get("devices")
    parts: list[Html] = []
    if facts.run.get("command"):
        parts += [element("h3", "Command"), element("pre", command(facts.run["command"]), class_="wrap")]
    else:
        parts.append(_missing("The command is not recorded."))
    found = {**versions, **({"devices": ", ".join(map(str, devices))} if isinstance(devices, list) else {})}
    parts.append(facts_list(found) if found else _missing("Versions and devices are not recorded."))
    return section("Reproduce", *parts)


def command(argv: Sequence[object]) -> str:
    """Return a command line as a user types it, without the folder of the program."""
    program, *rest = map(str, argv)
    name = PurePath(program).name
    return shlex.join(["rankcli" if name in ("__main__.py", "rankcli") else program, *rest])


def section(title: str, *content: object) -> Html:
    """Return one section with its heading."""
    return element("section", element("h2", title), element("div", *content))


def _missing(sentence: str) -> Html:
    return element("p", sentence, class_="missing")


def _note(sentence: object) -> Html:
    return element("p", sentence, class_="note")


def _mapping(tree: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}
