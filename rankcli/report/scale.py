"""Places of values on an axis."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A linear scale from the value `low`, drawn at `start`, to the value `high`, drawn at `end`; ticks are multiples
    of `step`.
    """

    low: float
    high: float
    start: float
    end: float
    step: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of `value`."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Multiples of `step` from `low` to `high`."""
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [number * self.step for number in range(first, last + 1)]

    def label(self, tick: float) -> str:
        """Format a tick with enough digits to distinguish it from its neighbours; in powers of ten if values are below
        a thousandth or from a million on.
        """
        power = math.floor(math.log10(self.step) + 1e-9)
        largest = max(abs(self.low), abs(self.high))
        if largest < 1e-3 or largest >= 1e6:
            return f"{tick:.{max(math.floor(math.log10(largest)) - power, 0)}e}".replace("-", "−") if tick else "0"
        return f"{tick:,.{max(-power, 0)}f}".replace("-", "−")


def fitted(low: float, high: float, start: float, end: float, wanted: int = 4, whole: bool = False) -> Scale:
    """Return a scale that contains `low` to `high` and ends on ticks, about `wanted` of them; `whole` ticks are
    integers.
    """
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):  # a single value gets room on both sides
        room = 1.0 if whole or not low else abs(low) * 0.1
        low, high = low - room, high + room
    step = max(_nice((high - low) / wanted), 1.0 if whole else 0.0)
    return Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, start, end, step)


def _nice(step: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is at least `step`."""
    power = math.floor(math.log10(step))
    candidates = (float(f"{factor}e{power}") for factor in (1, 2, 5, 10))
    return next(candidate for candidate in candidates if candidate >= step * (1 - 1e-9))
