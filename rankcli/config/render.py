"""Configurations written out with every default; the output is a valid configuration again."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rankcli.config.registry import KINDS, Registry
from rankcli.config.schema import RunConfig

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)*")
_UNPRINTED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_RESERVED = {"true", "false", "null"}


def resolved(config: RunConfig) -> dict[str, Any]:
    """The whole configuration as plain values, every default written out."""
    return _options(config)


def section(registry: Registry, options: Any) -> dict[str, Any]:
    """One component as `{name: ..., option: ...}` with every option; `component_from` reads it back."""
    return {"name": registry.name_of(options), **_options(options)}


def _options(options: Any) -> dict[str, Any]:
    return {option.name: _plain(option, getattr(options, option.name)) for option in dataclasses.fields(options)}


def _plain(option: dataclasses.Field[Any], value: Any) -> Any:
    if "registry" in option.metadata and isinstance(value, tuple):
        return [_plain(option, each) for each in value]
    if "registry" in option.metadata and value is not None and not isinstance(value, str):
        return section(KINDS[option.metadata["registry"]], value)
    return _values(value)


def _values(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _options(value)
    if isinstance(value, Mapping):
        return {key: _values(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_values(child) for child in value]
    return value


def to_yaml(tree: Mapping[str, Any]) -> str:
    """Plain values as YAML of the strict subset, keys in the order given."""
    return "".join(f"{line}\n" for line, _, _ in _lines(tree))


def marked(config: RunConfig, provenance: Mapping[str, str] | None = None) -> list[str]:
    """The resolved configuration as lines of YAML. Values that are not the default have `*` before their line and the
    default in a comment after it. Required options are marked too, without a default.

    With `provenance` the comment also names the place where a value was set.
    """
    said, defaults = provenance or {}, dict(_defaults(config))
    lines = []
    for line, key, value in _lines(resolved(config)):
        notes = [f"from {said[key]}"] if key in said else []
        differs = key in defaults and value != defaults[key]
        if differs and defaults[key] is not dataclasses.MISSING:
            notes.insert(0, f"default: {_flow(defaults[key])}")
        lines.append(f"{'*' if differs else ' '} {line}" + (f"  # {', '.join(notes)}" if notes else ""))
    return lines


def changed(lines: Sequence[str]) -> list[str]:
    """Keep the lines of `marked` that differ from the default, with their section lines and the names of these
    sections.
    """
    kept: list[str] = []
    above: dict[int, list[str]] = {}  # by depth: the line of the section, and the line with its name
    for line in lines:
        mark, said = line[0], line[2:]
        depth = (len(said) - len(said.lstrip())) // 2
        above = {level: found for level, found in above.items() if level < depth}
        if said.endswith(":"):
            above[depth] = [said]
        elif said.lstrip().startswith("name: ") and mark == " " and depth - 1 in above:
            above[depth - 1].append(said)
        elif mark == "*":
            kept += [text for level in sorted(above) for text in above.pop(level)]
            kept.append(said)
    return kept


def _defaults(options: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key with its default, MISSING for a required option.

    Below a component, or a section under a name of the user's, the defaults are those of the options class found there.
    """
    for option in dataclasses.fields(options):
        key, value = f"{prefix}{option.name}", getattr(options, option.name)
        default = option.default_factory() if option.default_factory is not dataclasses.MISSING else option.default
        if dataclasses.is_dataclass(value):
            if "registry" in option.metadata and isinstance(default, str):
                yield f"{key}.name", default
            yield from _defaults(value, f"{key}.")
        elif isinstance(value, Mapping) and any(map(dataclasses.is_dataclass, value.values())):
            for name, child in value.items():
                yield from _defaults(child, f"{key}.{name}.")
        else:
            yield key, default if default is dataclasses.MISSING else _values(default)


def _lines(tree: Mapping[str, Any], indent: str = "", prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Lines of YAML, each with its dotted key and value: mappings in block style, lists in flow style."""
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_scalar(key)}:", dotted, None
            yield from _lines(value, indent + "  ", f"{dotted}.")
        else:
            yield f"{indent}{_scalar(key)}: {_flow(value)}", dotted, value


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(child)}" for key, child in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(child) for child in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value not in _RESERVED:
        return value
    # Quoted text of JSON is YAML too, except for characters that YAML does not print or reads as the end of a line.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _UNPRINTED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
