"""A contender that says what it hears."""

from __future__ import annotations

from benchmarks._turns import Turns

given = Turns()
print("this goes to stderr")
given.answer({"heard": given.task})
while (arguments := given.wait()) is not None:
    given.answer({"heard": arguments})
