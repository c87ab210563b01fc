"""Checkpoints within and after iterations, and batches whose numbers are not finite, through the real pipeline."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rankcli.cli import run
from rankcli.listeners.base import Moment
from rankcli.runs.prepare import prepare
from rankcli.shapes import Sample
from rankcli.training.checkpoint import Checkpoints
from rankcli.verbs.train import train
from tests.training.test_loop import lines, tensors

OFTEN = ("trainer.checkpoint_interval=3", "trainer.checkpointsteps=4", "trainer.keep=3")


def test_checkpoints_within_and_after_iterations_and_what_a_kill_costs(
    tiny, tmp_path: Path, monkeypatch, on_step
) -> None:
    """Three steps per iteration: checkpoints at multiples of 4 and after the third and the last iteration."""
    whole = train(tiny(), out=tmp_path / "whole")["result"]
    saved: list[int] = []
    save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda self, state, n: (saved.append(state.step), save(self, state, n)))

    def killed(now: Moment, done: Any) -> None:
        if now.step == 10:
            raise KeyboardInterrupt

    on_step(killed)
    with pytest.raises(KeyboardInterrupt):
        train(tiny("crossencoder", *OFTEN), out=tmp_path / "parts")
    assert saved == [4, 8, 9]
    steps: list[int] = []
    on_step(lambda now, done: steps.append(now.step))
    parts = train(tiny("crossencoder", *OFTEN), out=tmp_path / "parts")["result"]
    assert steps == [10, 11, 12] and saved == [4, 8, 9, 12]
    names = sorted(path.name for path in (tmp_path / "parts/checkpoints").iterdir())
    assert names == ["iter-00002-step-000008", "iter-00003", "iter-00004"]
    assert parts["run_id"] == whole["run_id"]
    assert tensors(tmp_path / "whole") == tensors(tmp_path / "parts")
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert (tmp_path / "whole/dev.run").read_bytes() == (tmp_path / "parts/dev.run").read_bytes()


Spoil = Callable[[Sequence[str]], list[str]]


@pytest.fixture
def spoil(tiny, tmp_path: Path) -> Spoil:
    """The command line of a run in which an unknown word, which is put in these queries, overflows the encoder.

    Its word embedding is as large as a float32 can be: the weights are finite, the loss is not.
    """
    letters = "extractor.vocab_size=100"  # enough for all letters of the collection
    train(tiny("crossencoder", letters, "trainer.niters=1", "trainer.itersize=2"), out=tmp_path / "first")
    model = tmp_path / "first/best/map"
    found = {name: np.array(value) for name, value in load_file(model / "model.safetensors").items()}
    (name,) = (name for name in found if name.endswith("word_embeddings.weight"))
    found[name][(model / "vocab.txt").read_text().split("\n").index("[UNK]")] = 3e38
    save_file(found, model / "model.safetensors", {"format": "pt"})
    text = re.sub("(?m)^reranker:.*", f"reranker: {{name: crossencoder, pretrained: {model}}}", config(tmp_path))
    (tmp_path / "run.yaml").write_text(re.sub(", vocab_size: 60", "", text))

    def spoiled(qids: Sequence[str]) -> list[str]:
        rows = [json.loads(line) for line in (tmp_path / "queries.jsonl").read_text().splitlines()]
        rows = [{**row, "text": row["text"] + " жж" * (row["_id"] in qids)} for row in rows]
        (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return ["train", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run")]

    return spoiled


def config(folder: Path) -> str:
    return (folder / "crossencoder.yaml").read_text()


def named(samples: list[Sample]) -> str:
    return "\n".join(f"  query {sample.qid}, documents {' '.join(sample.docids)}" for sample in samples)


def test_a_batch_that_is_not_finite_is_named_and_stops_the_run_or_is_skipped(
    spoil: Spoil, tmp_path: Path, capsys, tiny
) -> None:
    """First with `stop`, the default; then the same run goes on with `skip` and counts what it leaves out."""
    prepared = prepare(tiny())
    samples = [prepared.sets["train"].sampler(n) for n in range(24)]
    qids = [[sample.qid for sample in samples[2 * step : 2 * step + 2]] for step in range(12)]
    first = {qid: next(n for n, batch in enumerate(qids) if qid in batch) for batch in qids for qid in batch}
    bad = max(first, key=lambda qid: first[qid])
    steps, at = [n for n, batch in enumerate(qids) if bad in batch], first[bad]
    assert at > 0
    args = spoil([bad])
    assert run([*args, "trainer.checkpointsteps=1"]) == 5
    said = capsys.readouterr().err
    found = re.search(r"error: \S+/run: the loss of step (\d+) is nan; its batch:\n((?:  query .*\n)+)", said)
    assert found is not None and int(found[1]) == at + 1
    assert found[2] == named(samples[2 * at : 2 * at + 2]) + "\n"
    kept = sorted((tmp_path / "run/checkpoints").iterdir())
    assert json.loads((kept[-1] / "state.json").read_text())["step"] == at
    assert run([*args, "trainer.on_nan=skip"]) == 0
    said = capsys.readouterr().err
    assert f"resuming at step {at} of 12" in said
    for n in steps:
        batch = named(samples[2 * n : 2 * n + 2])
        assert f"warning: the loss of step {n + 1} is nan; this batch is left out:\n{batch}\n" in said
    assert said.count("this batch is left out") == len(steps)
    skipped = [entry["skipped"] for entry in lines(tmp_path / "run") if "skipped" in entry]
    assert skipped == [sum(3 * i <= n < 3 * (i + 1) for n in steps) for i in range(4)]
    trained = [entry["loss"] for entry in lines(tmp_path / "run") if "skipped" in entry]
    assert [loss is None for loss in trained] == [count == 3 for count in skipped]
    state = json.loads((tmp_path / "run/checkpoints/iter-00004/state.json").read_text())
    assert state["unusable"] == next(n for n in range(12) if 11 - n not in steps)


def test_skipping_gives_up_after_twenty_batches_in_a_row(spoil: Spoil, tmp_path: Path, capsys, tiny) -> None:
    """They are counted on when the run is started again."""
    prepared = prepare(tiny("crossencoder", "trainer.itersize=100"))
    last = named([prepared.sets["train"].sampler(n) for n in (40, 41)])
    args = [*spoil(prepared.dataset.split["train"]), "trainer.itersize=100"]
    assert run([*args, "trainer.on_nan=skip", "trainer.checkpointsteps=8"]) == 5
    said = capsys.readouterr().err
    assert said.count("this batch is left out") == 20
    assert f"the loss of step 21 is nan, as were the 20 before; its batch:\n{last}" in said
    state = json.loads((tmp_path / "run/checkpoints/iter-00000-step-000016/state.json").read_text())
    assert (state["step"], state["skipped"], state["unusable"]) == (16, 16, 16)
    assert run([*args, "trainer.on_nan=skip", "trainer.checkpointsteps=8"]) == 5
    said = capsys.readouterr().err
    assert "resuming at step 16" in said and said.count("this batch is left out") == 4
    assert "the loss of step 21 is nan, as were the 20 before" in said
