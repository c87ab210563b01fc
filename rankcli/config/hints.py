"""Declared types of options: checked, as JSON Schema, and in words. The only importer of pydantic."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
_BOUNDS: dict[type, tuple[str, str]] = {
    Gt: ("above", "gt"),
    Ge: ("of at least", "ge"),
    Lt: ("below", "lt"),
    Le: ("of at most", "le"),
}


def taken(hint: Any, text: str) -> Any:
    """Parse JSON `text` as a value of the declared type, strictly; ValueError if it is none."""
    return _adapter(hint).validate_json(text)


def schema_of(hint: Any) -> dict[str, Any]:
    """JSON Schema of a type that contains none of our dataclasses."""
    return _adapter(hint).json_schema()


@functools.cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def arms(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union, else the type itself."""
    hint = _bare(hint)
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def dataclass_in(hint: Any) -> tuple[type | None, str]:
    """The dataclass in a type, and its form: one (`Folds | None`: `one`), a list (`tuple[Group, ...]`: `list`) or some
    under names (`dict[str, DevSet]`: `mapping`). (None, `one`) if the type has no dataclass.
    """
    for arm in arms(hint):
        held = {tuple: "list", list: "list", dict: "mapping"}.get(get_origin(arm), "one")
        inner = arm if held == "one" else get_args(arm)[held == "mapping"]
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            return inner, held
    return None, "one"


def expected(hint: Any) -> str:
    """A declared type in words: `PositiveInt | None` is "a whole number above 0 or null"."""
    if get_origin(hint) is Annotated:
        bounds = [(_BOUNDS[type(item)], item) for item in hint.__metadata__ if type(item) in _BOUNDS]
        return expected(_bare(hint)) + "".join(f" {word} {getattr(item, key)}" for (word, key), item in bounds)
    if len(arms(hint)) > 1:
        return " or ".join(expected(arm) for arm in arms(hint))
    if get_origin(hint) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) in (tuple, list):
        return f"a list of {expected(get_args(hint)[0])}"
    if get_origin(hint) in (dict, Mapping, typing.Mapping):
        return f"a mapping to {expected(get_args(hint)[1])}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping ({', '.join(option.name for option in dataclasses.fields(hint))})"
    return _WORDS.get(hint, str(hint))
