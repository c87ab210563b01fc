"""Options that several commands share, and the printing of results."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from rankcli.cli import _complete
from rankcli.data.files import check_output, exists, is_stdout
from rankcli.data.hashes import reading_inputs_anew
from rankcli.errors import ConfigError, StorageError
from rankcli.log import quiet
from rankcli.storage.base import is_remote

FORCE = "rankcli.force"  # in the context's `meta`
PERMISSIONS = "check the path and its permissions"


class PlaceType(click.Path):
    """A local path as a Path, or a `gs://` URI as text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path or the URI. Local paths are checked as click.Path does."""
        if self.exists and str(value) == "-":
            value = "/dev/stdin"
        return value if is_remote(str(value)) else super().convert(value, param, ctx)


class OutputFile(PlaceType):
    """A file to write. It is refused before the work begins if it could not be written at the end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path or the URI. Usage error if it is a folder or its folder does not exist; StorageError if that
        is not writable.
        """
        path = super().convert(value, param, ctx)
        if is_stdout(path):
            return path
        if is_remote(str(path)):
            check_output(path)
            return path
        if path.is_dir():
            self.fail(f"{path} is a folder, a file is needed.", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"There is no folder {path.parent}.", param, ctx)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise StorageError("cannot be written: Permission denied", where=str(path), fix=PERMISSIONS)
        return path


class NewFile(OutputFile):
    """A file to write that does not exist, or may be overwritten with `--force`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path or the URI. ConfigError if there is such a file; pipes and devices are only written to."""
        path = super().convert(value, param, ctx)
        found = exists(path) if is_remote(str(path)) else not is_stdout(path) and path.is_file()
        if found and not (ctx and ctx.meta.get(FORCE)):
            fix = "name another one, or overwrite it with --force"
            raise ConfigError("this file exists and is not overwritten", where=str(path), fix=fix)
        return path


class Arrays(NewFile):
    """A file NAME.npy and its ids, or an existing folder for several; none of them may exist without `--force`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path or the URI. Usage error for anything else."""
        said = str(value)
        if is_stdout(said):
            self.fail("vectors are not written to stdout: they come with a file of their ids", param, ctx)
        names = [""] if said.endswith(".npy") else ["/docs.npy", "/queries.npy"]
        if names != [""] and not is_remote(said) and not Path(said).is_dir():
            self.fail(f"{said} is neither a file NAME.npy nor an existing folder.", param, ctx)
        for name in names:
            super().convert(said + name, param, ctx)
            super().convert((said + name).removesuffix(".npy") + ".ids.txt", param, ctx)
        return value


FILE = PlaceType(exists=True, path_type=Path)
DIRECTORY = PlaceType(path_type=Path)
OUTPUT = OutputFile(path_type=Path)
NEW_FILE = NewFile(path_type=Path)
ARRAYS = Arrays(path_type=Path)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _verify(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Handle `--verify-inputs`: hash all inputs until the command ends."""
    if value:
        ctx.with_resource(reading_inputs_anew())


def _quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Handle `--quiet`, until the command ends."""
    if value:
        ctx.with_resource(quiet())


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command has."""
    silent = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_quiet,
        help="On stderr, warnings and errors only; results stay.",
    )
    debug = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
    return silent(debug(function))


def _force(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Handle `--force`, before the other options are read."""
    if value:
        ctx.meta[FORCE] = True


force_option: Decorator = click.option(
    "--force", is_flag=True, expose_value=False, is_eager=True, callback=_force, help="Overwrite the output."
)
verify_option: Decorator = click.option(
    "--verify-inputs",
    is_flag=True,
    expose_value=False,
    callback=_verify,
    help="Hash all input files, also those that seem unchanged.",
)
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def source(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check an option that takes an existing path, `gs://...` or `ir_datasets:ID`."""
    if value is not None and not value.startswith("ir_datasets:"):
        return str(FILE.convert(value, param, ctx))
    return value


def sources(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str | list[str]:
    """Check an option that takes one or several of these: one as text, several as a list."""
    found = [str(source(ctx, param, each)) for each in value]
    return found[0] if len(found) == 1 else found


def shares(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...]:
    """Return the numbers of `0.7,0.3`."""
    try:
        found = tuple(float(part) for part in value.split(",")) if value else ()
    except ValueError:
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        raise click.BadParameter(f"{value!r} is not a list of numbers, for example 0.7,0.3.", ctx, param)
    return found


def _fields(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split `--topics`."""
    return tuple(value.replace(",", " ").split()) if value else ()


topics_option: Decorator = click.option(
    "--topics", callback=_fields, metavar="FIELDS", help="Of TREC topics, as title,desc,narr.  [default: title]"
)


def config_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the configuration, as `--config FILE` (repeatable) or as an argument, and `KEY=VALUE` arguments."""

    @functools.wraps(function)
    def separated(files: tuple[str, ...], arguments: tuple[str, ...], **others: Any) -> Any:
        named = tuple(argument for argument in arguments if "=" not in argument)
        if bool(files) == bool(named):
            often = "given twice, as an argument and with --config" if files else "missing: name the file"
            raise click.UsageError(f"the configuration is {often}", click.get_current_context(silent=True))
        overrides = tuple(argument for argument in arguments if "=" in argument)
        return function(files=files or named, overrides=overrides, **others)

    files = click.option(
        "--config", "files", multiple=True, metavar="FILE", help="The same as CONFIG. May repeat; the later one wins."
    )
    arguments = click.argument(
        "arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...", shell_complete=_complete.of_config
    )
    return files(arguments(separated))


def print_result(found: Mapping[str, Any], as_json: bool) -> None:
    """Print the result of a verb: its `text`, or its `result` as JSON, with the version of its schema.

    It goes to stderr if the command has written its `--output` to stdout.
    """
    context = click.get_current_context(silent=True)
    taken = context is not None and is_stdout(context.params.get("output"))
    click.echo(to_json({"schema_version": 1, **found["result"]}) if as_json else found["text"], err=taken)


def to_json(value: Any) -> str:
    """Return JSON for people and programs: indented, NaN refused."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
