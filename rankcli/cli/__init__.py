"""The command line: one file per command, imported at its use; errors become exit codes in one place."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from rankcli import __version__
from rankcli.cli._options import common_options
from rankcli.cli._streams import make_lasting
from rankcli.config.nearest import did_you_mean
from rankcli.errors import MissingError, RankcliError, StorageError
from rankcli.log import tell
from rankcli.storage.disk import remedy
from rankcli.storage.limits import raise_open_files

COMMANDS = (
    *("init", "train", "convert", "rerank", "encode", "search", "fuse", "mine", "teach", "clicks", "evaluate"),
    *("cache", "modules", "schema", "doctor", "completion"),
)
STORAGE_ERRNOS = {
    *(errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}
ENDING = (signal.SIGTERM, signal.SIGHUP)  # besides SIGINT; a closed terminal sends SIGHUP
_received: list[int] = []  # numbers of the signals received


class Commands(click.Group):
    """A group whose commands are the modules of this package, imported at their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of use, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"rankcli.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments start with; a usage error lists the commands."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = f"; {meant}" if (meant := did_you_mean(args[0], COMMANDS)) else ""
            ctx.fail(f"no command {args[0]!r}{hint} (there are: {', '.join(COMMANDS)})")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. A pipe that breaks within it is a failure: click would exit without a word."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            where = str(error.filename or "")
            raise StorageError("the reader has stopped before the end", where=where, fix="run again") from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rankcli")
@common_options
def cli() -> None:
    """Train, evaluate and ship neural rerankers from one YAML file.

    \b
    Example:
      rankcli init --docs corpus.jsonl --queries queries.jsonl --qrels qrels.txt
      rankcli train --config config.yaml
      rankcli evaluate --model runs/config

    Exit codes: 0 done, 1 a bug of ours, 2 usage or configuration, 3 bad input data, 4 something missing,
    5 training failed, 6 storage or integrity failure, 129, 130 and 143 interrupted after saving.
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the `rankcli` script."""
    make_lasting()
    if not os.environ.get("HOME"):
        os.environ.pop("HOME", None)  # empty, it would make `~` the root of the file system
    for signum in ENDING:
        if signal.getsignal(signum) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(signum, _terminate)
    raise_open_files()
    sys.exit(run(list(sys.argv[1:] if args is None else args)))


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    """Exit with clean-up, as after a SIGINT. Without a handler, the first process of a container ignores SIGTERM."""
    _received.append(signum)
    raise KeyboardInterrupt


def run(args: list[str]) -> int:
    """Run one command line and return its exit code. Errors are written to stderr."""
    try:
        code = cli.main(args=args, prog_name="rankcli", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        page = f"\n  -> see: {error.ctx.command_path} --help" if error.ctx else ""
        tell(f"error: {error.format_message()}{page}")
        return 2
    except (click.Abort, KeyboardInterrupt):
        tell("interrupted")
        return 128 + (_received or [signal.SIGINT])[-1]
    except Exception as error:  # the outermost handler: users see a traceback only with --debug
        return _report(error, debug="--debug" in args)


def _report(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno in STORAGE_ERRNOS:
        error = StorageError(str(error.strerror), where=str(error.filename or ""), fix=remedy(error))
    if isinstance(error, MemoryError):
        error = MissingError("there is not enough memory", fix="free some, or raise the limit (ulimit -v)")
    if isinstance(error, RankcliError):
        tell(f"error: {error}")
        return error.exit_code
    again = "" if debug else "; run the same command with --debug for the traceback, and report it"
    tell(f"error: a bug of ours, {type(error).__name__}: {error}{again}")
    return 1
