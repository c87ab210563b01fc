"""Choose the settings of a searcher on judged queries: a grid that grows where the best setting is at its edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from rankcli.log import Progress

Setting = dict[str, float]


@dataclass(frozen=True)
class Axis:
    """Values of one option, ascending. Those from `low` to `high` are tried first."""

    values: tuple[float, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Tuned:
    """The best setting, and every setting that was tried with its value."""

    chosen: Setting
    table: tuple[tuple[Setting, float], ...]

    @property
    def value(self) -> float:
        """The value of the best setting."""
        return next(value for setting, value in self.table if setting == self.chosen)

    @property
    def edges(self) -> list[str]:
        """The options whose best value is the lowest or highest that was tried."""
        tried = {name: [setting[name] for setting, _ in self.table if name in setting] for name in self.chosen}
        return [name for name, best in self.chosen.items() if best in (min(tried[name]), max(tried[name]))]

    def then(self, other: Tuned) -> Tuned:
        """Return this choice with that of further options, which was made with the chosen ones of these."""
        table = (({**self.chosen, **setting}, value) for setting, value in other.table)
        return Tuned({**self.chosen, **other.chosen}, (*self.table, *table))


def tune(axes: Mapping[str, Axis], value: Callable[[Setting], float], near: Mapping[str, float]) -> Tuned:
    """Try a grid of settings; as long as the best one is at an edge beyond which an axis goes on, widen it there.

    Equal values go to the setting nearest to `near`, then to the smaller.
    """
    table: dict[tuple[float, ...], float] = {}
    grid = {name: (axis.low, axis.high) for name, axis in axes.items()}
    while todo := [each for each in _settings(axes, grid) if each not in table]:
        with Progress(len(todo), "tuning", "settings") as bar:
            for each in todo:
                table[each] = value(dict(zip(axes, each, strict=True)))
                bar.advance()
        best = min(table, key=lambda each: (-table[each], _distance(each, near.values()), each))
        grid = {name: _widened(axes[name], *grid[name], at) for name, at in zip(axes, best, strict=True)}
    rows = ((dict(zip(axes, each, strict=True)), found) for each, found in table.items())
    return Tuned(dict(zip(axes, best, strict=True)), tuple(rows))


def _settings(axes: Mapping[str, Axis], grid: Mapping[str, tuple[float, float]]) -> Iterator[tuple[float, ...]]:
    return product(*([v for v in axis.values if grid[name][0] <= v <= grid[name][1]] for name, axis in axes.items()))


def _distance(setting: tuple[float, ...], near: Iterable[float]) -> float:
    return sum(abs(have - want) for have, want in zip(setting, near, strict=True))


def _widened(axis: Axis, low: float, high: float, best: float) -> tuple[float, float]:
    """Return the range with the next value of the axis beyond an edge that is the best value."""
    lower = max((value for value in axis.values if value < low), default=low)
    higher = min((value for value in axis.values if value > high), default=high)
    return lower if best == low else low, higher if best == high else high
