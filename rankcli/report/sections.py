"""The sections of the page, in its order. A section without data says so."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from rankcli.report import charts
from rankcli.report.facts import STAGES, Facts
from rankcli.report.gains import Gains
from rankcli.report.html import Html, element, joined
from rankcli.report.numbers import change, count, duration, measure, share
from rankcli.report.parts import mapping, missing_note, note, section
from rankcli.report.tables import changes_table, facts_list, row, split_table
from rankcli.report.timing import missing, slowest
from rankcli.report.verdict import compared, sentence

LISTED = 10  # number of largest gains and losses


def head(facts: Facts) -> Html:
    """Return the title, the result in one sentence, and the three figures that it compares."""
    test = mapping(facts.result, "splits", "test")
    stage = next((stage for stage in ("mixed", "interpolated") if stage in test), "reranked")
    return element(
        "header",
        element("p", "rankcli training report", class_="kind"),
        element("h1", facts.name),
        element("p", sentence(test, stage, facts.metric), class_="lede"),
        element("div", *(_tile(test, stage, facts.metric) for stage in STAGES if stage in test), class_="tiles"),
        facts_list({**_ids(facts), **facts.summary}),
        *([_warnings(facts.warnings)] if facts.warnings else ()),
    )


def _warnings(said: Sequence[str]) -> Html:
    title = element("summary", f"Warnings of this run: {len(said)}")
    return element("details", title, element("ul", *(element("li", each) for each in said)), open="", class_="warnings")


def _ids(facts: Facts) -> dict[str, object]:
    named = {
        "run_id": "Run id",
        "alpha": "Weight of the reranker (alpha)",
        "first_stage": "First stage",
        "mixture": "Mixture",
    }
    known = {key: _alike(facts.result.get(key)) for key in named}
    written = {"Written": facts.written} if facts.written else {}
    mixtures = facts.result.get("mixture") or []
    said = [each["said"] for each in (mixtures if isinstance(mixtures, list) else [mixtures])]
    known["mixture"] = said or None
    return {**written, **{named[key]: _listed(value) for key, value in known.items() if value is not None}}


def _alike(value: object) -> object:
    """Return the words of all folds, those that are the same once; any other value as it is."""
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return "; ".join(dict.fromkeys(value))
    return value


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
    splits = {name: mapping(facts.result, "splits", name) for name in ("test", "dev")}
    tables = [element("div", split_table(name, split), class_="scroll") for name, split in splits.items() if split]
    lacking = [f"No figures for {name} are recorded." for name, split in splits.items() if not split]
    if facts.folds:
        lacking = ["Every fold has other dev queries: their figures are in the pages of the folds."]
    remark = (
        "p: two-sided paired t-test over the queries, against the first stage; Holm: adjusted for the number of "
        "metrics. Significant: the adjusted p is below 0.05. Weights and alpha were chosen on dev, which therefore "
        "flatters them; test had no part in it."
    )
    shown = (*map(missing_note, lacking), note(remark), *_mixture_stages(facts))
    return section("Effectiveness", element("div", *tables, class_="pair"), *shown)


def _mixture_stages(facts: Facts) -> list[Html]:
    """Return the table of the stages of a mixture; nothing where none was tried or there are several folds."""
    stages = mapping(facts.result, "mixture").get("stages")
    if not stages:
        return []
    remark = note("By cross-validation over the queries that teach: a signal stays if its gain exceeds its error.")
    head = element("thead", row("th", ["stage", "mean", "gain", "standard error", "kept"]))
    body = element("tbody", *(row("td", _stage(each)) for each in stages))
    return [element("h3", "Stages of the mixture"), element("table", head, body), remark]


def _stage(each: Mapping[str, Any]) -> list[str]:
    first = each["gain"] is None
    gain, error = ("", "") if first else (change(each["gain"]), measure(each["error"]))
    return [each["name"], measure(each["value"]), gain, error, "yes" if each["kept"] else "no"]


def queries(facts: Facts) -> Html:
    """Return gains and losses, query by query."""
    stages = [
        stage for stage in ("reranked", "interpolated", "mixed") if stage in mapping(facts.result, "splits", "test")
    ]
    blocks = [element("div", _stage_gains(facts, stage)) for stage in stages]
    return section("Query by query", element("div", *blocks, class_="pair"))


def _stage_gains(facts: Facts, stage: str) -> Html:
    found, title = facts.gains(stage), f"{STAGES[stage]} against first stage: {facts.metric} on test"
    if found is None or not found.changes:
        return joined([element("h3", title), missing_note("The values of single queries are not known.")])
    gained = changes_table("Largest gains", found.largest(LISTED), facts.queries)
    lost = changes_table("Largest losses", found.worst(LISTED), facts.queries)
    return joined([_gains_chart(found, title), _balance(found), gained, lost])


def _gains_chart(found: Gains, title: str) -> Html:
    svg = charts.gains(title, [one.by for one in found.changes])
    said = "One column per query, from the largest gain to the largest loss."
    if len(found.changes) > charts.COLUMNS:
        said = f"Queries from the largest gain to the largest loss; each column is the mean of some {_stretch(found)}."
    caption = element("figcaption", element("b", title), said)
    return element("figure", caption, svg or missing_note("No query changed."))


def _stretch(found: Gains) -> str:
    return count(len(found.changes) / charts.COLUMNS)


def _balance(found: Gains) -> Html:
    """Return wins, ties and losses as one divided bar and as figures."""
    figures = {"Better": ("gain", found.wins), "The same": ("tie", found.ties), "Worse": ("loss", found.losses)}
    total = len(found.changes)
    label = ", ".join(f"{name}: {n}" for name, (_, n) in figures.items())
    bar = charts.shares(label, [(kind, n / total) for kind, n in figures.values()])
    return element("figure", bar, facts_list({name: f"{n:,} ({share(n / total)})" for name, (_, n) in figures.items()}))


def time(facts: Facts) -> Html:
    """Return the parts of the time, the slowest by name, and the rates of the training."""
    found, rates = facts.time, facts.history.rates()
    if not found:
        return section("Time", missing_note("No times are recorded."))
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
        body.append(note(f"Not recorded: {', '.join(lacking)}."))
    body.append(facts_list(_speed(rates)) if rates else note("Rates of the training were not recorded."))
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
        return section("Data", missing_note("No counts are recorded."))
    named = {key.replace("_", " ").capitalize(): count(value) for key, value in facts.counts.items()}
    return section("Data", facts_list(named))


def options(facts: Facts) -> Html:
    """Return the options of the configuration that are not the default."""
    if not facts.options:
        return section("Options", missing_note("Every option has its default, or they are not known."))
    lines = joined(joined([_option(line), "\n"]) for line in facts.options)
    folder = f"{facts.folds[0].name}/" if facts.folds else ""
    whole = element("a", "config.yaml", href=f"{folder}config.yaml")
    remark = note(
        joined(["What is not the default, and what was before. All options, with this run's values: ", whole])
    )
    return section("Options", remark, element("pre", lines))


def _option(line: str) -> Html:
    value, mark, default = line.rpartition("  # default: ")
    return joined([value, element("span", mark + default, class_="same")]) if mark else joined([line])


def made_with(facts: Facts) -> Html:
    """Return the command, versions and devices."""
    versions, devices = mapping(facts.run, "versions"), facts.run.get("devices")
    parts: list[Html] = []
    if facts.run.get("command"):
        parts += [element("h3", "Command"), element("pre", command(facts.run["command"]), class_="wrap")]
    else:
        parts.append(missing_note("The command is not recorded."))
    found = {**versions, **({"devices": ", ".join(map(str, devices))} if isinstance(devices, list) else {})}
    parts.append(facts_list(found) if found else missing_note("Versions and devices are not recorded."))
    return section("Reproduce", *parts)


def command(argv: Sequence[object]) -> str:
    """Return a command line as a user types it, without the folder of the program."""
    program, *rest = map(str, argv)
    name = PurePath(program).name
    return shlex.join(["rankcli" if name in ("__main__.py", "rankcli") else program, *rest])
