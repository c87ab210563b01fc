"""`rankcli fuse`."""

from __future__ import annotations

from pathlib import Path

import click

from rankcli.cli._command import Command
from rankcli.cli._options import FILE, NEW_FILE, common_options, force_option, json_option, print_result, shares


@click.command(cls=Command)
@click.option("--run", "runs", type=FILE, multiple=True, required=True, help="A TREC run. Repeat it: two or more.")
@click.option(
    "--method",
    type=click.Choice(["rrf", "minmax", "zscore", "union"]),
    default="rrf",
    show_default=True,
    help="Add 1 / (60 + rank); add scores, scaled to 0..1 or to mean 0 and deviation 1; or take from the runs in turn.",
)
@click.option(
    "--shares",
    callback=shares,
    metavar="A,B,...",
    help="A factor for each run, in the order of --run; not for union.  [default: 1 each]",
)
@click.option("--k", type=int, default=1000, show_default=True, help="Documents per query.")
@click.option("-o", "--output", type=NEW_FILE, required=True, help="The fused run.")
@force_option
@json_option
@common_options
def command(
    runs: tuple[Path | str, ...], method: str, shares: tuple[float, ...], k: int, output: Path | str, as_json: bool
) -> None:
    """Fuse several runs to one, over the documents of any of them.

    \b
    Example:
      rankcli fuse --run bm25.run --run reranked.run --output fused.run
      rankcli fuse --run bm25.run --run reranked.run --method minmax --shares 0.3,0.7 --output fused.run
    """
    from rankcli.config.registry import SEARCHERS
    from rankcli.config.validate import component_from
    from rankcli.verbs.fuse import fuse

    names = SEARCHERS.names()
    files = [f"./{run}" if str(run) in names else str(run) for run in runs]  # a file may be called bm25
    section = {"name": "fuse", "runs": files, "method": method, "shares": list(shares), "k": k}
    print_result(fuse(component_from(SEARCHERS, section, source="command line"), output), as_json)
