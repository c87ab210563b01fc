"""`rerank` after a real training: equal to the training's own test, whole, and told of leakage."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.config.schema import RunConfig
from rankcli.data.trec import RunFile, ranking, read_run, write_query
from rankcli.errors import ConfigError, DataError, MissingError, StorageError
from rankcli.runs import stream
from rankcli.training.predict import Predictor
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train
from tests.checked import forge

SETTINGS = ("trainer.niters=2", "metrics.report=[map]")


@pytest.fixture
def trained(tiny: Any, tmp_path: Path) -> RunConfig:
    """A TFKNRM in `run`, trained on the tiny collection, and a run of all queries in `bm25.run`."""
    config = tiny("TFKNRM", *SETTINGS)
    train(config, out=tmp_path / "run")
    files = [f"--docs={tmp_path / 'docs.jsonl'}", f"--queries={tmp_path / 'queries.jsonl'}"]
    assert run(["search", *files, f"--output={tmp_path / 'bm25.run'}"]) == 0
    return config


def given(folder: Path, run: str = "bm25.run") -> dict[str, str]:
    return {
        "docs": str(folder / "docs.jsonl"),
        "queries": str(folder / "queries.jsonl"),
        "run": str(folder / run),
    }


def held(folder: Path) -> set[str]:
    """The names in the cache folder, but for the hashes of inputs, which may be remembered later."""
    return {path.name for path in (folder / "cache").iterdir() if not path.name.startswith("input-hashes")}


def test_a_run_directory_reranks_its_own_test_to_the_same_bytes(trained: RunConfig, tmp_path: Path) -> None:
    done = rerank(model=str(tmp_path / "run"), output=tmp_path / "again.run", depth=trained.trainer.testthreshold)
    assert (tmp_path / "again.run").read_bytes() == (tmp_path / "run" / "test.run").read_bytes()
    assert done["result"]["queries"] == 4 and done["result"]["pairs"] == done["result"]["lines"]


def test_mix_auto_gives_the_interpolated_run_of_the_training_to_the_same_bytes(
    trained: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run" / "result.json"
    depth, model = trained.trainer.testthreshold, str(tmp_path / "run")
    alpha = json.loads(path.read_text())["alpha"]
    done = rerank(model=model, output=tmp_path / "mixed.run", depth=depth, mix="auto")
    assert (tmp_path / "mixed.run").read_bytes() == (tmp_path / "run" / "test.interpolated.run").read_bytes()
    assert done["result"]["alpha"] == alpha and f"alpha (weight of the reranker) {alpha:g}" in done["text"]
    monkeypatch.setattr(stream, "BLOCK", 1)  # every query is a block of its own
    rerank(model=model, output=tmp_path / "blocks.run", depth=depth, mix=alpha)
    whole, blocks = read_run(tmp_path / "mixed.run"), read_run(tmp_path / "blocks.run")
    for qid in whole:  # in batches of another shape
        assert blocks[qid] == pytest.approx(whole[qid], rel=1e-4, abs=1e-6)
    assert capsys.readouterr().err.count("warning") == 0
    rerank(model=model, output=tmp_path / "last.run", weights="last", mix="auto")
    assert "alpha was chosen for the best weights by ndcg_cut_10, not for last" in capsys.readouterr().err
    forge(path, lambda content: content.update(alpha=7))
    with pytest.raises(StorageError, match="alpha is 7, not a number from 0 to 1"):
        rerank(model=model, output=tmp_path / "out.run", mix="auto")


def test_mixed_scores_are_scaled_over_the_documents_that_were_scored(trained: RunConfig, tmp_path: Path) -> None:
    lines = "q0 Q0 gone 1 9.0 x\nq0 Q0 d1 2 8.0 x\nq0 Q0 d0 3 7.0 x\nq0 Q0 d2 4 1.0 x\nnobody Q0 d0 1 2.5 x\n"
    (tmp_path / "some.run").write_text(lines)
    files = given(tmp_path, "some.run")
    rerank(model=str(tmp_path / "run"), output=tmp_path / "out.run", depth=2, mix=0.0, **files)
    found = read_run(tmp_path / "out.run")
    assert found["q0"] == {"d1": 1.0, "d0": 0.0, "gone": -1.0, "d2": -2.0} and found["nobody"] == {"d0": 2.5}
    rerank(model=str(tmp_path / "run"), output=tmp_path / "plain.run", depth=2, **files)
    rerank(model=str(tmp_path / "run"), output=tmp_path / "out.run", depth=2, mix=1.0, **files)
    plain, mixed = (read_run(tmp_path / name)["q0"] for name in ("plain.run", "out.run"))
    assert ranking(mixed) == ranking(plain) and sorted(mixed.values()) == [-2.0, -1.0, 0.0, 1.0]


@pytest.mark.parametrize("model", ["run", "run/best/map"])
def test_a_run_that_is_not_finished_is_said_and_has_no_alpha(
    model: str, trained: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "result.json").unlink()
    rerank(model=str(tmp_path / model), output=tmp_path / "out.run", **given(tmp_path))
    assert capsys.readouterr().err.count("this training is not finished") == 1
    with pytest.raises(ConfigError, match="alpha is not known: this is not the directory of a finished run"):
        rerank(model=str(tmp_path / model), output=tmp_path / "out.run", mix="auto", **given(tmp_path))


def test_weights_are_best_last_by_metric_or_of_an_iteration(trained: RunConfig, tmp_path: Path) -> None:
    found = {}
    for weights in ("best", "best:map", "last", "iter:1", "iter:2"):
        rerank(model=str(tmp_path / "run"), weights=weights, split="dev", output=tmp_path / "w.run")
        found[weights] = (tmp_path / "w.run").read_bytes()
    assert found["last"] == found["iter:2"] != found["iter:1"]
    assert found["best"] in (found["iter:1"], found["iter:2"]) and found["best:map"] in found.values()
    rerank(model=str(tmp_path / "run"), weights="best:map", split="dev", output=tmp_path / "w.run")
    rerank(model=str(tmp_path / "run" / "best" / "map"), output=tmp_path / "all.run", **given(tmp_path))
    dev, whole = read_run(tmp_path / "w.run"), read_run(tmp_path / "all.run")
    for qid in dev:  # the same weights, in batches of another shape
        assert whole[qid] == pytest.approx(dev[qid], rel=1e-5)


def test_below_depth_documents_follow_in_first_stage_order_and_none_is_dropped(
    trained: RunConfig, tmp_path: Path
) -> None:
    rerank(model=str(tmp_path / "run"), output=tmp_path / "out.run", depth=3, **given(tmp_path))
    first, found = read_run(tmp_path / "bm25.run"), read_run(tmp_path / "out.run")
    assert found.keys() == first.keys() and len(first) == 12
    for qid in first:
        before, after = ranking(first[qid]), ranking(found[qid])
        assert set(after[:3]) == set(before[:3]) and after[3:] == before[3:]
    assert any(ranking(first[qid])[:3] != ranking(found[qid])[:3] for qid in first)


def test_what_has_no_text_is_kept_in_its_place_and_counted(
    trained: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "q0 Q0 gone 1 9.0 x\nq0 Q0 d1 2 8.0 x\nq0 Q0 d0 3 7.0 x\nnobody Q0 d0 1 2.5 x\nnobody Q0 d9 2 1.5 x\n"
    (tmp_path / "some.run").write_text(lines)
    rerank(model=str(tmp_path / "run"), output=tmp_path / "out.run", **given(tmp_path, "some.run"))
    found = read_run(tmp_path / "out.run")
    assert set(ranking(found["q0"])[:2]) == {"d0", "d1"} and ranking(found["q0"])[2] == "gone"
    assert found["nobody"] == {"d0": 2.5, "d9": 1.5}
    err = capsys.readouterr().err
    assert "some.run: 1 of 2 queries have no text, for example query 'nobody'; they are not scored" in err
    assert "some.run: 1 of 5 lines name a document without a text, for example document 'gone'" in err


def test_a_run_of_which_nothing_is_known_is_refused(trained: RunConfig, tmp_path: Path) -> None:
    for line, what in (
        ("nobody Q0 d0 1 2 x\n", "1 queries have no"),
        ("q0 Q0 gone 1 2 x\n", "1 lines name a document without a"),
    ):
        (tmp_path / "none.run").write_text(line)
        with pytest.raises(DataError, match=f"all of the run's {what} text"):
            rerank(model=str(tmp_path / "run"), output=tmp_path / "out.run", **given(tmp_path, "none.run"))
    assert not (tmp_path / "out.run").exists()


def test_a_run_is_reranked_in_its_order_and_blocks_change_nothing(
    trained: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_run(tmp_path / "bm25.run")
    order = sorted(first, key=lambda qid: qid[::-1], reverse=True)
    with (tmp_path / "turned.run").open("w") as file:
        for qid in order:
            write_query(file, qid, first[qid], "x")
    model = str(tmp_path / "run")
    rerank(model=model, output=tmp_path / "whole.run", **given(tmp_path, "turned.run"))
    whole = read_run(tmp_path / "whole.run")
    assert list(whole) == order != sorted(order)
    done, taken = [], []
    score = Predictor.score

    def noted(self: Predictor, examples: Any, bar: Any, **rest: Any) -> Any:
        done.append((len(taken), [example.qid for example in examples]))
        return score(self, examples, bar, **rest)

    def taking(path: Path) -> Iterator[tuple[str, dict[str, float]]]:
        for qid in order:
            taken.append(qid)
            yield qid, first[qid]

    monkeypatch.setattr(Predictor, "score", noted)
    monkeypatch.setattr(RunFile, "__iter__", taking)
    monkeypatch.setattr(stream, "BLOCK", 1 + max(map(len, first.values())))  # two queries, or the last one
    rerank(model=model, output=tmp_path / "blocks.run", **given(tmp_path, "turned.run"))
    assert [qids for _, qids in done] == [order[n : n + 2] for n in range(0, 12, 2)]
    surveyed, ahead = len(order), 4  # one block waits, and one is being made
    assert all(read - surveyed <= 2 * n + 2 + ahead for n, (read, _) in enumerate(done))
    found = read_run(tmp_path / "blocks.run")
    assert list(found) == order
    for qid in order:  # in batches of another shape
        assert found[qid] == pytest.approx(whole[qid], rel=1e-5)


def test_a_run_whose_queries_are_scattered_or_that_is_a_pipe_is_held_in_memory(
    trained: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, lines = str(tmp_path / "run"), (tmp_path / "bm25.run").read_text().splitlines(keepends=True)
    rerank(model=model, output=tmp_path / "out.run", **given(tmp_path))
    assert "held in memory" not in capsys.readouterr().err
    (tmp_path / "mixed.run").write_text("".join(lines[1:] + lines[:1]))
    rerank(model=model, output=tmp_path / "mixed.out", **given(tmp_path, "mixed.run"))
    assert f"mixed.run:{len(lines)}: the lines of query 'q0' do not stand together" in capsys.readouterr().err
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("".join(lines),))
    writer.start()
    rerank(model=model, output=tmp_path / "pipe.out", **given(tmp_path, "pipe"))
    writer.join()
    for name in ("mixed.out", "pipe.out"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "out.run").read_bytes()


def test_a_bad_line_at_the_end_of_a_run_is_found_before_anything_is_scored(
    trained: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.run").write_text((tmp_path / "bm25.run").read_text() + "q0 Q0 d1 1\n")
    monkeypatch.setattr(Predictor, "score", lambda *_: pytest.fail("it was scored"))
    with pytest.raises(DataError, match="4 columns"):
        rerank(model=str(tmp_path / "run"), output=tmp_path / "out.run", **given(tmp_path, "bad.run"))


@pytest.mark.parametrize("model", ["run", "run/best/map"])
def test_queries_that_were_trained_on_are_counted_in_a_warning(
    model: str, trained: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rerank(model=str(tmp_path / model), output=tmp_path / "out.run", **given(tmp_path))
    assert "4 of 12 queries were trained on" in capsys.readouterr().err
    other = (tmp_path / "queries.jsonl").read_text().replace('"text": "', '"text": "other ')
    (tmp_path / "other.jsonl").write_text(other)  # the same ids, but queries of another collection
    changed = {**given(tmp_path), "queries": str(tmp_path / "other.jsonl")}
    rerank(model=str(tmp_path / model), output=tmp_path / "out.run", **changed)
    assert "were trained on" not in capsys.readouterr().err


def test_training_queries_of_the_run_directory_itself_are_counted_too(
    trained: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rerank(model=str(tmp_path / "run"), split="train", output=tmp_path / "out.run")
    assert "4 of 4 queries were trained on" in capsys.readouterr().err
    for split in ("dev", "test"):
        rerank(model=str(tmp_path / "run"), split=split, output=tmp_path / "out.run")
        assert "were trained on" not in capsys.readouterr().err


def test_that_leakage_cannot_be_told_is_said(
    trained: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "qrels.txt").unlink()
    rerank(model=str(tmp_path / "run"), output=tmp_path / "out.run", **given(tmp_path))
    assert "was trained on cannot be told" in capsys.readouterr().err


def test_a_disk_that_is_full_is_one_error_and_leaves_the_scores_alone(
    trained: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = held(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="No space left on device"):
        patch.setattr("rankcli.verbs.rerank.write_query", full)
        rerank(model=str(tmp_path / "run"), output=tmp_path / "out.run")
    assert not (tmp_path / "out.run").exists()
    assert held(tmp_path) - before == {"rerank"}
    rerank(model=str(tmp_path / "run"), output=tmp_path / "out.run")
    assert (tmp_path / "out.run").exists() and held(tmp_path) == before


def test_nothing_is_left_in_the_cache_folder(trained: RunConfig, tmp_path: Path) -> None:
    before = held(tmp_path)
    rerank(model=str(tmp_path / "run"), output=tmp_path / "out.run")
    assert held(tmp_path) == before


def test_wrong_models_and_weights_are_refused(
    trained: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = str(tmp_path / "run")
    (tmp_path / "folds" / "fold-0").mkdir(parents=True)
    for model, weights, error, what in (
        (own, "iter:x", ConfigError, "unknown weights 'iter:x'"),
        (own, "bestest", ConfigError, "unknown weights"),
        (own, "iter:9", MissingError, "iter-00009"),
        (own, "best:nope", MissingError, "no best weights by 'nope'"),
        (own, "best:../best/map", MissingError, "no best weights"),
        (f"{own}/best/map", "best", ConfigError, "not a run directory"),
        (f"{own}/best/map", "last", ConfigError, "--weights last needs a run directory"),
        (str(tmp_path / "typo"), "best", ConfigError, "typo: no such directory"),
        (str(tmp_path / "bm25.run"), "best", ConfigError, "this is a file, not a directory"),
        (str(tmp_path / "folds"), "best", ConfigError, "this directory holds all folds"),
    ):
        with pytest.raises(error, match=what):
            rerank(model=model, weights=weights, output=tmp_path / "out.run")
    monkeypatch.chdir(tmp_path)
    for typo in ("runs/typo", "run/best/typo", "./typo"):
        with pytest.raises(ConfigError, match=f"{typo}: no such directory"):
            rerank(model=typo, output=tmp_path / "out.run", **given(tmp_path))
    (tmp_path / "mine").mkdir()
    shutil.copytree(own, tmp_path / "mine" / "run")
    with pytest.raises(ConfigError, match="mine/typo: no such directory"):
        rerank(model="mine/typo", output=tmp_path / "out.run", **given(tmp_path))
    with pytest.raises(ConfigError, match="give both --docs and --queries"):
        rerank(model=own, docs="x", output=tmp_path / "out.run")
    with pytest.raises(MissingError, match="cannot be opened as a reranker"):
        rerank(model=str(tmp_path), output=tmp_path / "out.run", **given(tmp_path))
