"""`rerank` with the mixture that a training has learnt, and without a run: queries are searched as in training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rankcli.cli import run
from rankcli.data.trec import read_run
from rankcli.errors import StorageError
from rankcli.runs import stream
from rankcli.verbs.rerank import rerank
from tests.conftest import Tiny
from tests.verbs.test_encode import made

__all__ = ["made"]


def folders(tmp_path: Path) -> list[str]:
    return [f"--{kind}={tmp_path / kind}.jsonl" for kind in ("docs", "queries")]


@pytest.fixture
def trained(tiny: Tiny, made: Path, tmp_path: Path) -> Path:
    """A training whose mixture has scores, texts and vectors, over tuned BM25."""
    tiny("TFKNRM")
    model = f"{{name: cosine, pretrained: {made / 'run'}}}"
    options = ["data.run={name: bm25, tune: true}", f"mixture.signals=[first_stage, reranker, overlap, {model}]"]
    args = ["train", str(tmp_path / "TFKNRM.yaml"), "trainer.niters=1", *options, "-o", str(tmp_path / "out")]
    assert run(args) == 0
    return tmp_path / "out"


def test_new_queries_are_searched_and_mixed_as_in_training(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = json.loads((trained / "result.json").read_text())
    value = result["splits"]["test"]["mixed"]["ndcg_cut_10"]
    rerank(model=str(trained), output=tmp_path / "own.run", mix="auto")
    assert (tmp_path / "own.run").read_bytes() == (trained / "test.mixed.run").read_bytes()

    args = ["rerank", "--model", str(trained), *folders(tmp_path)]
    assert run([*args, "--mix=auto", f"--output={tmp_path / 'new.run'}", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["mixture"]["said"].startswith("first_stage ") and "were trained on" in err
    new, own = read_run(tmp_path / "new.run"), read_run(tmp_path / "own.run")
    assert len(new) == 12
    for qid in own:
        assert list(new[qid]) == list(own[qid]) and new[qid] == pytest.approx(own[qid], rel=1e-4, abs=1e-5)
    assert run(["evaluate", "--model", str(trained), "--run", str(tmp_path / "new.run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["ndcg_cut_10"]["mean"] == value

    monkeypatch.setattr(stream, "BLOCK", 1)  # every query is a block of its own
    assert run([*args, "--mix=auto", f"--output={tmp_path / 'blocks.run'}"]) == 0
    for qid, found in read_run(tmp_path / "blocks.run").items():
        assert found == pytest.approx(new[qid], rel=1e-4, abs=1e-5)
    assert run([*args, "--mix=0.5", f"--output={tmp_path / 'alpha.run'}"]) == 0
    assert read_run(tmp_path / "alpha.run") != new

    rerank(model=str(trained), output=tmp_path / "last.run", weights="last", mix="auto")
    assert "the mixture was learnt for the best weights by ndcg_cut_10, not for last" in capsys.readouterr().err
    (trained / "mixture.json").write_text("{}")
    with pytest.raises(StorageError, match=r"mixture\.json"):
        rerank(model=str(trained), output=tmp_path / "out.run", mix="auto")


def test_without_a_run_the_searcher_must_be_known(
    made: Path, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny()
    assert run(["rerank", f"--model={made / 'run'}", *folders(tmp_path), "-o", str(tmp_path / "o.run")]) == 2
    assert "--run is needed: which searcher this model was trained with is not known" in capsys.readouterr().err
    assert run(["rerank", f"--model={made / 'run'}", folders(tmp_path)[0], "-o", str(tmp_path / "o.run")]) == 2
    assert "give both --docs and --queries" in capsys.readouterr().err


def test_probabilities_are_those_that_the_training_fitted(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = json.loads((trained / "result.json").read_text())["probability"]
    assert list(result) == ["reranked", "interpolated", "mixed"]
    assert "expected calibration error" in (trained / "report.html").read_text()
    for mix, stage in (("auto", "mixed"), ("none", "reranked")):
        files = {name: tmp_path / f"{stage}.{name}" for name in ("plain", "probable")}
        rerank(model=str(trained), output=files["plain"], mix=mix, depth=5)
        rerank(model=str(trained), output=files["probable"], mix=mix, depth=5, probability=True)
        plain, found = read_run(files["plain"]), read_run(files["probable"])
        own = result[stage]
        for qid, scores in found.items():
            assert len(scores) == 5 < len(plain[qid]) and list(scores) == list(plain[qid])[:5]
            logits = [own["slope"] * plain[qid][docid] + own["offset"] for docid in scores]
            assert list(scores.values()) == pytest.approx([1 / (1 + math.exp(-each)) for each in logits], rel=1e-5)
    args = ["rerank", f"--model={trained}", f"--output={tmp_path / 'out.run'}", "--probability"]
    assert run([*args, "--mix=0.5"]) == 2
    assert "not for this alpha" in capsys.readouterr().err
    assert run(args) == 0
    assert " 0 lines" not in capsys.readouterr().out


def test_probabilities_need_a_finished_training(
    made: Path, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny()
    args = ["rerank", f"--model={made / 'run'}", *folders(tmp_path), f"--run={made / 'in.run'}", "--probability"]
    assert run([*args, "-o", str(tmp_path / "o.run")]) == 2
    assert "probabilities are not known: this is not the directory of a finished run" in capsys.readouterr().err
