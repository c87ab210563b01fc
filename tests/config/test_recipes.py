"""The recipes of published models: each is a valid configuration, and its small form trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rankcli.config.load import load_config
from rankcli.errors import ConfigError
from rankcli.verbs.train import train
from tests.data.test_elwc import put

RECIPES = Path(__file__).parents[2] / "configs/recipes"
NAMES = sorted(path.name.removesuffix(".yaml") for path in RECIPES.glob("*.yaml"))
FULL = [name for name in NAMES if not name.endswith(".small")]


# in place of `stdlib-docs`, which takes longer
COLLECTION = "data: {builtin: null, docs: d.tsv, queries: q.tsv, qrels: j.txt, folds: {k: 3}}\n"
OWN = {
    "monoelectra-lce": "{maxseqlen: 24, maxqlen: 6, vocab_size: 60}",
    "rank-distillm": "{maxseqlen: 24, maxqlen: 6, vocab_size: 60}",
    "birch-robust04": "{maxqlen: 6, vocab_size: 60}",
}


@pytest.mark.parametrize("name", FULL)
def test_but_for_its_data_a_recipe_is_a_valid_configuration(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([RECIPES / f"{name}.yaml"])
    lines = str(caught.value).splitlines()
    told = [line for line in lines if "->" not in line and "errors in the configuration" not in line]
    assert told and all("no such file" in line or "nor a run file" in line for line in told)
    text = (RECIPES / f"{name}.yaml").read_text()
    assert "# To reach: " in text and "Cost" in text.replace("cost", "Cost")


@pytest.mark.parametrize("name", ["mslr-web30k", "tfrbert-antique", *OWN])
def test_its_small_form_trains(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    for path in RECIPES.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    write_few(tmp_path)
    path = tmp_path / f"{name}.small.yaml"
    if name in OWN:
        path = tmp_path / "own.yaml"
        path.write_text(f"extends: {name}.small.yaml\n{COLLECTION}extractor: {OWN[name]}\n")
    config, *_ = load_config([path])
    train(config, out=tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert 0 < result["splits"]["test"]["reranked"][config.metrics.optimize] <= 1


def write_few(folder: Path) -> None:
    """Lists of features, lists of texts, and a collection of nine documents with a teacher's scores."""
    lines = [f"{(n * 7) % 5} qid:{n // 4} 1:{(n * 7) % 5} 136:0.5" for n in range(48)]
    (folder / "features.txt").write_text("\n".join(lines) + "\n")
    words = "ant bee cat dog eel fox gnu hen ibis".split()  # noqa: SIM905
    (folder / "d.tsv").write_text("".join(f"d{n}\t{word} and {words[n - 1]}\n" for n, word in enumerate(words)))
    (folder / "q.tsv").write_text("".join(f"q{n}\t{word}\n" for n, word in enumerate(words)))
    (folder / "j.txt").write_text("".join(f"q{n} 0 d{n} 1\n" for n in range(9)))
    teacher = [f"q{n} Q0 d{(n + k) % 9} {k + 1} {9 - k} t\n" for n in range(9) for k in range(9)]
    (folder / "teacher.run").write_text("".join(teacher))
    put(folder, [lists_of(n, words) for n in range(9)], "lists.tfrecords")


def lists_of(n: int, words: list[str]) -> tuple[dict[str, str], list[dict[str, str | int]]]:
    """A query with three answers, of which the first is the best."""
    answers = [words[n], words[n - 1], words[n - 2]]
    examples = [{"relevance": 2 - k, "document": f"{word} and {words[k]}"} for k, word in enumerate(answers)]
    return {"query": words[n]}, examples
