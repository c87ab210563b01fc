"""JSON Schema of a configuration file, made from the declarations that also check files."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from rankcli.config.hints import arms, dataclass_in, schema_of
from rankcli.config.recipes import NAMES
from rankcli.config.registry import KINDS, Registry
from rankcli.config.schema import RunConfig
from rankcli.config.validate import NAME, Option


def json_schema() -> dict[str, Any]:
    """JSON Schema of a configuration file: every section, and every component's options under `$defs`."""
    definitions = {kind: _kind_schema(registry) for kind, registry in KINDS.items()}
    top = _object_schema(RunConfig)
    paths = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    top["properties"]["extends"] = {**paths, "description": "files that this one is laid over, relative to it"}
    said = "values of several sections for few judged queries (`small`) or more, which the others are laid over"
    top["properties"]["recipe"] = {"enum": list(NAMES), "description": said}
    top["properties"]["extractor"].pop("default", None)
    top["required"] = ["data"]
    top["anyOf"] = [{"required": ["reranker"]}, {"required": ["recipe"]}]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "rankcli configuration"}
    return {**head, **top, "$defs": definitions}


def _kind_schema(registry: Registry) -> dict[str, Any]:
    """A component section: its name, or a mapping with its name and options."""
    names = [*registry.names(), *(alias for name in registry.names() for alias in registry.aliases(name))]
    sections = []
    for name in registry.builtins():
        section = _object_schema(registry.get(name))
        spelled = {"enum": [name, *registry.aliases(name)]}
        sections.append({**section, "properties": {"name": spelled, **section["properties"]}})
    other = {"name": {"type": "string", "not": {"enum": names}}}  # of another package: its options are unknown
    others = {"type": "object", "properties": other, "required": ["name"]}
    return {"anyOf": [{"type": "string"}, *sections, others]}


def _object_schema(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    properties, required = {}, []
    for option in dataclasses.fields(cls):
        properties[option.name] = _option_schema(option, hints[option.name])
        if option.default is dataclasses.MISSING and option.default_factory is dataclasses.MISSING:
            required.append(option.name)
    about = " ".join((cls.__doc__ or "").split())
    return {
        "type": "object",
        "description": about,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _option_schema(option: Option, hint: Any) -> dict[str, Any]:
    inner, held = dataclass_in(hint)
    if "registry" in option.metadata:
        schema: dict[str, Any] = {"$ref": f"#/$defs/{option.metadata['registry']}"}
        if option.default == ():
            schema = {"type": "array", "items": schema}
    elif inner is not None:
        schema = _object_schema(inner)
        if held == "list":
            schema = {"type": "array", "items": schema}
        if held == "mapping":
            names = {"pattern": f"^{NAME.pattern}$"}
            schema = {"type": "object", "propertyNames": names, "additionalProperties": schema}
        if others := [arm for arm in arms(hint) if dataclass_in(arm)[0] is None]:
            schema = {"anyOf": [schema, *(schema_of(arm) for arm in others)]}
    else:
        schema = schema_of(hint)
    if option.metadata.get("help"):
        schema = {**schema, "description": option.metadata["help"]}
    if isinstance(option.default, (str, int, float, bool, tuple)):
        schema = {**schema, "default": option.default}
    return schema
