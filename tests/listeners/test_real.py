"""Listeners in real trainings, interrupted and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankcli.backend import tf
from rankcli.errors import Interrupted
from rankcli.listeners.tensorboard import scalars
from rankcli.verbs.train import train

WATCHED = (
    "trainer.listeners=[{name: validation, metrics: [ndcg_cut_10, map], patience: 1, min_delta: 2.0},"
    " {name: heldout, groups: 8}]"
)


def test_an_interrupted_run_stops_as_the_whole_one_does_and_draws_every_step_once(
    tiny, tmp_path: Path, stop_after, capsys
) -> None:
    """No value is better by 2: patience is used up after the first iteration."""
    asked = tiny("TFKNRM", "trainer.itersize=4", WATCHED, "trainer.boardname=mine")
    whole = train(asked, out=tmp_path / "whole")["result"]
    for step in (1, 2):
        stop_after(step)
        with pytest.raises(Interrupted):
            train(asked, out=tmp_path / "parts")
    capsys.readouterr()
    parts = train(asked, out=tmp_path / "parts")
    assert "stopped early, after iteration 1: validation: ndcg_cut_10 of dev has not risen above" in parts["text"]
    clocked = ("train_seconds", "pairs_per_second", "seconds")
    assert {key: value for key, value in parts["result"].items() if key not in clocked} == {
        key: value for key, value in whole.items() if key not in clocked
    }
    assert whole["stopped"]["iter"] == 1 and whole["last"] == {"iter": 1, "step": 2, "path": "checkpoints/iter-00001"}
    assert (tmp_path / "parts" / whole["last"]["path"] / "state.json").exists()
    assert list(whole["listeners"]) == ["validation", "heldout", "watch"]
    assert whole["listeners"]["validation"]["best"] == whole["best"] and set(whole["best"]) == {"ndcg_cut_10", "map"}
    assert {"conversion", "test", "steps", "validation", "checkpoints"} <= set(whole["seconds"])
    for name in ("whole", "parts"):
        entries = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        assert 0 < entries[0]["heldout"]["loss"] != entries[2]["heldout"]["loss"]
        assert [entry["iter"] for entry in entries] == [0, 1, 1] and set(entries[1]["grad_norm"]) == {"bertlr", "lr"}
        (file,) = (tmp_path / name / "tensorboard/mine").glob("events*")
        drawn = [
            (value.tag, event.step)
            for event in tf.compat.v1.train.summary_iterator(str(file))
            for value in event.summary.value
            if value.metadata.plugin_data.plugin_name != "hparams"
        ]
        wanted = [(tag, entry["step"]) for entry in entries for tag, _ in scalars(entry)]
        assert drawn == [*wanted, ("best/ndcg_cut_10", 2), ("best/map", 2)]
    page = (tmp_path / "whole/report.html").read_text()
    assert "Not recorded" not in page
