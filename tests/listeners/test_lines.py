"""Lines of single steps and of batches: what is in them, and a run that is killed and resumed has each once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankcli.config.load import load_config
from rankcli.errors import Interrupted
from rankcli.listeners._lines import Lines
from rankcli.records.interleave import read_examples
from rankcli.runs.prepare import prepare
from rankcli.verbs.train import train

WRITTEN = ["trainer.listeners=[{name: batches, every: 2}, {name: steps, every: 3}]", "trainer.batch=4"]
WRITTEN += ["trainer.itersize=16", "trainer.niters=2"]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_after_a_checkpoint_are_cut_off_and_missing_ones_are_told(tmp_path: Path, capsys) -> None:
    file = Lines(tmp_path / "lines")
    file.start()
    file.append([{"a": "é"}, {"a": 2}])
    state, content = file.state(), (tmp_path / "lines").read_bytes()
    file.append([{"a": 3}])
    again = Lines(tmp_path / "lines")
    again.restore(json.loads(json.dumps(state)))
    again.start()
    assert (tmp_path / "lines").read_bytes() == content and again.state() == state
    (tmp_path / "lines").write_bytes(content[:5])
    again.start()
    again.append([{"a": 4}])
    assert (tmp_path / "lines").read_bytes() == content[:5] + b'{"a": 4}\n'
    assert f"{len(content) - 5} bytes of what was written are gone" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["trainer.accumulate=2", "trainer.steps_per_execution=2"]])
def test_a_batch_has_the_ids_labels_and_scores_of_its_groups(tiny, tmp_path: Path, options: list[str]) -> None:
    """The scores are those that the loss was computed from: with a rate of 0, those of the model at the end."""
    asked = tiny("TFKNRM", *WRITTEN, "trainer.lr=0", "trainer.bertlr=0", *options)
    train(asked, out=tmp_path / "run")
    found = lines(tmp_path / "run/batches.jsonl")
    assert [each["step"] for each in found] == [step for step in (2, 4, 6, 8) for _ in range(4)]
    prepared = prepare(asked)
    with prepared.sets.used_by("test", "test") as use:
        drawn = list(read_examples(use("train")))
    wanted = [drawn[(step - 1) * 4 + n] for step in (2, 4, 6, 8) for n in range(4)]
    assert [(each["query"], each["documents"]) for each in found] == [(e.qid, list(e.docids)) for e in wanted]
    assert [each["labels"] for each in found] == [example.labels.tolist() for example in wanted]
    by_pair: dict[tuple[str, str], set[float]] = {}
    for each in found:
        for docid, score in zip(each["documents"], each["scores"], strict=True):
            by_pair.setdefault((each["query"], docid), set()).add(round(score, 5))
    assert len(by_pair) > 20 and all(len(scores) == 1 for scores in by_pair.values())
    assert len({score for scores in by_pair.values() for score in scores}) > 10
    steps = lines(tmp_path / "run/steps.jsonl")
    assert [each["step"] for each in steps] == [3, 6] and all(each["loss"] > 0 for each in steps)


def test_a_run_that_was_killed_has_every_line_once(tiny, tmp_path: Path, stop_after) -> None:
    """With a checkpoint at step 4: the lines of steps 5 to 7 are written, cut off, and written again."""
    asked = tiny("TFKNRM", *WRITTEN, "trainer.checkpointsteps=0")
    train(asked, out=tmp_path / "whole")
    stop_after(7)
    with pytest.raises(Interrupted):
        train(asked, out=tmp_path / "parts")
    train(asked, out=tmp_path / "parts")
    for name in ("batches.jsonl", "steps.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_they_do_not_change_the_run(tiny, tmp_path: Path) -> None:
    plain, written = tiny("TFKNRM"), tiny("TFKNRM", WRITTEN[0])
    assert prepare(plain).identity.run_id == prepare(written).identity.run_id
    assert load_config([tmp_path / "TFKNRM.yaml"], WRITTEN[:1])[0].trainer.listeners[0].every == 2


def test_two_tasks_are_told_apart(tiny, tmp_path: Path) -> None:
    tasks = "{list: {sampler: {name: LCE, nneg: 3}, batch: 1}, pairs: {sampler: pair, loss: bce, batch: 3}}"
    options = ["trainer={name: multiple, batch: 0, itersize: 8, niters: 1, threshold: 5, strategy: cpu, lr: 1e-2}"]
    asked = tiny(
        "TFKNRM", *options, f"trainer.tasks={tasks}", "trainer.listeners=[{name: batches, every: 2}]", "sampler.nneg=7"
    )
    train(asked, out=tmp_path / "run")
    found = lines(tmp_path / "run/batches.jsonl")
    assert [(each["task"], len(each["documents"]), len(each["scores"])) for each in found] == [
        ("list", 4, 4),
        *[("pairs", 1, 1)] * 3,
    ]
