"""A training set gives its sampler the collection and the triples, and its identity names what they decide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rankcli.config.registry import SAMPLERS
from rankcli.config.schema import Data, Folds
from rankcli.data.dataset import load_dataset
from rankcli.runs.candidates import NOTHING
from rankcli.runs.sets import DrawnSet
from rankcli.samplers.base import Sampler, SamplerContext, SamplerOptions
from rankcli.samplers.lce import LCE
from rankcli.samplers.triples import TriplesSampler
from rankcli.shapes import Sample


@dataclass(frozen=True, kw_only=True)
class AnyDocument(SamplerOptions):
    """Any document of the collection for any query."""

    version: ClassVar[int] = 1
    draws_docs: ClassVar[bool] = True

    @property
    def group_size(self) -> int:
        """One."""
        return 1

    def build(self, ctx: SamplerContext) -> Sampler:
        """Take the documents in turn."""
        docs, qids = ctx.docs, ctx.judged.qids
        assert docs is not None
        return lambda n: Sample(qids[n % len(qids)], (docs.id_at(n % len(docs)),), (0.0,))


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(SAMPLERS._options, "any", AnyDocument)

    def made(options: Any, docids: str = "abc", **more: Any) -> DrawnSet:
        (tmp_path / "docs").write_text("".join(f"{docid}\ttext {docid}\n" for docid in docids))
        (tmp_path / "queries").write_text("".join(f"q{n}\tquery {n}\n" for n in range(3)))
        (tmp_path / "qrels").write_text("".join(f"q{n} 0 a 1\n" for n in range(3)))
        (tmp_path / "triples").write_text("".join(f"q{n} a b\n" for n in range(3)))
        files = {name: str(tmp_path / name) for name in ("docs", "queries", "qrels", *more)}
        dataset = load_dataset(Data(**files, folds=Folds(k=3)), tmp_path / "kept")
        return DrawnSet(
            name="train",
            dataset=dataset,
            ranked=NOTHING,
            options=None,
            extractor=None,  # type: ignore[arg-type]
            drawn_by=options,
            seed=3,
            wanted=8,
        )

    return made


def test_the_order_of_the_documents_counts_where_they_are_drawn_from(drawn: Any) -> None:
    one, other = drawn(AnyDocument()), drawn(AnyDocument(), "cab")
    assert [one.sampler(n).docids for n in range(4)] == [("a",), ("b",), ("c",), ("a",)]
    assert one.dataset.fingerprint("train") == other.dataset.fingerprint("train")
    assert one.made_by == {"name": "any", "version": 1, "seed": 3, "docs": one.dataset.docs.order} != other.made_by
    assert drawn(LCE()).made_by == drawn(LCE(), "cab").made_by == {"name": "LCE", "version": 1, "seed": 3}


def test_triples_reach_the_sampler(drawn: Any) -> None:
    made = drawn(TriplesSampler(), triples=True)
    assert made.sampler(0).docids == ("a", "b") and made.sampler(0).qid in made.dataset.split["train"]
    assert drawn(LCE(nneg=1), triples=True).sampler(0).docids == ("a", "b")
