"""Events for TensorBoard, read back with its own reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rankcli.backend import tf
from rankcli.config.render import resolved, to_yaml
from rankcli.listeners.base import Moment
from rankcli.listeners.tensorboard import Board, TensorBoard
from tests.listeners.fakes import context

ENTRIES: list[dict[str, Any]] = [
    {"iter": 0, "step": 0, "dev": {"map": 0.5}, "time": {"validation": 1.0}},
    {
        "iter": 1,
        "step": 4,
        "loss": 2.0,
        "lr": {"lr": 0.5},
        "grad_norm": {"lr": 3.0},
        "skipped": 0,
        "time": {"steps": 1},
    },
    {"iter": 1, "step": 4, "dev": {"map": 0.25}, "dev/news": {"map": 0.75}},
    {"iter": 2, "step": 8, "loss": None, "lr": {"lr": 0.25}},
]
DRAWN = [
    *[
        ("dev/map", 0, 0.5),
        ("train/loss", 4, 2.0),
        ("lr/lr", 4, 0.5),
        ("grad_norm/lr", 4, 3.0),
        ("train/skipped", 4, 0),
    ],
    *[("dev/map", 4, 0.25), ("dev/news/map", 4, 0.75), ("lr/lr", 8, 0.25)],
]


def events(out: Path) -> Iterator[Any]:
    for file in sorted((out / "tensorboard/mine").glob("events*")):
        yield from tf.compat.v1.train.summary_iterator(str(file))


def drawn(out: Path) -> list[tuple[str, int, float]]:
    """Every number with its tag and step."""
    found = []
    for event in events(out):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name in ("scalars", ""):
                found.append((value.tag, event.step, float(tf.make_ndarray(value.tensor))))
    return found


def board(out: Path) -> Board:
    made = TensorBoard(boardname="mine").build(context(out))
    assert isinstance(made, Board)
    return made


def tell(listener: Board, entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        now = Moment(entry["iter"], entry["step"])
        if "dev" in entry:
            listener.after_validation(now, [], entry)
        else:
            listener.end_iteration(now, entry)


def test_every_number_of_metrics_jsonl_is_drawn_once(tmp_path: Path) -> None:
    listener = board(tmp_path)
    listener.start_training(Moment(0, 0), [])
    tell(listener, ENTRIES)
    assert drawn(tmp_path) == DRAWN


@pytest.mark.parametrize("known", range(4))
def test_a_run_that_goes_on_draws_no_step_twice(tmp_path: Path, known: int) -> None:
    before = board(tmp_path)
    before.start_training(Moment(0, 0), [])
    tell(before, ENTRIES)  # killed here; it goes on from an older checkpoint
    (tmp_path / "tensorboard/mine/notes.txt").write_text("not ours")
    after = board(tmp_path)
    after.start_training(Moment(0, 0), ENTRIES[:known])
    tell(after, ENTRIES[known:])
    assert drawn(tmp_path) == DRAWN
    assert (tmp_path / "tensorboard/mine/notes.txt").exists()


def test_options_and_best_metrics_are_told_at_the_end(tiny, tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import plugin_data_pb2

    (tmp_path / "config.yaml").write_text(to_yaml(resolved(tiny("TFKNRM", "trainer.lr=0.125"))))
    listener = board(tmp_path)
    listener.start_training(Moment(0, 0), ENTRIES[:2])
    tell(listener, ENTRIES[2:])
    listener.end_training(Moment(2, 8), False)
    assert drawn(tmp_path)[len(DRAWN) :] == [("best/map", 8, 0.5)]
    contents = [
        plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for event in events(tmp_path)
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "hparams"
    ]
    (said,) = [content.session_start_info.hparams for content in contents if content.HasField("session_start_info")]
    assert said["trainer.lr"].number_value == 0.125 and said["reranker.name"].string_value == "TFKNRM"
    assert said["trainer.fastforward"].bool_value and said["metrics.report"].string_value == "['map', 'RR@10']"
