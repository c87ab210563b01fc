"""Counts of the meter, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rankcli.shapes import Batch, Field, Layout
from rankcli.training.meter import Meter, _count


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def batch(pairs: int, lengths: tuple[int, ...], width: int) -> Batch:
    """A batch of `pairs` documents (and two places that pad) with sequences of some lengths in rows of `width`."""
    taken = np.arange(width) < np.array(lengths)[:, None]
    sequence = np.where(taken, 0, -1).astype(np.int32)
    layout = Layout(*(np.zeros(taken.shape, np.int32) for _ in range(3)), sequence, sequence, sequence)
    mask = np.arange(pairs + 2)[None] < pairs
    return Batch(mask, mask, {}, {"pair": Field(layout, np.zeros(len(lengths), np.int32))})


def step(meter: Meter, clock: Clock, waiting: float, seconds: float, *batches: Batch) -> None:
    clock.now += waiting
    meter.lap("waiting")
    meter.count([{"train": batch} for batch in batches])
    clock.now += seconds
    meter.lap("steps")


def test_rates_and_shares_of_an_iteration() -> None:
    clock = Clock()
    meter = Meter(clock)
    step(meter, clock, 1.0, 1.5, batch(3, (4, 2, 0), 4), batch(2, (3, 3), 5))
    step(meter, clock, 0.0, 2.5, batch(5, (8,), 8))
    # 10 pairs, 6 + 6 + 8 = 20 tokens on 12 + 10 + 8 = 30 places, in 5 s of which 1 s was waited
    assert meter.rates() == {
        "pairs_per_second": 2.0,
        "tokens_per_second": 4.0,
        "padding_share": 0.3333,
        "waiting_share": 0.2,
    }
    assert meter.rates() == {}  # nothing since
    step(meter, clock, 0.0, 0.5, batch(1, (1,), 1))
    assert meter.rates()["pairs_per_second"] == 2.0 and meter.fields()["pairs/s"] == "2.0"


def test_other_parts_are_in_the_times_but_in_no_rate() -> None:
    clock = Clock()
    meter = Meter(clock)
    clock.now += 7
    meter.lap("start")
    step(meter, clock, 0.5, 0.5, batch(4, (2,), 4))
    clock.now += 30
    meter.lap("validation")
    step(meter, clock, 0.5, 0.5, batch(4, (2,), 4))
    clock.now += 2
    meter.lap("checkpoints")
    assert meter.rates()["pairs_per_second"] == 4.0
    assert meter.times() == {"start": 7.0, "waiting": 1.0, "steps": 1.0, "validation": 30.0, "checkpoints": 2.0}
    assert meter.times() == {}


def test_the_fields_tell_of_the_last_ten_seconds() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert meter.fields() == {}
    step(meter, clock, 0.0, 60.0, batch(6, (4,), 4))  # the first step compiles
    assert meter.fields() == {"pairs/s": "0.1", "tokens/s": "0.1", "pad": "0%", "wait": "0%"}
    for _ in range(10):
        step(meter, clock, 0.25, 0.75, batch(812, (3,), 4))
    assert meter.fields() == {"pairs/s": "812", "tokens/s": "3.0", "pad": "25%", "wait": "25%"}


def test_features_without_tokens_have_rates_of_pairs_alone() -> None:
    clock = Clock()
    meter = Meter(clock)
    step(meter, clock, 1.0, 1.0, batch(4, (2,), 4)._replace(fields={}))
    assert meter.rates() == {"pairs_per_second": 2.0, "waiting_share": 0.5}


@pytest.mark.parametrize(
    ("number", "text"),
    [(8.06, "8.1"), (9.96, "10.0"), (812.4, "812"), (9876, "9876"), (104_000, "104k"), (1_240_000, "1.2M")],
)
def test_counts_are_short(number: float, text: str) -> None:
    assert _count(number) == text
