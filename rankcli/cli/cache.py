"""`rankcli cache`: `ls`, `verify` and `prune`."""

from __future__ import annotations

import re
from typing import Any

import click

from rankcli.cli._command import Group
from rankcli.cli._options import Decorator, common_options, json_option, print_result
from rankcli.errors import StorageError

_AGE = re.compile(r"([0-9]{1,6})([hd])")
_SIZE = re.compile(r"([0-9]{1,12})([KMGT]?)")
_SECONDS = {"h": 3600, "d": 86400}
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

storage_option: Decorator = click.option(
    "--storage", metavar="URI", help="Local path or gs://BUCKET/PREFIX.  [default: $RANKCLI_CACHE or ~/.cache/rankcli]"
)


def _age(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of `12h` or `30d`."""
    if value is None:
        return None
    match = _AGE.fullmatch(value)
    if not match:
        raise click.BadParameter(f"{value!r} is not an age in hours or days, for example 12h or 30d.")
    return float(int(match[1]) * _SECONDS[match[2]])


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return the bytes of `500M` or `10G`."""
    if value is None:
        return None
    match = _SIZE.fullmatch(value)
    if not match:
        raise click.BadParameter(f"{value!r} is not a number of bytes, for example 500M or 10G.")
    return int(match[1]) * _UNITS[match[2]]


@click.group(cls=Group)
@common_options
def command() -> None:
    """List, verify and remove what rankcli keeps: TFRecord caches, and what is made of inputs or downloaded.

    \b
    Example:
      rankcli cache ls
      rankcli cache verify
    """


@command.command()
@storage_option
@json_option
@common_options
def ls(storage: str | None, as_json: bool) -> None:
    """List caches, last used first: what they were made of, their size, their state and which runs used them.

    Options that have their default are not listed. Below them are the files that are made of inputs or downloaded.

    \b
    Example:
      rankcli cache ls
      rankcli cache ls --storage gs://bucket/caches --json
    """
    from rankcli.caches import maintain as cache

    print_result(cache.ls(storage), as_json)


@command.command()
@click.option("--repair", is_flag=True, help="Make damaged shards again from their inputs.")
@storage_option
@json_option
@common_options
def verify(repair: bool, storage: str | None, as_json: bool) -> None:
    """Compare every shard with its checksum; exit 6 if something is damaged and was not repaired.

    \b
    Example:
      rankcli cache verify
      rankcli cache verify --repair --storage gs://bucket/caches
    """
    from rankcli.caches import maintain as cache

    done = cache.verify(storage, repair=repair)
    print_result(done, as_json)
    _check(done["result"], repair)


def _check(result: dict[str, Any], repair: bool) -> None:
    """Raise StorageError if damages remain. They have been listed on stdout."""
    found, left = len(result["damages"]), result["unrepaired"]
    if left and repair:
        fix = "put the inputs back as they were, or delete these caches: the next run converts anew"
        raise StorageError(f"{left} of {found} damages are not repaired", where=result["storage"], fix=fix)
    if left:
        fix = "`rankcli cache verify --repair` makes good what can be"
        raise StorageError(f"{left} damage{'s' if left > 1 else ''}", where=result["storage"], fix=fix)


@command.command()
@click.option("--older-than", callback=_age, metavar="AGE", help="What was last used longer ago: 30d, 12h.")
@click.option(
    "--max-bytes", callback=_size, metavar="SIZE", help="What was used longest ago, until SIZE is left: 10G, 500M."
)
@click.option("--unused", is_flag=True, help="What no existing run directory used and no process reads.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@storage_option
@json_option
@common_options
def prune(
    older_than: float | None, max_bytes: int | None, unused: bool, dry_run: bool, storage: str | None, as_json: bool
) -> None:
    """Remove caches to which any of the options applies, except those in use.

    The same holds for documents, first stages and triples, and for copies from buckets: they are made or downloaded
    again when they are needed. Interrupted conversions and reranks, and the hashes of inputs, go by age and size only.

    \b
    Example:
      rankcli cache prune --older-than 30d --dry-run
      rankcli cache prune --max-bytes 10G --unused
    """
    if older_than is None and max_bytes is None and not unused:
        raise click.UsageError("say what to remove: give --older-than, --max-bytes or --unused.")
    from rankcli.caches import maintain as cache
    from rankcli.caches.prune import Criteria

    done = cache.prune(storage, Criteria(older_than, max_bytes, unused), dry_run=dry_run)
    print_result(done, as_json)
    if failed := len(done["result"]["failed"]):
        fix = "check the permissions there, and run again"
        raise StorageError(f"{failed} could not be removed", where=done["result"]["storage"], fix=fix)
