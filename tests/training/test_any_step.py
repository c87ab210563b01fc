"""A training that is restored at any of its steps goes on with the same samples and losses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from rankcli.backend import tf
from rankcli.training.base import State
from rankcli.training.checkpoint import _newest_first
from rankcli.training.divergence import groups_of
from rankcli.training.loop import Loop
from rankcli.verbs.train import train
from tests.faults.project import counts

Seen = dict[int, tuple[Any, str, float]]


@counts("every", small=[9], full=[1])
def test_what_follows_any_of_fifty_steps_is_the_same(tiny, tmp_path: Path, monkeypatch, on_step, every: int) -> None:
    """Ids of queries and documents, tokens, and the loss of each step, with dropout on."""
    seen: Seen = {}
    loops: list[Loop] = []
    step, fit = Loop._train_on, Loop.fit

    def train_on(self: Loop, batches: list[Any], state: State) -> dict[str, str]:
        number = state.step
        fields = step(self, batches, state)
        arrays = hashlib.sha256(b"".join(leaf.tobytes() for leaf in tf.nest.flatten(batches))).hexdigest()
        groups = groups_of(self.ctx.train, {name: self.options.batch for name in self.ctx.train}, number)
        ids = [(task, group.qid, group.docids) for task, group in groups]
        seen[number] = (ids, arrays, seen.pop(-1)[2])
        return fields

    monkeypatch.setattr(Loop, "_train_on", train_on)
    on_step(lambda now, done: seen.update({-1: ("", "", float(done["loss"]))}))
    monkeypatch.setattr(Loop, "fit", lambda self: (loops.append(self), fit(self))[1])
    options = ("trainer.niters=2", "trainer.itersize=50", "trainer.checkpointsteps=1", "trainer.keep=50")
    train(tiny("crossencoder", *options), out=tmp_path / "run")
    whole = dict(seen)
    assert sorted(whole) == list(range(50)) and len({loss for *_, loss in whole.values()}) == 50
    (loop,), checkpoints = loops, _newest_first(tmp_path / "run/checkpoints")
    assert len(checkpoints) == 50
    for checkpoint in checkpoints[::every]:
        seen.clear()
        state = loop.checkpoints._load(checkpoint, 25)
        begin = state.step
        for batches in loop._batches(begin):
            loop._train_on(batches, state)
        assert seen == {number: found for number, found in whole.items() if number >= begin}, checkpoint.name
        assert state.step == 50
