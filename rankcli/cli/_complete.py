"""The words that a shell completes: keys and components of a configuration, kinds of components, metrics."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from rankcli.config.registry import Registry


def of_config(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a configuration file, the key of `KEY=VALUE`, or a component as its value.

    bash takes `=` for a word of its own, other shells do not.
    """
    before = [*(ctx.params.get("arguments") or ())]
    if len(before) > 1 and before[-1] == "=":
        return _starting(incomplete, _names(before[-2]))
    key, equals, _ = incomplete.partition("=")
    if equals:
        return _starting(incomplete, (f"{key}={name}" for name in _names(key)))
    return _starting(incomplete, (f"{key}=" for key in _keys())) or [CompletionItem(incomplete, type="file")]


def all_kinds() -> dict[str, Registry]:
    """Return the kinds of components that a configuration names, and the encoders."""
    from rankcli.config.registry import KINDS
    from rankcli.encoders.family import ENCODERS

    return {**KINDS, ENCODERS.kind: ENCODERS}


def of_modules(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the kind of a component, then its name."""
    kinds, kind = all_kinds(), ctx.params.get("kind")
    return _starting(incomplete, kinds if param.name == "kind" else kinds[kind].names() if kind in kinds else ())


def of_metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a metric, with the cutoff 10 where it has one."""
    from rankcli.config.metrics import examples

    return _starting(incomplete, examples())


def of_weights(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the weights that the run directory `--model` keeps."""
    out = Path(ctx.params.get("model") or ".")
    best = [f"best:{place.name}" for place in sorted(out.glob("best/*"))]
    found = [re.fullmatch(r"iter-0*(\d+)", place.name) for place in sorted(out.glob("checkpoints/*"))]
    return _starting(incomplete, ["best", "last", *best, *(f"iter:{match[1]}" for match in found if match)])


def _starting(incomplete: str, words: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _slots() -> dict[str, Registry]:
    """The sections of a configuration that name a component."""
    from rankcli.config.registry import KINDS
    from rankcli.config.schema import RunConfig

    sections = dataclasses.fields(RunConfig)
    return {each.name: KINDS[each.metadata["registry"]] for each in sections if "registry" in each.metadata}


def _names(section: str) -> list[str]:
    registry = _slots().get(section)
    return registry.names() if registry else []


def _keys() -> list[str]:
    """The sections and, dotted, their options; of a component those of all of its kind."""
    from rankcli.config.registry import describe
    from rankcli.config.schema import Data, Init, Metrics

    kinds: dict[str, list[type]] = {"data": [Data], "metrics": [Metrics], "init": [Init]}
    kinds |= {name: [registry.get(each) for each in registry.builtins()] for name, registry in _slots().items()}
    options = {f"{name}.{row['name']}" for name, every in kinds.items() for one in every for row in describe(one)}
    return sorted({*_slots(), *options})
