"""The commands with everything in a bucket: the same bytes as with everything on a local disk."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.errors import StorageError
from rankcli.storage._gcs_objects import Bucket as Objects
from rankcli.storage.gcs import delete_uri, fetch_uri, list_uri, upload_uri
from rankcli.training.loop import Loop
from tests.checked import plain
from tests.clocked import metrics
from tests.conftest import EXTRACTORS, RERANKERS, write_collection

FILES = ("docs.jsonl", "queries.jsonl", "qrels.txt")
KINDS = ("docs", "queries", "qrels")
RUNS = ("dev.run", "test.run", "test.first_stage.run", "test.interpolated.run")
WEIGHTS = tuple(f"best/{metric}/model.safetensors" for metric in ("ndcg_cut_10", "map", "RR@10"))
CHECKPOINTS = tuple(f"checkpoints/iter-0000{n}/ckpt.data-00000-of-00001" for n in (2, 3))
QUICK = ("trainer.niters=1", "trainer.itersize=2")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tiny collection on a local disk with two configurations and the run directories they lead to."""
    folder = tmp_path_factory.mktemp("local")
    write_collection(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANKCLI_CACHE", str(folder / "cache"))
        for name in ("TFKNRM", "crossencoder"):
            config = folder / f"{name}.yaml"
            config.write_text(
                "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}\n"
                f"reranker: {RERANKERS[name]}\nextractor: {EXTRACTORS[name]}\nsampler: {{name: LCE, nneg: 3}}\n"
                "trainer:\n  {batch: 2, niters: 3, itersize: 6, bertlr: 1e-3, lr: 1e-2,\n"
                "   threshold: 10, testthreshold: 20, strategy: cpu}\n"
            )
            assert run(["train", "--config", str(config), "--out", str(folder / name)]) == 0
    yield folder


@pytest.fixture
def bucket(gcs: Any, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket with that collection, gzipped in part, and its configurations in `in/`; an empty working folder."""
    for name in (*FILES[1:], "TFKNRM.yaml", "crossencoder.yaml"):
        upload_uri(local / name, f"{gcs.uri}/in/{name}")
    (tmp_path / "packed").write_bytes(gzip.compress((local / "docs.jsonl").read_bytes()))
    upload_uri(tmp_path / "packed", f"{gcs.uri}/in/docs.jsonl")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return str(gcs.uri)


def train(bucket: str, name: str, *overrides: str, out: str = "a") -> list[str]:
    """A training that reads, caches and writes in the bucket."""
    config = ["--config", f"{bucket}/in/{name}.yaml", f"trainer.storage={bucket}/cache"]
    return ["train", *config, *overrides, "--out", f"{bucket}/runs/{out}"]


def files_in(bucket: str, *kinds: str) -> list[str]:
    return [f"--{kind}={bucket}/in/{name}" for kind, name in zip(KINDS, FILES, strict=True) if kind in kinds]


def content(uri: str | Path) -> bytes:
    return (fetch_uri(uri) if isinstance(uri, str) else uri).read_bytes()


def files_below(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def upload_tree(folder: Path, uri: str) -> None:
    for name in files_below(folder):
        upload_uri(folder / name, f"{uri}/{name}")


def assert_same(uri: str, out: Path, names: Iterable[str]) -> None:
    assert {name: content(f"{uri}/{name}") for name in names} == {name: content(out / name) for name in names}


def assert_no_folder_is_named_after_a_uri(folder: Path) -> None:
    assert [path for path in folder.rglob("*") if ":" in path.name] == []
    assert list((folder / "work").iterdir()) == []


def new_machine(folder: Path) -> None:
    shutil.rmtree(folder / "cache")


def test_a_run_in_a_bucket_gives_the_bytes_of_a_local_one(
    bucket: str, local: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run(train(bucket, "crossencoder")) == 0
    uri, out = f"{bucket}/runs/a", local / "crossencoder"
    assert f"run directory: {uri}" in capsys.readouterr().out
    assert_same(uri, out, [*RUNS, *WEIGHTS, *CHECKPOINTS, "best/map/config.json", "best/RR@10/tokenizer.json"])
    assert metrics(content(f"{uri}/metrics.jsonl")) == metrics(content(out / "metrics.jsonl"))
    assert set(list_uri(uri)) == set(files_below(out))
    assert any(name.startswith("records/") for name in list_uri(f"{bucket}/cache"))

    new_machine(tmp_path)
    assert run(["rerank", "--model", uri, "--output", f"{bucket}/out/again.run", "--depth", "20"]) == 0
    assert capsys.readouterr().out.startswith(f"{bucket}/out/again.run: ")
    assert content(f"{bucket}/out/again.run") == content(out / "test.run")
    assert_no_folder_is_named_after_a_uri(tmp_path)


def test_search_rerank_and_evaluate_read_and_write_in_the_bucket(
    bucket: str, gcs: Any, local: Path, tmp_path: Path, capsys: Any
) -> None:
    upload_tree(local / "TFKNRM", f"{bucket}/m")
    files = files_in(bucket, "docs", "queries")
    tuning = files_in(bucket, "qrels")[0].replace("--qrels", "--tune")
    assert run(["search", *files, tuning, "--output", f"{bucket}/out/bm25.run"]) == 0
    (tmp_path / "bm25.run").write_bytes(content(f"{bucket}/out/bm25.run"))
    needed = {"best": set(), "last": {"iter-00002", "iter-00003"}, "iter:2": {"iter-00002"}}
    for weights, checkpoints in needed.items():
        new_machine(tmp_path)
        gcs.proxy.calls.clear()
        there = ["--run", f"{bucket}/out/bm25.run", "--output", f"{bucket}/out/x.run"]
        assert run(["rerank", "--force", "--model", f"{bucket}/m", "--weights", weights, *files, *there]) == 0
        assert "4 of 12 queries were trained on" in capsys.readouterr().err
        fetched = [call for call in gcs.proxy.calls if "/m/checkpoints/" in call]
        assert {call.split("/checkpoints/")[1].split("/")[0] for call in fetched} == checkpoints
        assert not any("best/map/model.safetensors" in call for call in gcs.proxy.calls)
        mine = [f"--docs={local / 'docs.jsonl'}", f"--queries={local / 'queries.jsonl'}"]
        here = ["--run", str(tmp_path / "bm25.run"), "--output", str(tmp_path / "x.run")]
        assert run(["rerank", "--force", "--model", str(local / "TFKNRM"), "--weights", weights, *mine, *here]) == 0
        assert content(f"{bucket}/out/x.run") == content(tmp_path / "x.run")
    judged = ["evaluate", *files_in(bucket, "qrels"), f"--baseline={bucket}/out/bm25.run"]
    assert run([*judged, f"--run={bucket}/out/x.run", f"--per-query={bucket}/out/each.tsv"]) == 0
    assert len(content(f"{bucket}/out/each.tsv").splitlines()) == 3 * 12
    assert_no_folder_is_named_after_a_uri(tmp_path)


def test_weights_that_lie_in_a_run_directory_of_a_bucket_know_their_training(
    bucket: str, local: Path, tmp_path: Path, capsys: Any
) -> None:
    upload_tree(local / "TFKNRM", f"{bucket}/m")
    (tmp_path / "all.run").write_text("".join(f"q{n} Q0 d{2 * n} 1 2.5 x\n" for n in range(12)))
    files = [*files_in(bucket, "docs", "queries"), "--run", str(tmp_path / "all.run")]
    models = {"there": f"{bucket}/m/best/map/", "here": str(local / "TFKNRM" / "best" / "map")}
    for name, model in models.items():
        capsys.readouterr()
        assert run(["rerank", "--model", model, *files, "--output", str(tmp_path / name)]) == 0
        assert "4 of 12 queries were trained on" in capsys.readouterr().err
    assert content(tmp_path / "there") == content(tmp_path / "here")


def test_weights_and_tokenizers_come_from_a_bucket_too(bucket: str, local: Path, capsys: Any) -> None:
    """The run id has the hashes of both."""
    upload_tree(local / "crossencoder" / "best" / "map", f"{bucket}/models/x")
    ids = []
    for model in (f"{bucket}/models/x", str(local / "crossencoder" / "best" / "map")):
        reranker = f"reranker={{name: crossencoder, pretrained: {model}}}"
        extractor = f"extractor={{name: passage, maxseqlen: 24, maxqlen: 6, tokenizer: {model}}}"
        capsys.readouterr()
        assert run([*train(bucket, "crossencoder", reranker, extractor), "--dry-run", "--json"]) == 0
        ids.append(json.loads(capsys.readouterr().out)["run_id"])
    assert ids[0] == ids[1]


def lost_at(lost: Callable[[int, str], bool], patch: pytest.MonkeyPatch) -> list[str]:
    """The machine is lost before the first upload to the run directory for which `lost` holds, by number and name.

    Returns the list of the names uploaded, as it grows.
    """
    upload, done = Objects.upload, []

    def counting(objects: Objects, name: str, *more: Any) -> Any:
        if name.startswith("runs/") and not name.endswith(".tmp.lock"):
            if lost(len(done), name):
                raise StorageError("the machine is lost")
            done.append(name)
        return upload(objects, name, *more)

    patch.setattr(Objects, "upload", counting)
    return done


@pytest.mark.faults
def test_a_run_that_another_machine_goes_on_with_ends_with_the_same_bits(
    bucket: str, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The first machine is lost, with its disk, when the second checkpoint is half uploaded. Dropout is on."""
    with monkeypatch.context() as patch:
        lost_at(lambda _, name: name.endswith("iter-00002/state.json"), patch)
        assert run(train(bucket, "crossencoder")) == 6
    assert f"{bucket}/runs/a/checkpoints/iter-00002/state.json" not in list_uri(bucket)
    new_machine(tmp_path)
    capsys.readouterr()
    assert run(train(bucket, "crossencoder")) == 0
    assert "resuming at step 3 of 9" in capsys.readouterr().err
    uri, out = f"{bucket}/runs/a", local / "crossencoder"
    assert_same(uri, out, [*RUNS, *WEIGHTS, *CHECKPOINTS])
    assert metrics(content(f"{uri}/metrics.jsonl")) == metrics(content(out / "metrics.jsonl"))


@pytest.mark.faults
@pytest.mark.slow
def test_a_run_cut_off_at_any_upload_ends_with_the_same_bits(
    bucket: str, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, out, cut = f"{bucket}/runs/a", local / "TFKNRM", 0
    while True:
        with monkeypatch.context() as patch:
            done = lost_at(lambda number, _, cut=cut: number == cut, patch)
            code = run(train(bucket, "TFKNRM"))
        if code == 0:
            break
        assert code == 6 and len(done) == cut
        new_machine(tmp_path)
        assert run(train(bucket, "TFKNRM")) == 0
        assert_same(uri, out, [*RUNS, *WEIGHTS, *CHECKPOINTS])
        assert metrics(content(f"{uri}/metrics.jsonl")) == metrics(content(out / "metrics.jsonl"))
        delete_uri(uri)
        new_machine(tmp_path)
        cut += 1
    assert cut == len(done) >= 40


def test_a_finished_run_prints_its_result_anywhere(
    bucket: str, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    upload_tree(local / "TFKNRM", f"{bucket}/runs/a")
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "fit", lambda _: pytest.fail("it trained"))
        assert run([*train(bucket, "TFKNRM"), "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out) == plain(content(local / "TFKNRM" / "result.json"))
    assert f"{bucket}/runs/a: this run is finished" in found.err
    new_machine(tmp_path)
    assert run(train(bucket, "TFKNRM", "trainer.testthreshold=1")) == 0
    assert "testing anew" in capsys.readouterr().err
    tested = json.loads(content(f"{bucket}/runs/a/result.json"))["splits"]["test"]
    assert tested["reranked"] == tested["first_stage"]
    assert_same(f"{bucket}/runs/a", local / "TFKNRM", WEIGHTS)


def test_another_run_is_refused_and_overwrite_sets_it_aside(bucket: str, local: Path, capsys: Any) -> None:
    upload_tree(local / "TFKNRM", f"{bucket}/runs/a")
    assert run(train(bucket, "TFKNRM", *QUICK)) == 2
    assert f"{bucket}/runs/a: the directory holds another run" in capsys.readouterr().err
    assert run([*train(bucket, "TFKNRM", *QUICK), "--overwrite"]) == 0
    assert f"{bucket}/runs/a was moved to {bucket}/runs/a.old-1" in capsys.readouterr().err
    names = files_below(local / "TFKNRM")
    assert set(list_uri(f"{bucket}/runs/a.old-1")) == set(names)
    assert_same(f"{bucket}/runs/a.old-1", local / "TFKNRM", names)
    states = [name for name in list_uri(f"{bucket}/runs/a") if name.endswith("state.json")]
    assert states == ["checkpoints/iter-00001/state.json"]
    upload_uri(local / "qrels.txt", f"{bucket}/notes/mine.txt")
    arguments = train(bucket, "TFKNRM")
    arguments[arguments.index("--out") + 1] = f"{bucket}/notes"
    assert run(arguments) == 2
    assert f"{bucket}/notes: this directory holds something that is not a run" in capsys.readouterr().err
    assert list_uri(f"{bucket}/notes") == ["mine.txt"]


def test_all_folds_lie_in_one_directory_of_the_bucket(bucket: str, capsys: Any) -> None:
    assert run([*train(bucket, "TFKNRM", *QUICK, "data.folds.fold=all"), "--json"]) == 0
    uri, pooled = f"{bucket}/runs/a", json.loads(capsys.readouterr().out)
    assert plain(content(f"{uri}/result.json")) == pooled and pooled["splits"]["test"]["queries"] == 12
    lines = [line for n in range(3) for line in content(f"{uri}/fold-{n}/test.run").splitlines()]
    assert sorted(content(f"{uri}/test.run").splitlines()) == sorted(lines) and len(lines) > 12
    assert {f"fold-{n}/{name}" for n in range(3) for name in ("result.json", WEIGHTS[0])} <= set(list_uri(uri))


def test_a_storage_that_cannot_be_reached_is_told_before_the_run_directory_is_made(
    bucket: str, local: Path, tmp_path: Path, capsys: Any
) -> None:
    config = ["--config", str(local / "TFKNRM.yaml"), "trainer.storage=gs://no-such-bucket-x/cache"]
    assert run(["train", *config, "--out", str(tmp_path / "out")]) == 4
    assert "there is no such bucket" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_bad_lines_are_named_by_their_uri(bucket: str, local: Path, tmp_path: Path, capsys: Any) -> None:
    lines = (local / "qrels.txt").read_text() + "q0 0 d1\n"
    (tmp_path / "bad").write_bytes(gzip.compress(lines.encode()))
    upload_uri(tmp_path / "bad", f"{bucket}/bad/qrels.gz")
    assert run(train(bucket, "TFKNRM", f"data.qrels={bucket}/bad/qrels.gz")) == 3
    assert f"error: {bucket}/bad/qrels.gz:13: 3 columns, expected 4" in capsys.readouterr().err
    (tmp_path / "bad").write_text("data: {docs: docs.jsonl}\nrerankr: x\n")
    upload_uri(tmp_path / "bad", f"{bucket}/bad/config.yaml")
    assert run(["train", "--config", f"{bucket}/bad/config.yaml"]) == 2
    assert f"{bucket}/bad/config.yaml:2: rerankr: unknown key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["train", "--config", "{b}/none.yaml"], 2, "{b}/none.yaml: there is no such object"),
        (["train", "--config", "{b}/in/TFKNRM.yaml", "data.qrels={b}/none"], 2, "{b}/none: there is no such object"),
        (["train", "--config", "{b}/in/TFKNRM.yaml", "--out", "gs://no-such-bucket-x/a"], 4, "there is no such bucket"),
        (["train", "--config", "{b}/in/TFKNRM.yaml", "reranker={{name: biencoder, pretrained: {b}/m}}"], 2, "{b}/m: "),
        (["train", "--config", "{b}/in/TFKNRM.yaml", "--out", "gs://B"], 2, "gs://B"),
        (["evaluate", "--qrels", "{b}/in/qrels.txt", "--run", "{b}/none"], 2, "{b}/none: there is no such object"),
        (["rerank", "--model", "{b}/none", "--output", "o"], 2, "{b}/none: --docs, --queries and --run are needed"),
        (["rerank", "--model", "x", "--output", "{b}/in"], 2, "{b}/in: this is a folder"),
        (["rerank", "--model", "x", "--output", "{b}"], 2, "{b}: this is a folder"),
        (["rerank", "--model", "x", "--output", "gs://no-such-bucket-x/o.run"], 4, "there is no such bucket"),
        (["init", *files_in("{b}", *KINDS), "--output", "{b}/in/TFKNRM.yaml"], 2, "TFKNRM.yaml: this file exists"),
    ],
)
def test_wrong_uris_have_their_exit_code(
    args: list[str], code: int, said: str, bucket: str, tmp_path: Path, capsys: Any
) -> None:
    assert run([arg.format(b=bucket) for arg in args]) == code
    out, err = capsys.readouterr()
    assert out == "" and said.format(b=bucket) in err and "Traceback" not in err
    assert_no_folder_is_named_after_a_uri(tmp_path)


def test_without_credentials_training_says_so(bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "none.json")
    assert run(["train", "--config", f"{bucket}/in/TFKNRM.yaml"]) == 4
    assert "gcloud auth application-default login" in capsys.readouterr().err


def test_init_writes_a_configuration_into_the_bucket(bucket: str, capsys: Any) -> None:
    assert run(["init", *files_in(bucket, *KINDS), "--output", f"{bucket}/new/config.yaml"]) == 0
    assert run(["train", "--config", f"{bucket}/new/config.yaml", "reranker=TFKNRM", "--dry-run"]) == 0
    assert "12 judged queries" in capsys.readouterr().out


def test_a_configuration_in_a_bucket_extends_its_neighbours(bucket: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "own.yaml").write_text("extends: [../in/TFKNRM.yaml]\ntrainer: {niters: 4}\n")
    upload_uri(tmp_path / "own.yaml", f"{bucket}/conf/own.yaml")
    (tmp_path / "here.yaml").write_text(f"extends: {bucket}/conf/own.yaml\ntrainer: {{itersize: 4}}\n")
    assert run(["train", "--config", str(tmp_path / "here.yaml"), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 4 * 2
