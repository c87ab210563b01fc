"""Sources of data other than three files: text triples, features alone, sources of other packages."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from rankcli.config.schema import Data, Folds
from rankcli.data.dataset import load_dataset
from rankcli.data.source import DatasetOptions, NoDocuments, Source, SourceContext
from rankcli.datasets import triples as text_triples
from rankcli.datasets.files import Files
from rankcli.datasets.triples import TextTriples
from rankcli.errors import ConfigError, DataError
from rankcli.runs.candidates import first_stages
from rankcli.samplers.base import SamplerContext
from rankcli.samplers.candidates import Candidates
from rankcli.samplers.triples import TriplesSampler
from rankcli.searchers.bm25 import BM25

LINES = [
    ("what is red", "red is a colour", "an ant walks"),
    ("who runs", "an ant walks", "red is a colour"),
    ("what is red", "blood is red", "an ant walks"),
    ("where", "here", "not  there"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))


def named(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@pytest.mark.parametrize("batch", [2, 1000])
def test_triples_of_texts_are_a_collection(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(text_triples, "_BATCH", batch)
    path = tmp_path / "small.tsv.gz"
    path.write_bytes(gzip.compress("".join("\t".join(line) + "\n" for line in LINES).encode()))
    dataset = load_dataset(Data(source=TextTriples(path=str(path)), folds=Folds(k=3)), tmp_path / "kept")
    texts = ["red is a colour", "an ant walks", "blood is red", "here", "not  there"]
    assert list(dataset.docs.iterate()) == [(named(text), text) for text in texts]
    assert dataset.queries == {named(query): query for query, _, _ in LINES}
    assert dataset.qrels[named("what is red")] == {named("red is a colour"): 1, named("blood is red"): 1}
    sampler = TriplesSampler().build(SamplerContext(dataset_of_all(dataset), triples=dataset.triples))
    drawn = {(sample.qid, *sample.docids) for sample in map(sampler, range(4))}
    assert drawn == {tuple(map(named, line)) for line in LINES}
    assert dataset.triples is not None and "more than once" not in capsys.readouterr().err
    assert dataset.fingerprint("train") != dataset.fingerprint("test")


def dataset_of_all(dataset: Any) -> Any:
    return SimpleNamespace(qids=tuple(dataset.queries))


def test_a_line_of_texts_has_three_columns(tmp_path: Path) -> None:
    path = tmp_path / "small.tsv"
    path.write_text("q\ta\tb\nq\ta\n")
    with pytest.raises(DataError, match="2 tab-separated columns, expected 3: query, text, text") as caught:
        TextTriples(path=str(path)).build(SourceContext(tmp_path / "kept"))
    assert caught.value.where == f"{path}:2"


class Numbers:
    """Features of three documents."""

    width = 2

    def features(self, qid: str, docids: tuple[str, ...]) -> Any:
        return np.array([[len(qid), float(docid[1:])] for docid in docids], np.float32)


@dataclass(frozen=True, kw_only=True)
class Letor(DatasetOptions):
    """Features and no texts."""

    version: ClassVar[int] = 1

    def build(self, ctx: SourceContext) -> Source:
        """The source."""
        qrels: Mapping[str, dict[str, int]] = {f"q{n}": {"d1": 2, "d3": 0, "d2": n % 2} for n in range(6)}
        return Source(
            name="letor",
            queries=dict.fromkeys(qrels, ""),
            qrels={"": dict(qrels)},
            features=Numbers(),
            fingerprint="f1",
        )


def test_a_source_may_have_features_and_no_documents(tmp_path: Path) -> None:
    data = Data(source=Letor(), folds=Folds(k=3), run=BM25())
    dataset = load_dataset(data, tmp_path)
    assert dataset.features is not None and dataset.features.width == 2
    assert dataset.features.features("q1", ("d1", "d3")).tolist() == [[2, 1], [2, 3]]
    run = first_stages(dataset, data, tmp_path)[""]
    candidates = Candidates(dataset.judged("test", run), 10)
    sample = candidates(0)
    assert sample.docids == ("d3", "d2", "d1") and sample.labels[::2] == (0.0, 2.0)
    assert dataset.absent == frozenset() and dataset.report["documents"] == 0
    with pytest.raises(DataError, match="this source has no texts"):
        dataset.docs.texts(["d1"])
    other = load_dataset(Data(source=Letor(), folds=Folds(k=3, seed=8)), tmp_path)
    assert other.content == "f1"
    assert list(NoDocuments("x").texts([])) == [] and NoDocuments("x").absent(["d"]) == set()


def test_short_keys_stand_for_sources() -> None:
    data = Data(docs="d", queries="q", qrels="j", format="tsv", folds=Folds(k=3))
    assert data.reader == Files(docs="d", queries="q", qrels="j", format="tsv")
    assert Data(builtin="stdlib-docs").reader.collection == "stdlib-docs"
    assert Data(source=Letor()).reader == Letor()


def test_a_source_is_all_there_is() -> None:
    with pytest.raises(ValueError, match="`source` brings its own docs, queries and qrels"):
        Data(source=Letor(), docs="d")


def test_a_source_with_a_split_takes_no_folds(tmp_path: Path) -> None:
    class Split(Letor):
        def build(self, ctx: SourceContext) -> Source:
            whole = super().build(ctx)
            parts = {"train": ("q0", "q1"), "dev": ("q2", "q3"), "test": ("q4", "q5")}
            qrels = {name: {qid: whole.qrels[""][qid] for qid in qids} for name, qids in parts.items()}
            return Source(name="letor", queries=whole.queries, qrels=qrels, fingerprint="f2")

    assert load_dataset(Data(source=Split()), tmp_path).split["dev"] == ("q2", "q3")
    with pytest.raises(ConfigError, match=re.escape("letor brings a split of its own")):
        load_dataset(Data(source=Split(), folds=Folds(k=3)), tmp_path)
    with pytest.raises(ConfigError, match="`folds` is needed"):
        load_dataset(Data(source=Letor()), tmp_path)
