"""Checkpoints of a small model: what is in them, which are kept, and what happens to those that do not load."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.errors import StorageError
from rankcli.training import checkpoint
from rankcli.training.base import State
from rankcli.training.checkpoint import Checkpoints
from rankcli.training.loss_scale import LossScale
from tests.faults.project import counts
from tests.training.linear import Linear, optimizers


class Small:
    """A model with slots, a loss scale, and checkpoints of them in `folder`; iterations have two steps."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.model = folder, Linear()
        self.parts, self.scale = optimizers(self.model, "adamw"), LossScale()
        states = [*(part.state for part in self.parts), self.scale.state]
        self.variables = [*self.model.variables.values(), *(v for state in states for v in state.variables)]
        self.checkpoints = Checkpoints(folder, "run", self.model.variables, states, keep)

    def save(self, step: int) -> None:
        """Fill all variables with a number that goes by the step, and save them."""
        for variable in self.variables:
            variable.assign(tf.cast(tf.fill(variable.shape, step + 0.5), variable.dtype))
        self.checkpoints.save(State(step=step, loss_sum=step / 3), 2)

    def restored(self) -> float | None:
        """The step that is restored, once all variables have its number."""
        state = self.checkpoints.restore(2)
        if state is None:
            return None
        assert state == State(step=state.step, loss_sum=state.step / 3)
        for variable in self.variables:
            assert np.all(variable.numpy() == np.asarray(state.step + 0.5).astype(variable.dtype.as_numpy_dtype))
        return state.step

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


def saved(folder: Path, *steps: int, keep: int = 2) -> Small:
    small = Small(folder, keep)
    with small.checkpoints:
        for step in steps:
            small.save(step)
    return small


def test_what_is_saved_is_what_there_was_however_fast_training_goes_on(tmp_path: Path, monkeypatch) -> None:
    """The thread waits until the variables have long changed."""
    small, write, changed = Small(tmp_path), checkpoint._write_tensors, []

    def late(snapshot: Any, building: Path) -> None:
        while not changed:
            pass
        write(snapshot, building)

    monkeypatch.setattr(checkpoint, "_write_tensors", late)
    small.save(1)
    assert not small.checkpoints.written() and "iter-00000-step-000001" not in small.names()
    for variable in small.variables:
        variable.assign_add(tf.ones_like(variable))
    changed.append(True)
    small.checkpoints.wait()
    assert small.names() == ["iter-00000-step-000001"] and Small(tmp_path).restored() == 1


def test_names_in_a_checkpoint_are_those_of_the_model_and_its_optimizers(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    slots = {
        f"optimizers/{n}/{name}"
        for n, path in enumerate(("encoder.Sw", "head.Sb"))
        for name in ("updates", f"slots/m/{path}", f"slots/v/{path}")
    }
    model = {"model/by_path/encoder.Sw", "model/by_path/head.Sb"}
    others = {"optimizers/2/scale", "optimizers/2/good"}
    found = set(tf.train.load_checkpoint(str(tmp_path / "iter-00001/ckpt")).get_variable_to_shape_map())
    assert found == {f"{name}{suffix}" for name in slots | model | others} | {"_CHECKPOINTABLE_OBJECT_GRAPH"}


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept(tmp_path: Path, keep: int) -> None:
    small = saved(tmp_path, 1, 2, 3, 4, keep=keep)
    names = ["iter-00000-step-000001", "iter-00001", "iter-00001-step-000003", "iter-00002"]
    assert small.names() == names[-keep:] and Small(tmp_path).restored() == 4


def test_a_good_checkpoint_is_not_removed_for_newer_ones_that_do_not_load(tmp_path: Path, capsys) -> None:
    """Three broken ones are newer than the last good one: they count for nothing, and none of them is deleted."""
    saved(tmp_path, 2, 3, 4, 5, keep=4)
    broken = ["iter-00001-step-000003", "iter-00002", "iter-00002-step-000005"]
    for name in broken:
        (tmp_path / name / "ckpt.data-00000-of-00001").write_bytes(name.encode())
    small = Small(tmp_path)
    assert small.restored() == 2
    said = capsys.readouterr().err
    assert all(f"{name}: this checkpoint does not load (" in said for name in broken)
    with small.checkpoints:
        small.save(3)
        small.checkpoints.wait()
        assert small.names() == ["iter-00001", broken[0], f"{broken[0]}.broken-1", *broken[1:]]
        small.save(4)
        small.save(6)
    expected = ["iter-00002", "iter-00002.broken-1", "iter-00002-step-000005", f"{broken[0]}.broken-1", "iter-00003"]
    assert small.names() == sorted(expected)
    for name in (f"{broken[0]}.broken-1", "iter-00002.broken-1", broken[2]):
        content = (tmp_path / name / "ckpt.data-00000-of-00001").read_bytes()
        assert content.decode() == name.removesuffix(".broken-1")
    assert Small(tmp_path).restored() == 6


def test_a_place_is_found_for_every_broken_checkpoint_of_one_name(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    for _ in range(2):
        shutil.copytree(tmp_path / "iter-00001", tmp_path / "iter-00002")
        (tmp_path / "iter-00002/state.json").write_text("[]")
        small = Small(tmp_path)
        with small.checkpoints:
            assert small.restored() == 2
            small.save(4)
        shutil.rmtree(tmp_path / "iter-00002")
    assert small.names() == ["iter-00001", "iter-00002.broken-1", "iter-00002.broken-2"]


def other_shape(folder: Path) -> None:
    model = tf.Module()
    model.by_path = {"encoder/w": tf.Variable([1.0, 2.0, 3.0]), "head/b": tf.Variable([0.5])}
    tf.train.Checkpoint(model=model).write(str(folder / "ckpt"))


def state(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**content, **changes}))


HARM = {
    "no state": lambda folder: (folder / "state.json").unlink(),
    "state cut": lambda folder: (folder / "state.json").write_text((folder / "state.json").read_text()[:-5]),
    "another step": lambda folder: state(folder, step=3),
    "another run": lambda folder: state(folder, run_id="another"),
    "another version": lambda folder: state(folder, schema_version=1),
    "deep state": lambda folder: (folder / "state.json").write_text("[" * 100_000),
    "not text": lambda folder: (folder / "state.json").write_bytes(b"\xff\xfe"),
    "no index": lambda folder: (folder / "ckpt.index").unlink(),
    "index empty": lambda folder: (folder / "ckpt.index").write_bytes(b""),
    "no data": lambda folder: (folder / "ckpt.data-00000-of-00001").unlink(),
    "data empty": lambda folder: (folder / "ckpt.data-00000-of-00001").write_bytes(b""),
    "data a directory": lambda folder: [
        (folder / "ckpt.data-00000-of-00001").unlink(),
        (folder / "ckpt.data-00000-of-00001").mkdir(),
    ],
    "other shapes": other_shape,
}


@pytest.mark.parametrize("harm", HARM)
def test_what_does_not_load_is_reported_with_its_reason_and_the_one_before_is_taken(
    tmp_path: Path, capsys, harm: str
) -> None:
    small = saved(tmp_path, 2, 4)
    HARM[harm](tmp_path / "iter-00002")
    assert Small(tmp_path).restored() == 2
    assert "iter-00002: this checkpoint does not load (" in capsys.readouterr().err
    assert small.names() == ["iter-00001", "iter-00002"]
    HARM[harm](tmp_path / "iter-00001")
    with pytest.raises(StorageError, match="none of the 2 checkpoints loads") as failed:
        Small(tmp_path).restored()
    assert failed.value.exit_code == 6 and small.names() == ["iter-00001", "iter-00002"]


@counts("flips", small=[60], full=[500])
def test_a_flipped_bit_is_found_or_harmless(tmp_path: Path, flips: int) -> None:
    """In the newest checkpoint, at random places: what is restored is it or the one before, never anything else."""
    draw, found = random.Random(3), []
    small = saved(tmp_path, 2, 4)
    files = sorted(path for path in (tmp_path / "iter-00002").iterdir() if path.is_file())
    before = {path: path.read_bytes() for path in files}
    for _ in range(flips):
        path = draw.choice(files)
        content = bytearray(before[path])
        bit = draw.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        found.append(small.restored())
        path.write_bytes(before[path])
    assert set(found) == {2, 4} and found.count(2) > flips // 2


def test_what_goes_wrong_in_the_thread_is_raised_by_the_next_call(tmp_path: Path, monkeypatch) -> None:
    small = saved(tmp_path, 2)

    def full(snapshot: Any, building: Path) -> None:
        raise OSError(28, "No space left on device", str(building))

    monkeypatch.setattr(checkpoint, "_write_tensors", full)
    calls: list[Callable[[Small], Any]] = [
        lambda small: small.checkpoints.wait(),
        lambda small: small.checkpoints.written(),
        lambda small: small.save(6),
    ]
    for call in calls:
        small = Small(tmp_path)
        small.save(4)
        assert small.checkpoints._writing is not None
        small.checkpoints._writing.exception()  # which waits for it
        with pytest.raises(StorageError, match="No space left on device") as failed:
            call(small)
        assert failed.value.exit_code == 6
    assert small.names() == ["iter-00001"] and Small(tmp_path).restored() == 2


def test_what_ends_a_training_is_not_hidden_by_a_checkpoint_that_fails_too(tmp_path: Path, monkeypatch, capsys) -> None:
    def full(snapshot: Any, building: Path) -> None:
        raise OSError(28, "No space left on device", str(building))

    monkeypatch.setattr(checkpoint, "_write_tensors", full)
    small = Small(tmp_path)
    with pytest.raises(KeyboardInterrupt), small.checkpoints:
        small.save(2)
        raise KeyboardInterrupt
    assert "warning:" in capsys.readouterr().err
    with pytest.raises(StorageError), Small(tmp_path).checkpoints as checkpoints:
        checkpoints.save(State(step=2), 2)
