"""Options that commands share, and how results are printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

FILE = click.Path(exists=True, path_type=Path)
OUTPUT = click.Path(path_type=Path)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

debug_option: Decorator = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def source(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Callback of options that take a path, which must exist, or `ir_datasets:ID`."""
    if value is not None and not value.startswith("ir_datasets:"):
        FILE.convert(value, param, ctx)
    return value


def config_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--config FILE` (repeatable) and `KEY=VALUE` arguments."""
    files = click.option(
        "--config", "files", multiple=True, required=True, metavar="FILE", help="May repeat; the later one wins."
    )
    overrides = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
    return files(overrides(function))


def print_result(found: Mapping[str, Any], as_json: bool) -> None:
    """Print what a pipeline returned: its `text`, or its `result` as JSON."""
    click.echo(to_json(found["result"]) if as_json else found["text"])


def to_json(value: Any) -> str:
    """JSON for people and machines: indented, NaN refused."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
