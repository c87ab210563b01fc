"""`rankcli modules`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import click

from rankcli.cli import _complete
from rankcli.cli._command import Command
from rankcli.cli._options import common_options, json_option, to_json

if TYPE_CHECKING:
    from rankcli.config.registry import Registry


@click.command(cls=Command)
@click.argument("kind", required=False, shell_complete=_complete.of_modules)
@click.argument("name", required=False, shell_complete=_complete.of_modules)
@json_option
@common_options
def command(kind: str | None, name: str | None, as_json: bool) -> None:
    """List the components that a configuration can name, or the options of one.

    Components of other packages are listed without being imported.

    \b
    Example:
      rankcli modules
      rankcli modules samplers
      rankcli modules samplers LCE
    """
    from rankcli.config.registry import KINDS

    if kind is not None and kind not in KINDS:
        close = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise click.UsageError(f"no kind {kind!r}{hint} (there are: {', '.join(KINDS)})")
    if kind is not None and name is not None:
        found = _component(KINDS[kind], name)
        click.echo(to_json({"schema_version": 1, **found}) if as_json else _page(found))
    else:
        listed = {each: _names(KINDS[each]) for each in ([kind] if kind else KINDS)}
        click.echo(to_json({"schema_version": 1, **listed}) if as_json else _list(listed))


def _names(registry: Registry) -> list[dict[str, Any]]:
    """Return every component of a kind with its first line; one of another package with the name of that package."""
    known = [(name, registry.aliases(name), _first_line(registry.get(name)), "rankcli") for name in registry.builtins()]
    others: list[tuple[str, list[str], str, str]] = [(name, [], "", home) for name, home in registry.plugins().items()]
    return [dict(zip(("name", "aliases", "about", "package"), row, strict=True)) for row in known + others]


def _first_line(options: type) -> str:
    return (options.__doc__ or "").strip().split("\n")[0]


def _component(registry: Registry, name: str) -> dict[str, Any]:
    from rankcli.config.registry import describe

    options: Any = registry.get(name)
    name = registry.canonical(name)
    return {
        "kind": registry.kind,
        "name": name,
        "aliases": registry.aliases(name),
        "version": options.version,
        "about": "\n".join(line.strip() for line in options.__doc__.strip().split("\n")),
        "options": describe(options),
    }


def _list(listed: dict[str, list[dict[str, Any]]]) -> str:
    lines: list[str] = []
    for kind, found in listed.items():
        lines += ["", kind] if lines else [kind]
        width = max((len(row["name"]) for row in found), default=0)
        for row in found:
            about = row["about"] if row["package"] == "rankcli" else f"(of {row['package']})"
            lines.append(f"  {row['name']:{width}}  {about}".rstrip())
    return "\n".join(lines)


def _page(found: dict[str, Any]) -> str:
    known = f" (also {', '.join(found['aliases'])})" if found["aliases"] else ""
    lines = [f"{found['kind']} {found['name']}{known}, version {found['version']}", "", found["about"]]
    if found["options"]:
        lines += ["", "options"]
    for row in found["options"]:
        default = "needed" if row["required"] else f"default {_shown(row['default'])}"
        lines += [f"  {row['name']}: {row['type']}, {default}", f"      {row['help']}"]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)
