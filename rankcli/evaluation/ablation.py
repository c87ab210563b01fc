"""Stages that are kept only if they pay: if the gain over what is kept before exceeds its standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Stage(NamedTuple):
    """A stage: the mean over queries with it, its gain over the stages kept before, the error of that, and if it stays.

    The first stage has no gain.
    """

    name: str
    value: float
    gain: float | None
    error: float | None
    kept: bool

    @classmethod
    def first(cls, name: str, values: Mapping[str, float]) -> Stage:
        """Return the stage that others are compared with."""
        return cls(name, float(np.mean(list(values.values()))), None, None, True)

    @classmethod
    def after(cls, name: str, values: Mapping[str, float], before: Mapping[str, float]) -> Stage:
        """Return a stage that is kept if its gain exceeds the standard error of the gain."""
        gains = np.array([value - before[qid] for qid, value in values.items()])
        gain = float(gains.mean())
        error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
        return cls(name, float(np.mean(list(values.values()))), gain, error, gain > error)


def ablation_table(stages: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the rows of a table of stages, the head first."""
    rows = [["stage", "mean", "gain", "error", "kept"]]
    for each in stages:
        compared = ["", ""] if each["gain"] is None else [f"{each['gain']:+.4f}", f"{each['error']:.4f}"]
        rows.append([each["name"], f"{each['value']:.4f}", *compared, "yes" if each["kept"] else "no"])
    return rows
