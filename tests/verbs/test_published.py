"""Collections as they are published: one path for `init`, then train, rerank and evaluate; no file is edited."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from rankcli.cli import run
from tests import published

TINY = (
    "reranker=TFKNRM",
    "sampler.nneg=3",
    "trainer={batch: 4, niters: 1, itersize: 8, lr: 1e-2, threshold: 10, testthreshold: 10, strategy: cpu}",
)
BEIR = {"train": published.TRAIN, "test": published.TEST}
# The queries of train, dev and test, or those of test in folds; and options of `init`.
LAYOUTS: dict[str, tuple[Callable[[Path], None], tuple[int, ...], tuple[str, ...]]] = {
    "BEIR with dev": (partial(published.beir, dev=published.DEV, **BEIR), (24, 8, 8), ()),
    "BEIR without dev": (partial(published.beir, **BEIR), (20, 4, 8), ()),
    "MS MARCO passages": (published.msmarco_passages, (24, 6, 10), ()),
    "MS MARCO documents": (published.msmarco_documents, (24, 6, 10), ()),
    "TREC topics": (published.trec, (14,), ("--topics", "title,desc,narr")),
    "TREC XML": (published.trec_xml, (14,), ()),
    "Pyserini": (published.pyserini, (14,), ()),
    "Hugging Face": (published.hugging_face, (24, 6, 10), ()),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_goes_all_the_way(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ran(*args: str) -> str:
        assert run(list(args)) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    make, queries, options = LAYOUTS[name]
    make(tmp_path / "published")
    proposed = ran("init", "published", *options, "--dry-run")
    parts = ", ".join(f"{part} {count}" for part, count in zip(("train", "dev", "test"), queries, strict=False))
    assert (f"# split: {parts} queries\n" in proposed) == (len(queries) == 3)
    assert "docs: published" in proposed and not Path("config.yaml").exists()
    ran("init", "published", *options)
    assert Path("config.yaml").read_text() == proposed
    ran("train", "--config", "config.yaml", *TINY)
    result = json.loads(Path("runs/config/result.json").read_text())
    ran("rerank", "--model", "runs/config", "--output", "new.run", "--depth", "10")
    assert Path("new.run").read_bytes() == Path("runs/config/test.run").read_bytes()
    found = json.loads(ran("evaluate", "--model", "runs/config", "--json"))
    assert found["queries"] == queries[-1] and {**found, **result["splits"]["test"]} == found
