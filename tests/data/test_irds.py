from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from rankcli.cli import run
from rankcli.config.schema import Data, Folds
from rankcli.data import irds
from rankcli.data.dataset import load_dataset
from rankcli.errors import ConfigError, MissingError
from rankcli.shapes import Record
from rankcli.verbs.init import init


class Doc(NamedTuple):
    doc_id: str
    title: str
    text: str


class Query(NamedTuple):
    query_id: str
    title: str

    def default_text(self) -> str:
        return self.title


class Judgment(NamedTuple):
    query_id: str
    doc_id: str
    relevance: int


class Collection:
    def __init__(self, judged: bool = True) -> None:
        self.judged = judged

    def has_docs(self) -> bool:
        return True

    has_queries = has_docs

    def has_qrels(self) -> bool:
        return self.judged

    def docs_iter(self):
        return iter([Doc(f"d{n}", "T", f"text {n}") for n in range(3)])

    def queries_iter(self):
        return iter([Query(f"q{n}", f" query {n}") for n in range(3)])

    def qrels_iter(self):
        return iter([Judgment(f"q{n}", f"d{n}", n + 1) for n in range(3)])


@pytest.fixture
def package(monkeypatch):
    known = {"good": Collection(), "good/docs": Collection(judged=False)}
    monkeypatch.setitem(sys.modules, "ir_datasets", SimpleNamespace(load=known.__getitem__))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")


def test_without_the_package_its_installation_is_named(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(MissingError, match="pip install .ir_datasets"):
        load_dataset(Data(docs="ir_datasets:good", folds=Folds(k=3)), tmp_path)


def test_a_data_set_brings_docs_queries_and_judgments(package, tmp_path: Path) -> None:
    dataset = load_dataset(Data(docs="ir_datasets:good", folds=Folds(k=3)), tmp_path)
    assert dataset.docs.records(["d1"]) == [Record("d1", "T text 1", 1)]
    assert dataset.queries["q2"] == "query 2"
    assert dataset.qrels == {"q0": {"d0": 1}, "q1": {"d1": 2}, "q2": {"d2": 3}}


def test_unknown_names_and_missing_parts_are_usage_errors(package) -> None:
    with pytest.raises(ConfigError, match="no data set of this name"):
        irds.read_queries("ir_datasets:bad")
    with pytest.raises(ConfigError, match="has no qrels"):
        irds.read_qrels("ir_datasets:good/docs")


def test_init_proposes_the_three_parts_of_a_data_set(package, tmp_path: Path) -> None:
    lines = init("ir_datasets:good", {}, tmp_path / "config.yaml", dry_run=True)["text"].splitlines()
    assert {"  docs: ir_datasets:good", "  queries: ir_datasets:good", "  qrels: ir_datasets:good"} <= set(lines)
    with pytest.raises(ConfigError, match="no data set of this name"):
        init("ir_datasets:bad", {}, tmp_path / "config.yaml", dry_run=True)


def test_evaluate_takes_judgments_of_a_data_set(package, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "first.run").write_text("q0 Q0 d0 1 2.0 x\nq1 Q0 d0 1 2.0 x\nq1 Q0 d1 2 1.0 x\n")
    args = ["evaluate", "--qrels", "ir_datasets:good", "--run", str(tmp_path / "first.run"), "--metric", "RR@10"]
    assert run(args) == 0
    assert "RR@10   0.5000" in capsys.readouterr().out  # 1, 1/2, and nothing for q2
