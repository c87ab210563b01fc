"""Registries: from names in a config to frozen dataclasses of options, which build their components.

A built-in component registers itself when its module is imported; every public module of the kind's package is a
component file, so adding one is adding a file. Third-party packages add theirs through entry points of the group
`rankcli.KIND`, which are looked up by name, and loaded, only when a config names them.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from rankcli.config.nearest import did_you_mean
from rankcli.errors import ConfigError, MissingError

Options = TypeVar("Options", bound=type)


class Registry:
    """Names of one kind of component (`rerankers`, `losses`, ...)."""

    def __init__(self, kind: str, base: str = "", package: str = "") -> None:
        """An empty registry for the modules of a package, `rankcli.KIND` by default.

        `base` is `MODULE:CLASS`, the class that all options of this kind derive from.
        """
        self.kind, self.base = kind, base
        self.package = package or f"rankcli.{kind}"
        self.noun = {"losses": "loss"}.get(kind, kind.removesuffix("s"))
        self._options: dict[str, type] = {}
        self._aliases: dict[str, str] = {}
        self._builtins: frozenset[str] = frozenset()
        self._complete = False

    def register(self, name: str, *, aliases: tuple[str, ...] = ()) -> Callable[[Options], Options]:
        """Class decorator: make frozen, keyword-only dataclass options known under `name` and its `aliases`."""

        def add(options: Options) -> Options:
            self.check(name, options)
            for taken in (name, *aliases):
                if taken in self._options or taken in self._aliases:
                    raise TypeError(f"{self.noun} {taken!r} is registered twice")
            self._options[name] = options
            self._aliases.update(dict.fromkeys(aliases, name))
            return options

        return add

    def check(self, name: str, options: type) -> None:
        """Raise TypeError unless `options` is a frozen, keyword-only dataclass with a docstring and a version."""
        params = getattr(options, "__dataclass_params__", None)
        if params is None or not params.frozen or not all(f.kw_only for f in dataclasses.fields(options)):
            raise TypeError(f"{self.noun} {name!r}: options must be a dataclass(frozen=True, kw_only=True)")
        if not options.__doc__ or not isinstance(getattr(options, "version", None), int):
            raise TypeError(
                f"{self.noun} {name!r}: options need a docstring and a class constant `version: ClassVar[int]`"
            )
        module, _, base = self.base.partition(":")
        if base and not issubclass(options, getattr(importlib.import_module(module), base)):
            raise TypeError(f"{self.noun} {name!r}: options must derive from {base} (of rankcli.api)")

    def get(self, name: str, *, where: str = "") -> Any:
        """The options class called `name`: built in, else of the entry point with that name.

        ConfigError if there is none or several, MissingError if the entry point cannot be loaded.
        """
        self._load_builtins()
        name = self.canonical(name)
        if name not in self._options:
            self._load_plugin(name, where)
        return self._options[name]

    def canonical(self, name: str) -> str:
        """The name that the alias `name` stands for, else `name`."""
        return self._aliases.get(name, name)

    def name_of(self, options: object) -> str:
        """The registered name of an options object (or class)."""
        kind = options if isinstance(options, type) else type(options)
        return next(name for name, known in self._options.items() if known is kind)

    def names(self) -> list[str]:
        """All names, plugins included; no plugin is imported."""
        self._load_builtins()
        return sorted({*self._options, *self.plugins()})

    def plugins(self) -> dict[str, str]:
        """The names that are not built in, each with the distribution that offers it; nothing is imported."""
        self._load_builtins()
        found = {point.name: point.dist.name if point.dist else point.value for point in self._plugins()}
        return {name: home for name, home in sorted(found.items()) if name not in self._builtins}

    def builtins(self) -> list[str]:
        """The names of the components that are part of rankcli."""
        self._load_builtins()
        return sorted(self._builtins)

    def aliases(self, name: str) -> list[str]:
        """The other names of `name`."""
        return sorted(alias for alias, target in self._aliases.items() if target == name)

    def _plugins(self) -> list[EntryPoint]:
        return list(entry_points(group=f"rankcli.{self.kind}"))

    def _load_builtins(self) -> None:
        if self._complete:
            return
        self._complete = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self.package}.{module.name}")
        self._builtins = frozenset(self._options)

    def _load_plugin(self, name: str, where: str) -> None:
        points = [point for point in self._plugins() if point.name == name]
        if len(points) > 1:
            homes = " and ".join(str(point.dist.name if point.dist else point.value) for point in points)
            raise ConfigError(f"{self.noun} {name!r} is offered by {homes}", where=where, fix="uninstall one of them")
        if not points:
            raise ConfigError(self._unknown(name), where=where)
        try:
            options = points[0].load()
            if name not in self._options:  # the plugin's module may have called register() itself
                self.register(name)(options)
        except Exception as error:  # code that is not ours may fail in any way
            raise MissingError(
                f"{self.noun} {name!r} of {points[0].value} cannot be loaded: {error!r}", where=where
            ) from error

    def _unknown(self, name: str) -> str:
        hint = f"; {meant}" if (meant := did_you_mean(name, [*self.names(), *self._aliases])) else ""
        return f"unknown {self.noun} {name!r}{hint} (there are: {', '.join(self.names())})"


RERANKERS = Registry("rerankers", "rankcli.rerankers.base:RerankerOptions")
EXTRACTORS = Registry("extractors", "rankcli.extractors.base:ExtractorOptions")
SAMPLERS = Registry("samplers", "rankcli.samplers.base:SamplerOptions")
TRAINERS = Registry("trainers", "rankcli.trainers.base:TrainerOptions")
LOSSES = Registry("losses", "rankcli.losses.base:LossOptions")
SCHEDULES = Registry("schedules")
OPTIMIZERS = Registry("optimizers")
SEARCHERS = Registry("searchers")
HOOKS = Registry("hooks", "rankcli.hooks.base:HookOptions")
LISTENERS = Registry("listeners")
HEADS = Registry("heads", "rankcli.heads.base:HeadOptions")
ADAPTERS = Registry("adapters", "rankcli.adapters.base:AdapterOptions")
SIGNALS = Registry("signals", "rankcli.signals.base:SignalOptions")
DATASETS = Registry("datasets", "rankcli.data.source:DatasetOptions")

KINDS: dict[str, Registry] = {
    registry.kind: registry
    for registry in (
        *(RERANKERS, EXTRACTORS, SAMPLERS, TRAINERS, LOSSES, SCHEDULES, OPTIMIZERS, SEARCHERS, HOOKS, LISTENERS),
        *(DATASETS, HEADS, ADAPTERS, SIGNALS),
    )
}


def describe(options: type, prefix: str = "") -> list[dict[str, Any]]:
    """The options of a component: name, type, default, `required` (the default is then None) and description.

    The options of a plain section inside follow under dotted names.
    """
    rows = []
    for option in dataclasses.fields(options):
        default = option.default_factory() if option.default_factory is not dataclasses.MISSING else option.default
        if dataclasses.is_dataclass(default):
            rows += describe(type(default), f"{prefix}{option.name}.")
            continue
        required = default is dataclasses.MISSING
        rows.append(
            {
                "name": prefix + option.name,
                "type": str(option.type),
                "default": None if required else default,
                "required": required,
                "help": option.metadata.get("help", ""),
            }
        )
    return rows


def path_options(options: Any, path: str, prefix: str = "") -> dict[str, Any]:
    """The values of the options that are paths of a kind (`file`, `folder`, `model`), by dotted name.

    Paths in plain sections are included, also in those under names of the user's; paths of components inside are not.
    """
    found: dict[str, Any] = {}
    for each in dataclasses.fields(options):
        value, name = getattr(options, each.name), f"{prefix}{each.name}"
        if each.metadata.get("path") == path:
            found[name] = value
        elif "registry" not in each.metadata:
            below = {f".{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {"": value}
            for key, one in below.items():
                found |= path_options(one, path, f"{name}{key}.") if dataclasses.is_dataclass(one) else {}
    return found


def option(default: Any = dataclasses.MISSING, help: str = "", *, path: str = "", identity: bool = True) -> Any:
    """A dataclass field with the description that `rankcli modules KIND NAME` prints; no default makes it required.

    `path="file"` marks a path of an existing file, relative to the config file; `path="folder"` a path that need not
    exist yet; `path="model"` a directory or else a hub id. All may be `gs://` URIs, which are looked for only when they
    are read. `identity=False` keeps the option out of cache and run ids: it must not change any result.
    """
    return dataclasses.field(default=default, metadata={"help": help, "path": path, "identity": identity})


def component(registry: Registry, default: Any, help: str = "") -> Any:
    """A field for another component: a name or `{name: ..., option: ...}` in a config, in Python its options."""
    return dataclasses.field(default=default, metadata={"help": help, "registry": registry.kind, "identity": True})


def components(registry: Registry, help: str = "") -> Any:
    """A field for any number of components in order: a list of values as in `component`."""
    return dataclasses.field(default=(), metadata={"help": help, "registry": registry.kind, "identity": True})
