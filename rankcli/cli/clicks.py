"""`rankcli clicks`: `import`, `simulate` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rankcli.cli._command import Group
from rankcli.cli._options import FILE, NEW_FILE, common_options, force_option, json_option, print_result, source


@click.group(cls=Group)
@common_options
def command() -> None:
    """Learn from clicks: check a log, simulate one, compare a run with it.

    The sampler `clicks` draws from what `import` and `simulate` write.

    \b
    Example:
      rankcli clicks simulate --qrels qrels.txt --run bm25.run --sessions 2000 --output log.jsonl
      rankcli clicks import log.jsonl --held-out later.jsonl --run bm25.run --output sessions.jsonl
      rankcli clicks evaluate --sessions later.jsonl --run reranked.run
    """


@command.command("import")
@click.argument("sessions", type=FILE)
@click.option("-o", "--output", type=NEW_FILE, required=True, help="The sessions to learn from, JSONL.")
@click.option("--held-out", type=NEW_FILE, help="Further sessions, to evaluate on.")
@click.option(
    "--by",
    type=click.Choice(["time", "query"]),
    default="time",
    show_default=True,
    help="Held out are the last sessions, or all of some queries.",
)
@click.option("--share", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="The share to hold out.")
@click.option("--run", type=FILE, help="Scores for sessions that miss one: of the ranking or model that showed them.")
@click.option("--docs", callback=source, metavar="PATH", help="Documents; those that are not among them are left out.")
@click.option("--abandoned/--no-abandoned", default=True, help="Keep sessions without a click.  [default: keep]")
@click.option("--cascade", is_flag=True, help="Cut off what is below the first click, as never seen.")
@force_option
@json_option
@common_options
def import_(sessions: Path | str, run: Path | str | None, as_json: bool, **options: Any) -> None:
    """Check the sessions of a log, and split them.

    \b
    Example:
      rankcli clicks import log.jsonl --output clicks.jsonl
    """
    from rankcli.verbs.clicks import import_sessions

    print_result(import_sessions(sessions=str(sessions), run=str(run) if run else None, **options), as_json)


@command.command()
@click.option("--qrels", callback=source, required=True, metavar="PATH", help="Judgments: what users like.")
@click.option("--run", type=FILE, required=True, help="What they are shown, as a TREC run.")
@click.option("-o", "--output", type=NEW_FILE, required=True, help="The sessions, JSONL.")
@click.option("--sessions", type=click.IntRange(min=1), required=True, help="How many.")
@click.option(
    "--model",
    type=click.Choice(["pbm", "cascade"]),
    default="pbm",
    show_default=True,
    help="What is seen: by rank alone, or down to the first click.",
)
@click.option(
    "--eta", type=click.FloatRange(min=0, max=10), default=1.0, show_default=True, help="Strength of the position bias."
)
@click.option(
    "--noise",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Chance of a click on grade 0, if seen.",
)
@click.option("--depth", type=click.IntRange(min=2, max=1000), default=10, show_default=True, help="Documents shown.")
@click.option(
    "--randomised",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of sessions in random order, from which the position bias can be estimated.",
)
@click.option("--seed", type=click.IntRange(min=0), default=42, show_default=True, help="Of all draws.")
@force_option
@json_option
@common_options
def simulate(run: Path | str, as_json: bool, **options: Any) -> None:
    """Simulate sessions of users with judgments in mind.

    \b
    Example:
      rankcli clicks simulate --qrels qrels.txt --run bm25.run --sessions 500 --eta 2 --output biased.jsonl
    """
    from rankcli.verbs.simulate import simulate as made

    print_result(made(run=str(run), **options), as_json)


@command.command()
@click.option("--sessions", type=FILE, required=True, help="Sessions that were not learnt from.")
@click.option("--run", type=FILE, required=True, help="New scores of what was shown.")
@click.option("--baseline", type=FILE, help="Old scores.  [default: those of the sessions]")
@click.option("--distance", is_flag=True, help="Scores are distances: less is better.")
@json_option
@common_options
def evaluate(sessions: Path | str, run: Path | str, baseline: Path | str | None, as_json: bool, **options: Any) -> None:
    """Compare new scores with old ones and with the clicks.

    \b
    Example:
      rankcli clicks evaluate --sessions later.jsonl --run reranked.run --baseline bm25.run
    """
    from rankcli.verbs.clicks import evaluate_clicks

    given = str(baseline) if baseline else None
    print_result(evaluate_clicks(sessions=str(sessions), run=str(run), baseline=given, **options), as_json)
