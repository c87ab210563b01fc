"""The plan of a training over kept vectors: what is kept, what it encodes, and what that adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rankcli.config.load import load_config
from rankcli.verbs.train import train
from tests.conftest import EXTRACTORS, write_collection

MODEL = "{name: biencoder, frozen: true, head: skip, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32}}"


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    write_collection(tmp_path)

    def call(caches: str = "{doc: {dtype: float16}, query: {}}", *overrides: str, dry_run: bool = True) -> Any:
        (tmp_path / "config.yaml").write_text(
            "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}\n"
            f"reranker: {MODEL}\nextractor: {EXTRACTORS['biencoder']}\nsampler: {{name: LCE, nneg: 3}}\n"
            "trainer: {batch: 2, niters: 1, itersize: 6, threshold: 4, testthreshold: 24, strategy: cpu}\n"
            f"caches: {caches}\n"
        )
        config = load_config([tmp_path / "config.yaml"], list(overrides))[0]
        return train(config, out=tmp_path / "run", dry_run=dry_run, overwrite=not dry_run)

    return call


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and "vectors" in path.parts}


def test_the_plan_says_what_is_kept_and_the_training_encodes_the_rest(
    planned: Any, tmp_path: Path, capsys: Any
) -> None:
    plan = planned()
    before = plan["result"]["vectors"]
    assert not files(tmp_path / "cache"), "a plan writes no vectors"
    for field, size in (("doc", 16 + 2 * 16), ("query", 16 + 4 * 16)):
        found = before[field]
        assert (found["kept"], found["bytes"], found["why"]) == (0, 0, "")
        assert found["encoded_first"] == found["texts"] > 4 and found["bytes_added"] == size * found["texts"]
    texts, more = before["query"]["texts"], before["query"]["bytes_added"]
    said = f"query: 0 of {texts} texts are kept, there is no set of them yet; {texts} to encode, {more:,} bytes"
    assert said in plan["text"]
    capsys.readouterr()
    planned(dry_run=False)
    told = capsys.readouterr().err
    for field in ("doc", "query"):
        assert before[field]["encoded_first"] == sum(
            int(line.split()[1]) for line in told.splitlines() if line.startswith(f"{field}: ") and "encoded" in line
        )
    after = planned()
    for field in ("doc", "query"):
        found = after["result"]["vectors"][field]
        assert (found["kept"], found["encoded_first"], found["bytes_added"]) == (found["texts"], 0, 0)
        assert found["bytes"] == before[field]["bytes_added"]
    assert f"query: {texts} of {texts} texts are kept, the set has {more:,} bytes; 0 to encode" in after["text"]
    assert after["result"]["encoded_first"] == after["result"]["minutes"] == 0
    assert "to encode texts before the first step on this machine" in after["text"]


def test_what_differs_is_said_and_a_field_without_cache_is_not_listed(planned: Any) -> None:
    planned("{query: {}}", dry_run=False)
    plan = planned("{query: {}}", "extractor.maxqlen=5")
    assert list(plan["result"]["vectors"]) == ["query"] and plan["result"]["encoded_first"] is None
    assert "differ in length" in plan["result"]["vectors"]["query"]["why"]
    assert plan["result"]["vectors"]["query"]["why"] in plan["text"] and "  doc:" not in plan["text"]
