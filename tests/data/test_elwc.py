"""TF-Ranking's records: what is read of them, what is refused, and that they equal LibSVM's lines of the same data."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import elwc
from rankcli.config.load import load_config
from rankcli.config.schema import Data
from rankcli.data.dataset import load_dataset
from rankcli.data.source import Source, SourceContext
from rankcli.datasets.elwc import ELWC
from rankcli.datasets.libsvm import LibSVM
from rankcli.errors import ConfigError, DataError
from rankcli.records.tfrecord import frame
from rankcli.runs.candidates import first_stage
from rankcli.verbs.train import train

FRUIT = {"relevance": 2, "f10": 0.5, "f2": [1.0, -3.0], "title": "an apple", "body": ["red", "round"]}
STONE = {"relevance": 0.0, "f2": [4, 5], "title": "a stone"}
LISTS = [({"x": 7, "text": "fruit"}, [FRUIT, STONE]), ({"text": "nothing"}, [{"relevance": 1}])]
TFR = Path(os.environ.get("RANKCLI_DATA", Path(__file__).parents[2] / "data")) / "ltr/tfranking"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))


def fill(features: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        each = value if isinstance(value, list) else [value]
        feature = features.feature[name]
        if isinstance(each[0], (str, bytes)):
            feature.bytes_list.value.extend([text if isinstance(text, bytes) else text.encode() for text in each])
        elif isinstance(each[0], int):
            feature.int64_list.value.extend(each)
        else:
            feature.float_list.value.extend(each)


def record(context: Mapping[str, Any], examples: Sequence[Mapping[str, Any]]) -> bytes:
    made = elwc.ExampleListWithContext()
    fill(made.context.features, context)
    for example in examples:
        fill(made.examples.add().features, example)
    return frame(made.SerializeToString())


def put(folder: Path, lists: Sequence[Any] = LISTS, name: str = "f") -> str:
    (folder / name).write_bytes(b"".join(each if isinstance(each, bytes) else record(*each) for each in lists))
    return str(folder / name)


def built(folder: Path, **options: Any) -> Source:
    return ELWC(**({"path": str(folder / "f")} | options)).build(SourceContext(folder / "kept"))


def of(source: Source, qid: str, *docids: str) -> list[list[float]]:
    assert source.features is not None
    return source.features.features(qid, docids).tolist()


def test_numbers_become_columns_in_natural_order_and_those_of_the_context_follow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path)
    data = built(tmp_path)
    assert data.qrels == {"": {"1": {"1.1": 2, "1.2": 0}, "2": {"2.1": 1}}}
    assert of(data, "1", "1.1", "1.2") == [[1, -3, 0.5, 7], [4, 5, 0, 7]] and of(data, "2", "2.1") == [[0, 0, 0, 0]]
    assert "3 features: f10, f2, x (context)" not in (said := capsys.readouterr().err)
    assert "3 features: f2, f10, x (context)" in said and data.docs is None
    assert of(built(tmp_path, missing=-1), "2", "2.1") == [[-1] * 4]
    some = built(tmp_path, features=("f10",), context=())
    assert of(some, "1", "1.1", "1.2") == [[0.5], [0]] and some.fingerprint != data.fingerprint


def test_a_packed_file_is_read_alike_and_a_cached_one_without_reading(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(Path(put(tmp_path)).read_bytes()))
    packed = built(tmp_path, path=str(tmp_path / "f.gz"))
    assert packed.fingerprint == built(tmp_path).fingerprint
    capsys.readouterr()
    assert built(tmp_path).fingerprint == packed.fingerprint and "reading" not in capsys.readouterr().err


def test_texts_come_from_the_context_or_the_first_example_and_candidates_are_the_list(tmp_path: Path) -> None:
    lists = [LISTS[0], ({}, [{"relevance": 1, "text": "all the same", "title": "x"}])]
    path = put(tmp_path, lists)
    source = ELWC(path={"train": path, "test": put(tmp_path, lists[::-1], "g")}, query="text", doc=("title", "body"))
    data = load_dataset(Data(source=source), tmp_path / "kept")
    assert data.queries == {"train1": "fruit", "train2": "all the same", "test1": "all the same", "test2": "fruit"}
    assert data.docs.texts(["train1.1", "train1.2", "test1.1"]) == ["an apple red round", "a stone", "x"]
    run = first_stage(data, None, tmp_path)
    assert set(run.by_query["test2"].docids) == {"test2.1", "test2.2"}


def test_texts_alone_need_no_features(tmp_path: Path) -> None:
    put(tmp_path)
    put(tmp_path, LISTS[:1])
    data = built(tmp_path, query="text", doc=("title",), features=(), context=())
    assert data.features is None and data.queries == {"1": "fruit"} and data.listed
    with pytest.raises(DataError, match="no example has a feature with numbers"):
        built(tmp_path, features=(), context=())
    with pytest.raises(ValueError, match="texts need both"):
        ELWC(path="f", query="text")
    with pytest.raises(ValueError, match="give train, test and perhaps dev"):
        ELWC(path={"train": "f"})


def test_ids_of_queries_may_be_a_feature(tmp_path: Path) -> None:
    put(tmp_path, [({"id": "a"}, [FRUIT]), ({"id": 12}, [FRUIT])])
    assert list(built(tmp_path, qid="id").queries) == ["a", "12"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (frame(b"\xff\xff"), "the record is no ExampleListWithContext"),
        (frame(b""), "the record has no examples"),
        (b"\1" * 20, "no TFRecord file, or a damaged one"),
        (record({}, [FRUIT])[:-1], "no TFRecord file, or a damaged one"),
        (({}, [{"f10": 1.0}]), "no label 'relevance'; there are f10"),
        (({}, [{"relevance": 0.5}]), r"the label is \[0.5\], not one integer from -1000 to 1000"),
        (({}, [{"relevance": [1, 2]}]), r"the label is \[1, 2\]"),
        (({}, [{"relevance": 5000}]), r"the label is \[5000\]"),
        (({}, [{"relevance": "high"}]), "feature 'relevance' is bytes, not numbers"),
        (({}, [{"relevance": 1, "f2": [1.0]}]), "feature 'f2' has 1 numbers here, 2 in an earlier place"),
        (({}, [{"relevance": 1, "f10": float("nan")}]), "feature 'f10' has a number that is not a finite float32"),
        (({"id": "1"}, [FRUIT]), "query '1' is there already, in .*f:1"),
        (({}, [FRUIT]), "no feature 'id' in the context or in the first example; there are body, f2"),
        (({"id": "a b"}, [FRUIT]), "the query id 'a b' contains ' '"),
        (({"id": b"\xff"}, [FRUIT]), "feature 'id' is not UTF-8"),
    ],
)
def test_a_malformed_record_is_named(bad: Any, said: str, tmp_path: Path) -> None:
    path = put(tmp_path, [({"id": "1"}, [FRUIT]), bad])
    if isinstance(bad, tuple) and "id" not in said and not bad[0]:
        put(tmp_path, [({"id": "1"}, [FRUIT]), ({"id": "2"}, bad[1])])
    with pytest.raises(DataError, match=said) as caught:
        built(tmp_path, qid="id")
    assert str(caught.value.where) == f"{path}:2" and not list((tmp_path / "kept").glob("*.f32"))


def test_files_and_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    put(tmp_path)
    with pytest.raises(ConfigError, match="no example has numbers in f3, title; there are f2, f10"):
        built(tmp_path, features=("f3", "title"))
    with pytest.raises(DataError, match="an example has none of the texts body"):
        built(tmp_path, query="text", doc=("body",))
    with pytest.raises(DataError, match="the file has no records"):
        built(tmp_path, path=put(tmp_path, [], "empty"))
    with pytest.raises(ConfigError, match="there is no such file"):
        built(tmp_path, path=str(tmp_path / "none"))


CONFIG = """
data: {{source: {source}, folds: {{k: 3}}}}
reranker: {{name: dnn, layers: [4]}}
sampler: judged
trainer: {{batch: 2, niters: 1, itersize: 4, lr: 1e-2, loss: softmax_gain, strategy: cpu}}
metrics: {{optimize: ndcg_exp_cut_10}}
"""


def test_lists_and_lines_of_the_same_data_give_the_same_bits(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    values = draw.normal(size=(6, 4, 12)).astype(np.float32)
    grades = np.argsort(values[:, :, 0], 1)
    lists = [
        (
            {},
            [
                {"relevance": int(y), **{f"f{n}": float(v) for n, v in enumerate(x, 1)}}
                for x, y in zip(*group, strict=True)
            ],
        )
        for group in zip(values, grades, strict=True)
    ]
    lines = [
        f"{y} qid:{q} " + " ".join(f"{n}:{float(v)!r}" for n, v in enumerate(x, 1)) + "\n"
        for q, group in enumerate(zip(values, grades, strict=True), 1)
        for x, y in zip(*group, strict=True)
    ]
    (tmp_path / "l.txt").write_text("".join(lines))
    put(tmp_path, lists)
    one, other = (LibSVM(path=str(tmp_path / "l.txt")), ELWC(path=str(tmp_path / "f")))
    made = [each.build(SourceContext(tmp_path / "kept")) for each in (one, other)]
    assert made[0].fingerprint == made[1].fingerprint and made[0].qrels == made[1].qrels
    for name, source in (("l", f"{{name: libsvm, path: {one.path}}}"), ("e", f"{{name: elwc, path: {other.path}}}")):
        (tmp_path / f"{name}.yaml").write_text(CONFIG.format(source=source))
        config, *_ = load_config([tmp_path / f"{name}.yaml"], [])
        train(config, out=tmp_path / name)
    runs = [(tmp_path / name / "test.run").read_bytes() for name in "le"]
    assert runs[0] == runs[1] and len(runs[0].splitlines()) == 8


@pytest.mark.skipif(not TFR.exists(), reason="ltr/tfranking is not in $RANKCLI_DATA or data/")
def test_samples_of_tf_ranking_are_read(tmp_path: Path) -> None:
    numbers = built(tmp_path, path=str(TFR / "train_numerical_elwc.tfrecord"), label="utility")
    assert numbers.features is not None and numbers.features.width == 136 and len(numbers.queries) == 27
    texts = built(
        tmp_path, path=str(TFR / "tfrbert_elwc_train.tfrecord"), query="query", doc=("document",), features=()
    )
    assert texts.queries["1"] == "This is a query" and texts.docs is not None
    assert texts.docs.texts(["1.1"]) == ["A very relevant document."]
