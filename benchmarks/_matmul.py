"""The matrix products of an encoder, measured the same way with TensorFlow and with PyTorch (standard library only)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks._turns import Turns

SECONDS = 0.5  # spent on each product in a turn

Shape = tuple[int, int, int]  # rows, inner, columns


def encoder_shapes(rows: int, hidden: int, intermediate: int) -> list[Shape]:
    """The dense layers of an encoder layer over `rows` tokens: queries, keys and values; output; feed-forward."""
    return [
        (rows, hidden, 3 * hidden),
        (rows, hidden, hidden),
        (rows, hidden, intermediate),
        (rows, intermediate, hidden),
    ]


def flops(shape: Shape) -> int:
    """Floating-point operations of a product."""
    rows, inner, columns = shape
    return 2 * rows * inner * columns


def matmul_turns(turns: Turns, product: Callable[[int, int, int, str], Callable[[], Any]]) -> None:
    """In every turn the seconds of the fastest of many runs of each product of the task's `shapes`."""
    precision, shapes = turns.task["precision"], turns.task["shapes"]
    multiply = [product(rows, inner, columns, precision) for rows, inner, columns in shapes]
    for each in multiply:
        each()
    turns.answer({})
    while turns.wait() is not None:
        turns.answer({"seconds": [fastest(each) for each in multiply]})


def fastest(run: Callable[[], Any]) -> float:
    """The seconds of the fastest of the runs that fit into `SECONDS`."""
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best
