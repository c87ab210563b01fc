"""A run directory that is used again: another test, all folds, other options."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.errors import ConfigError, TrainingError
from rankcli.runs import records
from rankcli.storage.claim import claimed
from rankcli.training import strategy
from rankcli.training.checkpoint import Checkpoints, _newest_first
from rankcli.training.loop import Loop
from rankcli.training.rates import Rates
from rankcli.verbs.train import train
from tests.checked import plain

QUICK = ("trainer.niters=1", "trainer.itersize=2")


def weights(out: Path) -> dict[str, bytes]:
    reader = tf.train.load_checkpoint(str(out / "checkpoints/iter-00001/ckpt"))
    keys = [key for key in reader.get_variable_to_shape_map() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    return {key: np.asarray(reader.get_tensor(key)).tobytes() for key in keys}


def test_a_finished_run_asked_for_another_test_is_tested_anew_and_not_trained(
    tiny, tmp_path: Path, monkeypatch, on_step, capsys
) -> None:
    def run(testthreshold: int) -> dict:
        found = train(tiny("TFKNRM", *QUICK, f"trainer.testthreshold={testthreshold}"), out=tmp_path / "run")["result"]
        assert found == plain((tmp_path / "run/result.json").read_text())
        return found

    first = run(20)
    on_step(lambda *_: pytest.fail("it trained"))
    second = run(1)
    assert "testing anew" in capsys.readouterr().err
    assert second["run_id"] == first["run_id"] and second["best"] == first["best"]
    assert second["splits"]["dev"] == first["splits"]["dev"]
    # with one candidate there is nothing to reorder
    assert second["splits"]["test"]["reranked"] == second["splits"]["test"]["first_stage"]
    monkeypatch.setattr(Loop, "fit", lambda _: pytest.fail("it tested again"))
    assert run(1) == second


def test_a_fold_trained_among_all_equals_the_fold_trained_alone(tiny, tmp_path: Path) -> None:
    train(tiny("crossencoder", *QUICK, "data.folds.fold=all"), out=tmp_path / "all")
    train(tiny("crossencoder", *QUICK, "data.folds.fold=1"), out=tmp_path / "alone")
    assert weights(tmp_path / "all/fold-1") == weights(tmp_path / "alone")
    assert (tmp_path / "all/fold-1/test.run").read_bytes() == (tmp_path / "alone/test.run").read_bytes()


def test_the_directory_of_one_run_is_refused_to_all_folds_and_overwrite_sets_it_aside_whole(
    tiny, tmp_path: Path
) -> None:
    every = tiny("TFKNRM", *QUICK, "data.folds.fold=all")
    for run in ("one", "all/fold-0"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="not a directory of all folds"):
        train(every, out=tmp_path / "one")
    train(every, out=tmp_path / "all", overwrite=True)
    assert (tmp_path / "all.old-1/fold-0/run.json").read_text() == "{}"
    assert sorted(path.name for path in (tmp_path / "all").glob("fold-*")) == ["fold-0", "fold-1", "fold-2"]


HALF = "tmp.4711.0123456789abcdef0123456789abcdef"


def test_what_a_killed_run_was_writing_is_gone_after_the_next(tiny, tmp_path: Path) -> None:
    """In a finished run, one of all folds, and one that was killed before its first file; never in what is no run."""
    one, every = tiny("TFKNRM", *QUICK), tiny("TFKNRM", *QUICK, "data.folds.fold=all")
    train(one, out=tmp_path / "one")
    train(every, out=tmp_path / "all")
    places = ["one", "one/best", "all", "all/fold-1", "new", "home", "home/best"]
    for place in places:
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / f"run.json.{HALF}").write_text("half")
    (tmp_path / "home/letter").write_text("mine")
    for config, out in ((one, "one"), (every, "all"), (one, "new")):
        train(config, out=tmp_path / out)
    with pytest.raises(ConfigError, match="not a run"):
        train(one, out=tmp_path / "home")
    left = [place for place in places if (tmp_path / place / f"run.json.{HALF}").exists()]
    assert left == ["home", "home/best"]


def test_a_directory_in_which_another_process_trains_is_refused_and_left_alone(tiny, tmp_path: Path) -> None:
    config = tiny("TFKNRM", *QUICK)
    (tmp_path / "run").mkdir()
    with claimed(tmp_path / "run", "run"):
        before = sorted((tmp_path / "run").iterdir())
        for overwrite in (False, True):
            with pytest.raises(ConfigError, match=rf"process {os.getpid()} of .* is training there") as refused:
                train(config, out=tmp_path / "run", overwrite=overwrite)
            assert refused.value.exit_code == 2 and refused.value.where == str(tmp_path / "run")
        assert sorted((tmp_path / "run").iterdir()) == before
    assert not list(tmp_path.glob("run.old-*"))
    (tmp_path / "run" / ".tmp.lock").write_text("process 1 of a machine that lost its power")
    train(config, out=tmp_path / "run")
    assert not (tmp_path / "run" / ".tmp.lock").exists() and (tmp_path / "run" / "result.json").exists()


def test_the_newest_checkpoint_is_known_by_its_numbers(tiny, tmp_path: Path) -> None:
    names = ["iter-00001", "iter-00001-step-999999", "iter-00001-step-1000000", "iter-00002", "iter-100000"]
    for name in [*names, "iter-00003.tmp.1.ab"]:
        (tmp_path / name).mkdir()
    assert [path.name for path in _newest_first(tmp_path)] == names[::-1]


def test_weights_spoiled_by_the_last_update_of_an_iteration_are_not_saved(tiny, tmp_path: Path, monkeypatch) -> None:
    """The loss of that step is finite; its update is not."""
    rates = Rates.__call__
    spoiled = {"bertlr": float("inf"), "lr": float("inf")}
    with monkeypatch.context() as patch:
        patch.setattr(
            Rates,
            "__call__",
            lambda self, step: {name: spoiled[name] if step == 1 else rate for name, rate in rates(self, step).items()},
        )
        with pytest.raises(TrainingError, match="after step 2, .* not finite") as failed:
            train(tiny("TFKNRM", "trainer.niters=3", "trainer.itersize=4"), out=tmp_path / "run")
    assert failed.value.exit_code == 5
    saved: list[int] = []
    save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda self, state, n: (saved.append(state.step), save(self, state, n)))
    train(tiny("TFKNRM", "trainer.niters=3", "trainer.itersize=4"), out=tmp_path / "run")
    assert saved == [2, 4, 6]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.decaytype=cosine", "trainer.decay=0.5"], "takes no decay"),
        (["trainer.decaytype=constant", "trainer.decay=0.5"], "takes no decay"),
        (["trainer.schedule=cosine", "trainer.decaytype=constant"], "either `schedule` or `decaytype`"),
        (["trainer.schedule={name: step, step_size: 3}", "trainer.decay=0.5"], "takes no decay"),
        (["trainer.seed=-1"], "seed must be from 0"),
        (["trainer.seed=4294967296"], "seed must be from 0"),
    ],
)
def test_options_that_would_be_ignored_or_crash_are_refused(tiny, overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny("TFKNRM", *overrides)


def test_a_schedule_of_its_own_and_the_largest_seed_are_taken(tiny, tmp_path: Path) -> None:
    config = tiny("TFKNRM", *QUICK, "trainer.itersize=8", "trainer.schedule=cosine", "trainer.seed=4294967295")
    assert config.trainer.factor()(0) == 1.0 and config.trainer.factor()(config.trainer.steps - 1) < 1.0
    assert train(config, out=tmp_path / "run")["result"]["best"]["ndcg_cut_10"]["path"] == "best/ndcg_cut_10"


def test_a_batch_that_cannot_be_dealt_to_the_devices_is_a_usage_error(tiny, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(strategy, "make_strategy", lambda *_: SimpleNamespace(num_replicas_in_sync=2))
    monkeypatch.setattr(records, "convert", lambda *_: pytest.fail("it converted first"))
    with pytest.raises(ConfigError, match="3 groups cannot be dealt evenly to 2 devices") as refused:
        train(tiny("TFKNRM", "trainer.batch=3"), out=tmp_path / "run")
    assert refused.value.exit_code == 2


def test_finite_weights_that_give_infinite_scores_end_a_training_with_5(tiny, tmp_path: Path) -> None:
    """The first update takes the weights to 1e38, whose sums overflow."""
    overrides = ["trainer.niters=2", "trainer.itersize=2", "trainer.warmupiters=0", "trainer.lr=1e38"]
    with pytest.raises(TrainingError, match="the score of document .* for query .* of dev is -?(inf|nan)") as failed:
        train(tiny("TFKNRM", *overrides), out=tmp_path / "run")
    assert failed.value.exit_code == 5
