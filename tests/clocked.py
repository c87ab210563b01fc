"""The values in a training's files that come from the clock and differ between trainings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

CLOCKED = frozenset(
    "seconds time train_seconds pairs_per_second tokens_per_second padding_share waiting_share checksum".split()  # noqa: SIM905
)


def without_clock(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of `metrics.jsonl`, or a result, without what differs."""
    return {key: value for key, value in entry.items() if key not in CLOCKED}


def metrics(data: bytes) -> list[dict[str, Any]]:
    """The entries of `metrics.jsonl` without what differs."""
    return [without_clock(json.loads(line)) for line in data.splitlines()]
