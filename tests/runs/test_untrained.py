"""`niters: 0`: the model is tested as it is, and a mixture is learnt without training a reranker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankcli.cli import run
from rankcli.data.trec import read_run
from tests.conftest import Tiny
from tests.verbs.test_encode import made

__all__ = ["made"]

FOLDS = "data.folds={k: 3, fold: all}"


def test_a_mixture_is_learnt_over_frozen_vectors_alone(
    tiny: Tiny, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny("TFKNRM")
    cosine = f"mixture.signals=[first_stage, {{name: cosine, pretrained: {made / 'run'}}}]"
    reranker, extractor = (
        f"reranker={{name: biencoder, pretrained: {made / 'run'}}}",
        "extractor={name: apart, maxqlen: 32, maxdoclen: 128}",
    )
    args = ["train", str(tmp_path / "TFKNRM.yaml"), "trainer.niters=0", FOLDS, cosine, reranker, extractor]
    assert run([*args, "--dry-run"]) == 0
    assert "no iteration: the model is tested as it is" in capsys.readouterr().out
    assert run([*args, "mixture.careful=true", "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "nothing was trained; run directory" in told
    assert "ndcg_cut_10 by cross-validation over its queries\nstage " in told and "  error  kept\n" in told
    fold = tmp_path / "out" / "fold-0"
    result = json.loads((fold / "result.json").read_text())
    assert result["best"]["ndcg_cut_10"]["iter"] == 0 and result["train_seconds"] == 0
    assert result["mixture"]["queries"] == 8, "training and dev queries: no judgment was used before"
    page = (fold / "report.html").read_text()
    assert "none: the model is tested as it is" in page and "Stages of the mixture" in page
    assert result["mixture"]["stages"][0] | {"value": 0} == {
        **{"name": "first_stage", "value": 0, "gain": None, "error": None, "kept": True}
    }

    given = [f"--{kind}={tmp_path / kind}.jsonl" for kind in ("docs", "queries")]
    for model, output in ((made / "run", "given.run"), (fold, "own.run")):
        args = ["rerank", f"--model={model}", *given, f"--run={fold / 'test.first_stage.run'}", "--depth=20"]
        assert run([*args, f"--output={tmp_path / output}"]) == 0
    tested = read_run(fold / "test.run")
    for output in ("given.run", "own.run"):
        for qid, scores in read_run(tmp_path / output).items():
            assert scores == pytest.approx(tested[qid], rel=1e-4, abs=1e-5), "the weights are those that were given"
    assert run(["rerank", f"--model={fold}", *given, "--mix=auto", f"--output={tmp_path / 'mixed.run'}"]) == 0
    mixed = read_run(tmp_path / "mixed.run")
    for qid, scores in read_run(fold / "test.mixed.run").items():
        assert list(mixed[qid]) == list(scores)
    assert run(["evaluate", f"--model={tmp_path / 'out'}"]) == 0


def test_a_training_of_no_iteration_has_no_last_weights(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny("TFKNRM")
    args = ["train", str(tmp_path / "TFKNRM.yaml"), "-o", str(tmp_path / "out")]
    assert run([*args, "trainer.niters=0"]) == 0
    capsys.readouterr()
    rerank = ["rerank", f"--model={tmp_path / 'out'}", "--weights=last", f"--output={tmp_path / 'last.run'}"]
    assert run(rerank) == 4
    assert "checkpoint" in capsys.readouterr().err and not (tmp_path / "last.run").exists()
    assert run([*args, "trainer.niters=-1"]) == 2
