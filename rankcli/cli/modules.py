"""`rankcli modules`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from rankcli.cli import _complete
from rankcli.cli._command import Command
from rankcli.cli._options import common_options, json_option, to_json

if TYPE_CHECKING:
    from rankcli.config.registry import Registry


_WORDS = {
    "PositiveInt": "whole number from 1",
    "NonNegativeInt": "whole number from 0",
    "int": "whole number",
    "PositiveFloat": "number above 0",
    "float": "number",
    "NonNegativeFloat": "number from 0",
    "Probability": "number from 0 to 1",
    "Rate": "number from 0 to below 1",
    "Factor": "number above 0, at most 1",
    "bool": "true or false",
    "str": "text",
    "Any": "component",
    "Ramp": "schedule",
    "Places": "path or list of paths",
    "Folds": "section",
    "OneEncoder": "section",
}


@click.command(cls=Command)
@click.argument("kind", required=False, shell_complete=_complete.of_modules)
@click.argument("name", required=False, shell_complete=_complete.of_modules)
@json_option
@common_options
def command(kind: str | None, name: str | None, as_json: bool) -> None:
    """List the components that a configuration can name, or the options of one.

    `encoders` are what model directories may have, by the model type in their config.json. Components of other packages
    are listed without being imported.

    \b
    Example:
      rankcli modules
      rankcli modules samplers
      rankcli modules samplers LCE
      rankcli modules data
      rankcli modules encoders
    """
    kinds = _complete.all_kinds()
    kind, name = _meant(kind, name)
    if kind in _sections() or name is not None:
        found = _section(kind) if name is None else _component(kinds[kind], name)
        click.echo(to_json({"schema_version": 1, **found}) if as_json else _page(found))
    else:
        listed = {each: _names(kinds[each]) for each in ([kind] if kind else kinds)}
        click.echo(to_json({"schema_version": 1, **listed}) if as_json else _list(listed))


def _meant(kind: str | None, name: str | None) -> tuple[str, str | None]:
    """Return a kind or section, or an empty text for all, and a name: `reranker` is the kind `rerankers`, and a name
    alone is the component that has it.
    """
    from rankcli.config.nearest import did_you_mean

    listed = _complete.all_kinds()
    kinds = {_singular(each): each for each in listed} | {each: each for each in (*listed, *_sections())}
    if kind is None or kind in kinds:
        return kinds.get(kind or "", ""), name
    having = [each for each, registry in listed.items() if kind in registry.names()]
    if name is None and len(having) == 1:
        return having[0], kind
    if having and name is None:
        raise click.UsageError(f"{kind!r} is one of the {' and of the '.join(having)}: name the kind, too")
    hint = f"; {meant}" if (meant := did_you_mean(kind, kinds.values(), kinds)) else ""
    raise click.UsageError(f"no kind {kind!r}{hint} (there are: {', '.join((*listed, *_sections()))})")


def _singular(kind: str) -> str:
    return kind.removesuffix("es" if kind.endswith("sses") else "s")


def _sections() -> dict[str, type]:
    """The sections of a configuration that are no components."""
    from rankcli.config.schema import Data, Init, Metrics, MixtureOptions

    return {"data": Data, "metrics": Metrics, "init": Init, "mixture": MixtureOptions}


def _section(name: str) -> dict[str, Any]:
    from rankcli.config.registry import describe

    options = _sections()[name]
    return {"kind": "section", "name": name, "about": _text(options), "options": describe(options)}


def _text(options: type) -> str:
    return "\n".join(line.strip() for line in (options.__doc__ or "").strip().split("\n"))


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
    named = {"kind": registry.kind, "name": name, "aliases": registry.aliases(name)}
    if registry.kind == "encoders":  # their options are those of a config.json
        return {**named, "about": _text(options), "options": []}
    return {**named, "version": options.version, "about": _text(options), "options": describe(options)}


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
    known = f" (also {', '.join(found['aliases'])})" if found.get("aliases") else ""
    version = f", version {found['version']}" if "version" in found else ""
    lines = [f"{found['kind']} {found['name']}{known}{version}", "", found["about"]]
    if found["options"]:
        lines += ["", "options"]
    for row in found["options"]:
        default = "needed" if row["required"] else f"default {_shown(row['default'])}"
        lines += [f"  {row['name']}: {_plain(row['type'])}, {default}", f"      {row['help']}"]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(kind: str) -> str:
    """Return the words for a type, such as `whole number from 1 or null` for `PositiveInt | None`."""
    parts = [part for part in re.split(r" \| (?![^\[]*\])", kind) if part != "None"]
    words = [_WORDS.get(part) or _plain_values(part) for part in parts]
    return " or ".join([*words, *(["null"] if "None" in kind.split(" | ") else [])])


def _plain_values(kind: str) -> str:
    if kind.startswith("Literal["):
        return ", ".join(re.findall("'([^']*)'", kind))
    return {"tuple": "list", "dict": "mapping by name"}.get(kind.partition("[")[0], "text")
