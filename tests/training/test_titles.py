"""A bi-encoder that tells titles from texts, from a collection's files to reranked runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankcli.errors import ConfigError
from rankcli.runs.prepare import prepare
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train

TITLES = ("extractor.titles=true", "reranker={titlehead: skip, frozen: true}", "trainer.niters=1")


def with_titles(folder: Path, words: int) -> None:
    """Make the first words of each text its title; the whole text stays as it is."""
    rows = [json.loads(line) for line in (folder / "docs.jsonl").read_text().splitlines()]
    for row in rows:
        all_words = f"{row['title']} {row['text']}".split()
        row["title"], row["text"] = " ".join(all_words[:words]), " ".join(all_words[words:])
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def losses_of(folder: Path) -> list[float]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def test_it_is_trained_over_kept_vectors_and_reranks_its_test_to_the_same_bytes(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny()
    with_titles(tmp_path, 2)
    config = tiny("biencoder", *TITLES, "caches={doc: {}, query: {}}")
    train(config, out=tmp_path / "run")
    plain = tiny("biencoder", *TITLES)
    train(plain, out=tmp_path / "plain")
    assert losses_of(tmp_path / "run") == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-5)
    for out in ("one", "two"):  # from the run's own data, and from files
        given = {name: str(tmp_path / f"{name}.jsonl") for name in ("docs", "queries")} if out == "two" else {}
        given |= {"run": str(tmp_path / "run/test.run")} if given else {}
        rerank(model=str(tmp_path / "run"), output=tmp_path / out, **given)
        assert (tmp_path / out).read_bytes() == (tmp_path / "run/test.run").read_bytes()
    capsys.readouterr()
    with_titles(tmp_path, 0)
    given["docs"] = str(tmp_path / "docs.jsonl")
    rerank(model=str(tmp_path / "run"), output=tmp_path / "three", **given)
    assert (tmp_path / "three").read_bytes() != (tmp_path / "two").read_bytes()
    assert "no document has a title, and the model reads titles" in capsys.readouterr().err


def test_records_know_titles_only_where_they_are_read(tiny: Any, tmp_path: Path) -> None:
    tiny()
    with pytest.raises(ConfigError, match=r"no document of .* has a title"):
        prepare(tiny("biencoder", "extractor.titles=true"))
    found = []
    for words in (0, 2, 3):
        with_titles(tmp_path, words)
        options = ((), TITLES) if words else ((),)
        found.append([prepare(tiny("biencoder", *each)).sets.job("train").identity for each in options])
    assert found[0][0] == found[1][0] == found[2][0] and "titles" not in found[0][0]
    assert found[1][1]["titles"] != found[2][1]["titles"]
    assert {**found[1][1], "titles": ""} == {**found[2][1], "titles": ""}
