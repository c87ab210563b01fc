"""Training over kept vectors of a frozen encoder: the same steps, resumed to the same bits, shared between runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.cli import run
from rankcli.config.load import load_config
from rankcli.data.trec import read_run
from rankcli.errors import ConfigError
from rankcli.records.distinct import sequence_of, tokens_of
from rankcli.records.vector_cache import VectorCache
from rankcli.rerankers.base import RerankerContext
from rankcli.runs.prepare import prepare
from rankcli.shapes import Record
from rankcli.storage.local import LocalStorage
from rankcli.training.bases import BaseEncoder, identity_of
from rankcli.training.strategy import make_strategy
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train
from tests.conftest import EXTRACTORS, WORDS, write_collection

SIZE = "{layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}"
FROZEN = f"{{name: biencoder, frozen: true, head: skip, encoder: {SIZE}}}"
BOTH = "{doc: {}, query: {}}"


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Train a tiny bi-encoder over a cache of the test's own; gives its result and the texts that were encoded."""
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    write_collection(tmp_path)
    encoded: list[int] = []
    computed = BaseEncoder.computed

    def counting(self: BaseEncoder, batches: Any) -> Any:
        for made in computed(self, batches):
            encoded.append(len(made.numbers))
            yield made

    monkeypatch.setattr(BaseEncoder, "computed", counting)

    def train_it(out: str, caches: str = "", reranker: str = FROZEN, *overrides: str) -> tuple[Any, int]:
        (tmp_path / "config.yaml").write_text(
            "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}\n"
            f"reranker: {reranker}\nextractor: {EXTRACTORS['biencoder']}\nsampler: {{name: LCE, nneg: 3}}\n"
            "trainer: {batch: 2, niters: 2, itersize: 6, threshold: 10, strategy: cpu, lr: 0.01}\n"
            + (f"caches: {caches}\n" if caches else "")
        )
        encoded.clear()
        config = load_config([tmp_path / "config.yaml"], list(overrides))[0]
        return train(config, out=tmp_path / out)["result"], sum(encoded)

    return train_it


def scores_of(folder: Path) -> dict[str, dict[str, float]]:
    return dict(read_run(folder / "test.run"))


def losses_of(folder: Path) -> list[float]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def close(one: Path, other: Path, tolerance: float) -> None:
    np.testing.assert_allclose(losses_of(one), losses_of(other), rtol=tolerance)
    for qid, scores in scores_of(one).items():
        assert scores == pytest.approx(scores_of(other)[qid], abs=20 * tolerance)


def test_cached_trains_as_uncached_does_and_a_second_run_encodes_nothing(fit: Any, tmp_path: Path) -> None:
    assert fit("plain")[1] == 0
    _, first = fit("cached", BOTH)
    assert 0 < first <= 24 + 12
    close(tmp_path / "cached", tmp_path / "plain", 1e-5)
    assert fit("again", BOTH)[1] == 0
    for name in ("test.run", "dev.run"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "cached" / name).read_bytes()
    assert losses_of(tmp_path / "again") == losses_of(tmp_path / "cached")
    fit("disk", "{doc: {store: disk}, query: {store: disk}}")
    assert losses_of(tmp_path / "disk") == losses_of(tmp_path / "cached")
    rerank(model=str(tmp_path / "cached"), output=tmp_path / "out.run", depth=10)
    assert (tmp_path / "out.run").read_bytes() == (tmp_path / "cached/test.run").read_bytes()


def test_the_same_texts_have_the_same_bits_in_any_order_and_from_memory_or_files(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are encoded in the same batches, which is all that bits depend on."""
    config = tiny("biencoder", "reranker.head=skip", "trainer.evalbatch=5")
    start = prepare(config).start
    model, extractor = config.reranker.build(RerankerContext(start.extractor)), start.extractor
    tokens = tokens_of(extractor, "doc", [Record("", " ".join(WORDS[n : n + 1 + n % 9])) for n in range(19)])
    sequences = [sequence_of(extractor, "doc", each) for each in tokens]
    encoder = BaseEncoder(make_strategy("cpu"), model, extractor, 5)
    computed, laid_out = encoder._compute, list[list[bytes]]()

    def noted(batch: Any) -> Any:
        laid_out[-1].append(batch.layouts[0].ids.tobytes())
        return computed(batch)

    monkeypatch.setattr(encoder, "_compute", noted)
    found = []
    for order, portion, store in ((range(19), 19, "memory"), (range(18, -1, -1), 4, "disk"), (range(19), 6, "auto")):
        cache = VectorCache(LocalStorage(tmp_path / store), identity_of(model, extractor, "doc", "float32"), store)
        laid_out.append([])
        mixed = [sequences[n] for n in order]
        cache.fill([mixed[n : n + portion] for n in range(0, 19, portion)], encoder.of("doc"))
        assert cache.encoded == 19 and cache.in_memory == (store != "disk")
        found.append(cache.get(sequences))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert laid_out[0] == laid_out[1] == laid_out[2] and len(laid_out[0]) == 4
    np.testing.assert_allclose(found[0], np.stack([alone(encoder, each) for each in sequences]), rtol=0, atol=1e-5)


def alone(encoder: BaseEncoder, sequence: Any) -> Any:
    """The vector of a text that is encoded by itself, which may differ by rounding."""
    ((_, (vector,)),) = encoder.of("doc")([sequence])
    return vector


def test_one_field_alone_and_float16(fit: Any, tmp_path: Path) -> None:
    fit("plain")
    fit("doc", "{doc: {}}")
    close(tmp_path / "doc", tmp_path / "plain", 1e-5)
    fit("half", "{doc: {dtype: float16}, query: {dtype: float16}}")
    close(tmp_path / "half", tmp_path / "plain", 2e-3)
    assert losses_of(tmp_path / "half") != losses_of(tmp_path / "plain")


def test_stopped_and_resumed_it_ends_with_the_same_bits(fit: Any, tmp_path: Path, stop_after: Any) -> None:
    from rankcli.errors import Interrupted

    fit("whole", BOTH)
    stop_after(4)
    with pytest.raises(Interrupted):
        fit("stopped", BOTH)
    assert fit("stopped", BOTH)[1] == 0
    assert losses_of(tmp_path / "stopped") == losses_of(tmp_path / "whole")
    assert (tmp_path / "stopped/test.run").read_bytes() == (tmp_path / "whole/test.run").read_bytes()


@pytest.mark.parametrize(
    ("caches", "reranker", "said"),
    [
        ("{doc: {}}", FROZEN.replace("frozen: true, ", ""), "this encoder is trained, so its vectors change"),
        ("{passage: {}}", FROZEN, "reads no such field, but query, doc"),
        ("{doc: {store: device}}", FROZEN, "is none of `auto`, `memory`, `disk`"),
        ("{doc: {dtype: int8}}", FROZEN, "caches.doc.dtype"),
    ],
)
def test_what_cannot_be_cached_is_refused_before_any_work(
    caches: str, reranker: str, said: str, fit: Any, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        fit("run", caches, reranker)
    assert not (tmp_path / "cache/records").exists() and not (tmp_path / "cache/vectors").exists()


def test_its_sets_name_the_run_directory(fit: Any, tmp_path: Path, capsys: Any) -> None:
    fit("run", BOTH)
    capsys.readouterr()
    assert run(["cache", "ls", "--json"]) == 0
    sets = json.loads(capsys.readouterr().out)["vectors"]
    assert [each["runs"][0]["run_dir"] for each in sets] == [str(tmp_path / "run")] * 2
    assert run(["cache", "prune", "--unused"]) == 0
    assert run(["cache", "ls"]) == 0 and "2 sets of vectors" in capsys.readouterr().out
