"""Comparisons with the first stage, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rankcli.report.numbers import change, finite, measure, probability

LEVEL = 0.05


class Comparison(NamedTuple):
    """One metric of one stage: its mean and, against the first stage, the difference, p, and Holm's adjusted p."""

    mean: float | None
    delta: float | None
    p: float | None
    p_holm: float | None

    @property
    def kind(self) -> str:
        """`better` or `worse` where the difference is significant, else `same`; empty where it was not tested."""
        p = self.p if self.p_holm is None else self.p_holm
        if p is None or self.delta is None:
            return ""
        return "same" if p >= LEVEL or not self.delta else "better" if self.delta > 0 else "worse"

    @property
    def words(self) -> str:
        """The outcome in words."""
        if self.kind == "same":
            return "no significant difference" if self.delta else "no difference"
        return f"significantly {self.kind}" if self.kind else "not tested"

    @property
    def answer(self) -> str:
        """The cell of a table for significance: yes with the direction, or no."""
        return {"": "–", "same": "no"}.get(self.kind, f"yes, {self.kind}")


def compared(split: Mapping[str, Any], stage: str, metric: str) -> Comparison:
    """Read the comparison of a stage in one metric from a split of `result.json`."""
    mean, first = (finite(_at(split, name, metric)) for name in (stage, "first_stage"))
    delta = None if mean is None or first is None else mean - first
    return Comparison(mean, delta, *(finite(_at(split, name, metric, stage)) for name in ("p", "p_holm")))


def sentence(split: Mapping[str, Any], stage: str, metric: str) -> str:
    """Describe the comparison in one sentence, also where values are missing."""
    found = compared(split, stage, metric)
    if found.mean is None or found.delta is None:
        return f"The result holds no {metric} of both the first stage and the {stage} run on test."
    first = found.mean - found.delta
    moves = "stays at" if not found.delta else "rises from" if found.delta > 0 else "falls from"
    to = f" (first stage) to {measure(found.mean)} ({stage})" if found.delta else f" ({stage})"
    relative = f", {round(100 * found.delta / first, 1) + 0.0:+.1f}\u00a0%".replace("-", "−") if first else ""
    gain = f": {change(found.delta)}{relative}, {found.words}" if found.delta else f": {found.words}"
    return f"{metric} on the test queries {moves} {measure(first)}{to}{gain}{_tested(found)}."


def _tested(found: Comparison) -> str:
    if found.p is None:
        return ""
    holm = f"; {_equals('Holm-adjusted p', found.p_holm)}" if found.p_holm is not None else ""
    return f" ({_equals('p', found.p)}{holm})"


def _equals(name: str, p: float | None) -> str:
    """Format `p = 0.0123`, without line breaks in it, or `p < 0.0001`."""
    written = probability(p)
    sign, value = ("<", written[1:]) if written.startswith("<") else ("=", written)
    return f"{name}\u00a0{sign}\u00a0{value}"


def _at(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree
