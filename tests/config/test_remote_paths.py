"""Configurations that lie in a bucket, or name what lies in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankcli.config.load import load_config
from rankcli.config.paths import joined
from rankcli.errors import ConfigError

HOME = "gs://bucket/conf/deep/run.yaml"


@pytest.mark.parametrize(
    ("source", "path", "uri"),
    [
        (HOME, "docs.jsonl", "gs://bucket/conf/deep/docs.jsonl"),
        (HOME, "./docs.jsonl", "gs://bucket/conf/deep/docs.jsonl"),
        (HOME, "../in/docs.jsonl", "gs://bucket/conf/in/docs.jsonl"),
        (HOME, "../../../../docs.jsonl", "gs://bucket/docs.jsonl"),
        ("gs://bucket/run.yaml", "a//b", "gs://bucket/a/b"),
        (HOME, "gs://other/x//y", "gs://other/x//y"),
        (HOME, "/local/docs.jsonl", None),
        (HOME, "~/docs.jsonl", None),
        ("conf/run.yaml", "docs.jsonl", None),
        ("command line", "gs://other/x", "gs://other/x"),
    ],
)
def test_paths_in_a_bucket_are_relative_to_the_file(source: str, path: str, uri: str | None) -> None:
    assert joined(source, path) == uri


def in_bucket(folder: Path, **files: str) -> dict[str, Path]:
    """URIs of `gs://bucket/conf/` and the local files that stand for them."""
    found = {}
    for name, text in files.items():
        (folder / f"staged-{name}").write_text(text)
        found[f"gs://bucket/conf/{name}.yaml"] = folder / f"staged-{name}"
    return found


def test_every_kind_of_path_of_a_file_in_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()  # a folder beside the local copy is not what a hub id in the bucket's file means
    (tmp_path / "org" / "model").mkdir()
    text = (
        "extends: base.yaml\n"
        "data:\n"
        "  docs: ir_datasets:vaswani\n"
        "  queries: ../in/queries.jsonl\n"
        "  qrels: {train: a.txt, dev: gs://other/b.txt, test: /local/c.txt}\n"
        "  run: first.run\n"
        "reranker: {name: crossencoder, pretrained: org/model}\n"
    )
    files = in_bucket(tmp_path, run=text, base="trainer: {storage: cache}\nextractor: {tokenizer: ./model}\n")
    (tmp_path / "c.txt").write_text("")
    with pytest.raises(
        ConfigError,
        match=r"^gs://bucket/conf/run.yaml:5: data.qrels.test: no such file: /local/c.txt\n",
    ):
        load_config(["gs://bucket/conf/run.yaml"], fetch=files.__getitem__)
    here = f"data.qrels={{train: gs://b/a.txt, dev: gs://b/b.txt, test: {tmp_path / 'c.txt'}}}"
    config, places = load_config(["gs://bucket/conf/run.yaml"], [here], files.__getitem__)
    assert (config.data.docs, config.data.queries) == ("ir_datasets:vaswani", "gs://bucket/in/queries.jsonl")
    assert config.data.run == "gs://bucket/conf/first.run"
    assert config.data.qrels == {"train": "gs://b/a.txt", "dev": "gs://b/b.txt", "test": str(tmp_path / "c.txt")}
    assert config.reranker.pretrained == "org/model" and config.extractor.tokenizer == "gs://bucket/conf/model"
    assert config.trainer.storage == "gs://bucket/conf/cache"
    assert places["trainer.storage"] == "gs://bucket/conf/base.yaml:1"


def test_files_in_a_bucket_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    files = in_bucket(tmp_path, a="extends: b.yaml\n", b="extends: ../conf/a.yaml\n")
    with pytest.raises(ConfigError, match=r"^gs://bucket/conf/b.yaml:1: extends: ../conf/a.yaml leads back to itself"):
        load_config(["gs://bucket/conf/a.yaml"], fetch=files.__getitem__)


def test_a_local_file_names_places_in_a_bucket(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "data: {docs: gs://b/d, queries: gs://b/q, triples: gs://b/t, qrels: gs://b/j,\n"
        "       folds: {train: gs://b/1, dev: gs://b/2, test: gs://b/3}}\n"
        "reranker: {name: biencoder, pretrained: gs://b/model}\n"
        "trainer: {storage: gs://b/cache}\n"
    )
    config, _ = load_config([tmp_path / "run.yaml"])
    data = config.data
    assert (data.docs, data.queries, data.triples, data.qrels) == ("gs://b/d", "gs://b/q", "gs://b/t", "gs://b/j")
    assert data.folds is not None
    assert (data.folds.train, data.folds.dev, data.folds.test) == ("gs://b/1", "gs://b/2", "gs://b/3")
    assert (config.reranker.pretrained, config.trainer.storage) == ("gs://b/model", "gs://b/cache")
