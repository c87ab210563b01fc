"""Numbers as text of the page. Anything but a finite number is a dash."""

from __future__ import annotations

import math
from collections.abc import Callable

DASH = "–"


def finite(value: object) -> float | None:
    """Return `value` if it is a finite number, else None."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]


def shown(value: object, how: Callable[[float], str]) -> str:
    """Return `how` of a finite number, with a minus sign as wide as a plus sign; a dash for anything else."""
    number = finite(value)
    return DASH if number is None else how(number).replace("-", "−")


def measure(value: object) -> str:
    """Format the value of a metric."""
    return shown(value, lambda number: f"{number:.4f}")


def change(value: object) -> str:
    """Format a difference between two values of a metric."""
    return shown(value, lambda number: f"{round(number, 4) + 0.0:+.4f}")  # never -0.0000


def probability(value: object) -> str:
    """Format a p value."""
    return shown(value, lambda p: f"{p:.4f}" if p >= 0.0001 else "<0.0001")


def share(value: object) -> str:
    """Format a share in percent; between 0 and 1 % with one decimal."""
    return shown(value, lambda part: f"{part:.1%}" if 0 < part < 0.01 else f"{part:.0%}").replace("%", " %")


def count(value: object) -> str:
    """Format a count with thousands separators; below 10 with one decimal unless it is whole."""
    return shown(value, lambda n: f"{n:,.0f}" if n >= 10 or n == int(n) else f"{n:.1f}")


def plain(value: object) -> str:
    """Format any number as short as possible, with at most six digits."""
    return shown(value, lambda number: f"{number:.6g}")


def duration(value: object) -> str:
    """Format seconds in at most two units."""
    return shown(value, _duration)


def _duration(seconds: float) -> str:
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
