"""`rerank` with a reranker that compares vectors: texts once, the training's own test, stopped and damaged."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.config.load import load_config
from rankcli.data.trec import read_run
from rankcli.errors import DataError
from rankcli.runs import encoded, stream
from rankcli.runs.encoded import KeptVectors
from rankcli.training.encode import Encoded, VectorScorer, scorer
from rankcli.training.predict import Predictor
from rankcli.verbs import rerank as verb
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train
from tests.conftest import EXTRACTORS, RERANKERS, write_collection


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bi-encoder in `run`, and a run of all queries in `in.run`, twelve with about twenty documents each."""
    folder = tmp_path_factory.mktemp("made")
    write_collection(folder)
    (folder / "config.yaml").write_text(
        "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}\n"
        f"reranker: {RERANKERS['biencoder']}\nextractor: {EXTRACTORS['biencoder']}\nsampler: {{name: LCE, nneg: 3}}\n"
        "trainer: {batch: 2, niters: 1, itersize: 2, threshold: 10, testthreshold: 20, strategy: cpu}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANKCLI_CACHE", str(folder / "cache"))
        train(load_config([folder / "config.yaml"])[0], out=folder / "run")
        files = [f"--{name}={folder / name}.jsonl" for name in ("docs", "queries")]
        assert run(["search", *files, f"--output={folder / 'in.run'}"]) == 0
    return folder


@pytest.fixture
def asked(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments of a rerank in blocks of one query, parts of eight texts and batches of three."""
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stream, "BLOCK", 20)
    monkeypatch.setattr(encoded, "SORT_TEXTS", 8)
    shutil.copy(made / "in.run", tmp_path)
    files = {name: str(made / f"{name}.jsonl") for name in ("docs", "queries")}
    return {"model": str(made / "run"), "run": str(tmp_path / "in.run"), "evalbatch": 3, **files}


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Field and number of every text that is encoded from now on."""
    seen: list[tuple[str, int]] = []
    compute = VectorScorer._compute

    def noted(self: VectorScorer, batch: Any) -> Any:
        seen.extend((batch.field, number) for own in batch.numbers for number in own)
        return compute(self, batch)

    monkeypatch.setattr(VectorScorer, "_compute", noted)
    return seen


def stop_after(patch: pytest.MonkeyPatch, batches: int) -> None:
    """Let the next rerank be interrupted when it has kept some batches."""
    left, add = iter(range(batches)), KeptVectors.add

    def adding(self: KeptVectors, made: Encoded) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        add(self, made)

    patch.setattr(KeptVectors, "add", adding)


def kept(folder: Path, name: str) -> Path:
    (found,) = (folder / "cache/rerank").glob(f"*/{name}")
    return found


def test_its_own_test_is_reranked_to_the_same_bytes(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are the same although the texts come in another order."""
    monkeypatch.setenv("RANKCLI_CACHE", str(made / "cache"))
    rerank(model=str(made / "run"), output=tmp_path / "test.run", depth=20)
    assert (tmp_path / "test.run").read_bytes() == (made / "run/test.run").read_bytes()


def test_each_text_is_encoded_once_and_scores_are_those_of_pairs(
    asked: dict[str, Any], tmp_path: Path, texts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for depth in (None, 5):
        texts.clear()
        done = rerank(output=tmp_path / "vectors.run", depth=depth, **asked)
        docs = sum(field == "doc" for field, _ in texts)
        assert sorted(texts) == [*(("doc", n) for n in range(docs)), *(("query", n) for n in range(12))]
        assert docs <= 24 and done["result"]["pairs"] > 2 * docs
        with monkeypatch.context() as patch:
            patch.setattr(verb, "scorer", lambda *given: Predictor(*given[:5]))
            rerank(output=tmp_path / "pairs.run", depth=depth, **asked)
        found, wanted = read_run(tmp_path / "vectors.run"), read_run(tmp_path / "pairs.run")
        assert list(found) == list(wanted) and len(found) == 12
        for qid, scores in wanted.items():
            assert list(found[qid]) == list(scores) and found[qid] == pytest.approx(scores, abs=1e-5)


def test_stopped_five_times_it_ends_with_the_same_bytes(
    asked: dict[str, Any], tmp_path: Path, texts: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    rerank(output=tmp_path / "whole.run", **asked)
    whole = len(texts)
    assert whole == 36 and not (tmp_path / "cache/rerank").exists()
    capsys.readouterr()
    for batches in (0, 3, 1, 7, 1):
        with monkeypatch.context() as patch:
            stop_after(patch, batches)
            with pytest.raises(KeyboardInterrupt):
                rerank(output=tmp_path / "out.run", **asked)
        assert not (tmp_path / "out.run").exists()
    texts.clear()
    rerank(output=tmp_path / "out.run", **asked)
    assert (tmp_path / "out.run").read_bytes() == (tmp_path / "whole.run").read_bytes()
    err = capsys.readouterr().err
    assert err.count("out.run: going on after") == 4 and "after 31 texts that are encoded" in err
    assert len(texts) == 5 and not (tmp_path / "cache/rerank").exists()


@pytest.mark.parametrize("spoiled", ["line", "bit", "short"])
def test_vectors_that_are_damaged_are_made_again(
    spoiled: str, asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    rerank(output=tmp_path / "whole.run", **asked)
    with monkeypatch.context() as patch:
        stop_after(patch, 9)  # 12 queries, 8 documents, and three of the next part
        with pytest.raises(KeyboardInterrupt):
            rerank(output=tmp_path / "out.run", **asked)
    path = kept(tmp_path, "encoded" if spoiled == "line" else "doc.vectors")
    content = bytearray(path.read_bytes())
    assert len(content) >= 11 * 16 * 4 or spoiled == "line"
    if spoiled == "bit":
        content[6] ^= 1  # of document 0, in the first part
    path.write_bytes(content if spoiled == "bit" else content[:-7])
    capsys.readouterr()
    rerank(output=tmp_path / "out.run", **asked)
    err = capsys.readouterr().err
    told = {"line": "bytes are incomplete", "bit": "damaged from text", "short": "damaged from text"}[spoiled]
    assert told in err and "out.run: going on after" in err
    assert (tmp_path / "out.run").read_bytes() == (tmp_path / "whole.run").read_bytes()


def test_a_run_that_changes_in_between_is_an_error(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = KeptVectors.add

    def changing(self: KeptVectors, made: Encoded) -> None:
        lines = (tmp_path / "in.run").read_text().splitlines(keepends=True)
        (tmp_path / "in.run").write_text("".join(lines[12:]))
        monkeypatch.setattr(KeptVectors, "add", add)
        add(self, made)

    monkeypatch.setattr(KeptVectors, "add", changing)
    with pytest.raises(DataError, match="the run has changed while it was read"):
        rerank(output=tmp_path / "out.run", **asked)
    assert not (tmp_path / "out.run").exists()


def test_the_scorer_of_a_model_is_the_one_that_its_towers_ask_for(made: Path) -> None:
    """A document of several sequences has no one vector: it is scored pair by pair."""
    opened = verb.Reranking(str(made / "run"))
    assert isinstance(opened.scorer, VectorScorer)
    extractor: Any = opened.extractor
    extractor.fields = {name: spec._replace(most=2) for name, spec in extractor.fields.items()}
    assert isinstance(scorer(opened.scorer.strategy, opened.scorer._reranker, extractor), Predictor)
