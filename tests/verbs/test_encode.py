"""`rankcli encode`: vectors of a bi-encoder, kept and written, that rank as `rerank` does; and `cache` on them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.cli import run
from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.data.trec import read_run
from rankcli.encoders.config import TINY
from rankcli.extractors.base import ExtractorContext
from rankcli.records import vector_cache
from rankcli.records.vector_sets import NAME
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.saved import save_reranker, sections_of
from rankcli.runs import vectors
from rankcli.training.bases import BaseEncoder
from tests.conftest import write_collection


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bi-encoder in `run`, a cross-encoder in `pairs`, and a run of all queries with all documents in `in.run`."""
    folder = tmp_path_factory.mktemp("made")
    write_collection(folder)
    texts = [json.loads(line)["text"] for line in (folder / "docs.jsonl").open()]
    for out, name, extractor in (("run", "biencoder", "apart"), ("pairs", "crossencoder", "passage")):
        options = (
            RERANKERS.get(name)(encoder=dataclasses.replace(TINY, max_positions=256)),
            EXTRACTORS.get(extractor)(vocab_size=60),
        )
        built = options[1].build(ExtractorContext(texts=lambda: texts))
        reranker = options[0].build(RerankerContext(extractor=built, seed=1))
        save_reranker(reranker, built, sections_of(*options), folder / out)
    names = {kind: [json.loads(line)["_id"] for line in (folder / f"{kind}.jsonl").open()] for kind in KINDS}
    pairs = [(qid, docid, n) for qid in names["queries"] for n, docid in enumerate(names["docs"], 1)]
    lines = [f"{qid} Q0 {docid} {n} {100 - n} x\n" for qid, docid, n in pairs]
    (folder / "in.run").write_text("".join(lines))
    return folder


KINDS = ("docs", "queries")


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a cache of its own; texts come in parts of eight."""
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def encode(made: Path, *args: str, kinds: tuple[str, ...] = KINDS) -> int:
    files = [f"--{kind}={made / kind}.jsonl" for kind in kinds]
    return run(["encode", f"--model={made / 'run'}", *files, "--strategy=cpu", *args])


def sets(here: Path, *command: str) -> Any:
    """The sets that `cache ls` lists."""
    from rankcli.caches import maintain

    return maintain.ls(str(here / "cache"))["result"]["vectors"]


def test_a_search_by_inner_product_ranks_as_rerank_does(made: Path, here: Path, capsys: Any) -> None:
    (here / "v").mkdir()
    assert encode(made, "--output=v", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    arrays = {kind: np.load(here / f"v/{kind}.npy", mmap_mode="r") for kind in KINDS}
    ids = {kind: (here / f"v/{kind}.ids.txt").read_text().split("\n")[:-1] for kind in KINDS}
    for kind, array in arrays.items():
        assert array.dtype == np.float32 and array.flags.c_contiguous and len(array) == len(ids[kind])
        np.testing.assert_allclose(np.linalg.norm(array, axis=1), 1, atol=1e-6)
        assert (found[kind]["texts"], found[kind]["encoded"]) == (len(array), len({*map(tuple, array.tolist())}))
    asked = [f"--model={made / 'run'}", f"--run={made / 'in.run'}", "--strategy=cpu"]
    assert run(["rerank", *asked, *(f"--{kind}={made / kind}.jsonl" for kind in KINDS), "--output=out.run"]) == 0
    for qid, scores in read_run(here / "out.run").items():
        own = arrays["queries"][ids["queries"].index(qid)]
        products = dict(zip(ids["docs"], (20 * arrays["docs"] @ own).tolist(), strict=True))  # `scale` is 20
        assert scores == pytest.approx(products, abs=1e-5)
        ranked = [products[docid] for docid in scores]
        assert all(one >= other - 2e-5 for one, other in zip(ranked, ranked[1:], strict=False))


def test_what_is_kept_are_the_vectors_before_heads_and_normalisation(made: Path, here: Path) -> None:
    assert encode(made, "--output=v.npy", kinds=("docs",)) == 0
    (folder,) = (each for each in (here / "cache/vectors").glob("*/1"))
    (shard,) = folder.glob("shard-*")
    content, written = shard.read_bytes(), np.load(here / "v.npy")
    base = np.frombuffer(content, np.float32, offset=16 * len(written)).reshape(written.shape)
    lengths = np.linalg.norm(base, axis=1)
    assert lengths.max() > 1.01
    for vector in base / lengths[:, None]:
        assert np.abs(written - vector).max(axis=1).min() < 1e-6


def test_what_is_kept_is_not_encoded_again_and_new_texts_extend_it(made: Path, here: Path, capsys: Any) -> None:
    lines = (made / "docs.jsonl").read_text().splitlines(keepends=True)
    (here / "some.jsonl").write_text("".join(lines[:9]))
    ask = ["encode", f"--model={made / 'run'}", "--strategy=cpu", "--json"]
    assert run([*ask, "--docs=some.jsonl", "--output=a.npy"]) == 0
    first = json.loads(capsys.readouterr().out)["docs"]
    assert encode(made, "--output=b.npy", "--json", kinds=("docs",)) == 0
    captured = capsys.readouterr()
    second = json.loads(captured.out)["docs"]
    assert first["encoded"] == 9 and second["encoded"] == len(lines) - 9 and first["set"] == second["set"]
    np.testing.assert_allclose(np.load(here / "a.npy"), np.load(here / "b.npy")[:9], atol=1e-7)  # other batches
    assert "not cached" not in captured.err
    assert encode(made, "--dtype=float16", "--output=c.npy", kinds=("docs",)) == 0
    half = np.load(here / "c.npy")
    assert f"doc: not cached: the vectors of {first['set']} differ in dtype" in capsys.readouterr().err
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, np.load(here / "b.npy"), atol=2.0**-10)  # two roundings of numbers below 1


def test_interrupted_it_goes_on_and_writes_the_same(
    made: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert encode(made, "--output=whole.npy", "--evalbatch=3", kinds=("docs",)) == 0
    shutil.rmtree(here / "cache/vectors")
    computed, left = BaseEncoder.computed, iter(range(2))

    def stopping(self: BaseEncoder, batches: Any) -> Any:
        for encoded in computed(self, batches):
            if next(left, None) is None:
                raise KeyboardInterrupt
            yield encoded

    with monkeypatch.context() as patch:
        patch.setattr(BaseEncoder, "computed", stopping)
        assert encode(made, "--output=out.npy", "--evalbatch=3", kinds=("docs",)) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not list(here.glob("out*")) and not list(here.glob("*tmp*"))
    assert encode(made, "--output=out.npy", "--evalbatch=3", "--json", kinds=("docs",)) == 0
    found = json.loads(capsys.readouterr().out)["docs"]
    assert found["encoded"] == len(np.load(here / "whole.npy")) - 6
    np.testing.assert_allclose(np.load(here / "out.npy"), np.load(here / "whole.npy"), atol=1e-6)
    assert (here / "out.ids.txt").read_text() == (here / "whole.ids.txt").read_text()


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 2, "this reranker reads a query and a document together, so a text alone has no vector"),
        (("--output=x.npy", "--queries=q"), 2, "Path 'q' does not exist"),
        (("--output=-",), 2, "vectors are not written to stdout"),
        (("--output=nowhere",), 2, "nowhere is neither a file NAME.npy nor an existing folder"),
        (("--output=nowhere/x.npy",), 2, "There is no folder nowhere"),
        (("--output=old.npy",), 2, "old.ids.txt: this file exists and is not overwritten"),
        (("--dtype=float64",), 2, "'float64' is not one of"),
    ],
)
def test_what_cannot_be_done_is_refused(
    args: tuple[str, ...], code: int, said: str, made: Path, here: Path, capsys: Any
) -> None:
    (here / "old.ids.txt").write_text("mine")
    assert run(["encode", f"--model={made / 'pairs'}", f"--docs={made / 'docs.jsonl'}", *args]) == code
    assert said in capsys.readouterr().err and (here / "old.ids.txt").read_text() == "mine"
    assert not (here / "cache/vectors").exists()


def test_nothing_to_encode_and_two_kinds_in_one_file_are_refused(made: Path, here: Path, capsys: Any) -> None:
    assert encode(made, kinds=()) == 2 and "nothing to encode" in capsys.readouterr().err
    assert encode(made, "--output=x.npy") == 2
    assert "one file cannot have documents and queries" in capsys.readouterr().err


def test_an_output_is_overwritten_with_force_and_never_an_input(made: Path, here: Path, capsys: Any) -> None:
    (here / "x.npy").write_bytes(b"old")
    assert encode(made, "--output=x.npy", "--force", kinds=("queries",)) == 0
    assert len(np.load(here / "x.npy")) == 12
    (here / "y.npy").write_bytes((made / "docs.jsonl").read_bytes())
    assert run(["encode", f"--model={made / 'run'}", "--docs=y.npy", "--output=y.npy", "--force"]) == 2
    assert "it is an input, which is not replaced" in capsys.readouterr().err


def test_the_cache_commands_list_verify_repair_and_prune_vectors(
    made: Path, here: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_cache, "SHARD_BYTES", 4 * 8 * 4)
    assert encode(made, "--evalbatch=4") == 0
    docs, queries = sorted(sets(here), key=lambda each: -each["texts"])
    assert docs["state"] == "complete" and docs["identity"]["field"] == "doc" and queries["texts"] == 10  # distinct
    capsys.readouterr()
    assert run(["cache", "ls"]) == 0
    out = capsys.readouterr().out
    assert f"{docs['set_id']}/1" in out and "field doc, length" in out and "2 sets of vectors" in out
    assert run(["cache", "verify"]) == 0 and "2 caches" in capsys.readouterr().out
    shard = next(Path(docs["path"]).glob("shard-000001-*"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert run(["cache", "verify"]) == 6
    assert f"{shard}: another checksum or size" in capsys.readouterr().out
    assert run(["cache", "verify", "--repair"]) == 0 and "another checksum or size; repaired" in capsys.readouterr().out
    assert not shard.exists() and encode(made, "--evalbatch=4", "--json") == 0
    assert 1 <= json.loads(capsys.readouterr().out)["docs"]["encoded"] <= 4
    manifest = Path(queries["path"], NAME)
    manifest.write_bytes(manifest.read_bytes()[:-20])
    assert run(["cache", "verify", "--repair"]) == 0 and not Path(queries["path"]).exists()
    Path(docs["path"], "notes.txt").write_text("mine")
    assert run(["cache", "prune", "--max-bytes=0"]) == 0
    assert "it holds '1/notes.txt', which is not ours" in capsys.readouterr().out and len(sets(here)) == 1
    Path(docs["path"], "notes.txt").unlink()
    with vectors.vectors_storage(None).hold(f"{docs['set_id']}/1"):
        assert run(["cache", "prune", "--max-bytes=0"]) == 0 and len(sets(here)) == 1
    then = time.time() - 86400 * 3
    for path in Path(docs["path"]).iterdir():
        os.utime(path, (then, then))
    assert run(["cache", "prune", "--older-than=2d", "--dry-run"]) == 0 and len(sets(here)) == 1
    assert run(["cache", "prune", "--older-than=2d"]) == 0 and not sets(here)
    assert not list((here / "cache/vectors").rglob("shard-*"))


def test_vectors_are_kept_in_a_bucket_and_written_there(made: Path, here: Path, gcs: Any, capsys: Any) -> None:
    uri = f"{gcs.uri}/caches"
    asked = [f"--storage={uri}", "--json"]
    assert encode(made, f"--output={gcs.uri}/out/docs.npy", *asked, kinds=("docs",)) == 0
    assert encode(made, "--output=docs.npy", *asked, kinds=("docs",)) == 0
    assert json.loads("[" + capsys.readouterr().out.replace("}\n{", "},{") + "]")[1]["docs"]["encoded"] == 0
    assert run(["cache", "verify", "--storage", uri]) == 0 and "1 cache, 1 shard" in capsys.readouterr().out
    assert run(["cache", "prune", "--storage", uri, "--max-bytes=0"]) == 0
    assert not vectors.vectors_storage(uri).list()
    from rankcli.storage.inputs import local_copy

    assert Path(local_copy(f"{gcs.uri}/out/docs.npy")).read_bytes() == (here / "docs.npy").read_bytes()
