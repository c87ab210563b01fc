"""The benchmarks: what they compare with is what it claims to be, and they print one document."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace

from benchmarks import _memory, _report, _synthetic, convert_memory, models
from benchmarks._budget_side import Budget
from benchmarks._padded import Padded
from rankcli.backend import tf
from rankcli.config.load import load_config
from rankcli.config.registry import RERANKERS
from rankcli.data.stdlib_docs import StdlibDocs
from rankcli.listeners.base import Moment, Vote
from rankcli.shapes import Sample

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "fish", "sea", "old", "man"]
TEXTS = {"d1": "old man sea fish old", "d2": "", "d3": "sea"}


def padded() -> Padded:
    tokenizer = Tokenizer(WordPiece({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return Padded(tokenizer, {"q1": "fish old sea"}.__getitem__, TEXTS.__getitem__, maxseqlen=8, maxqlen=2)


def test_the_padded_layout_is_what_it_is_said_to_be(tmp_path: Path) -> None:
    size = padded().write([Sample("q1", ("d1", "d2", "d3"), (1.0, 0.0, 0.0))], tmp_path)
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir()) > 3 * 3 * 8 * 8
    (record,) = tf.data.TFRecordDataset([str(path) for path in tmp_path.iterdir()])
    features = tf.train.Example.FromString(record.numpy()).features.feature
    assert sorted(features) == ["label", *(f"{a}_{b}" for a in ("neg", "pos") for b in ("bert_input", "mask", "seg"))]

    def tensor(name: str, dtype: Any = tf.int64) -> Any:
        return tf.io.parse_tensor(features[name].bytes_list.value[0], dtype).numpy()

    assert tensor("pos_bert_input").tolist() == [1, 4, 6, 2, 6, 7, 5, 2]
    assert tensor("pos_mask").tolist() == [1] * 8 and tensor("pos_seg").tolist() == [0] * 4 + [1] * 4
    assert tensor("neg_bert_input").tolist() == [[1, 4, 6, 2, 2, 0, 0, 0], [1, 4, 6, 2, 5, 2, 0, 0]]
    assert tensor("neg_mask").tolist() == [[1, 1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0]]
    assert tensor("neg_seg").tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]] * 2
    assert tensor("label", tf.float32).tolist() == [1.0, 0.0, 0.0]


def test_files_of_the_padded_layout_hold_no_more_than_the_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks._padded.BUFFERED", 2)
    padded().write([Sample("q1", ("d1", "d2"), (1.0, 0.0))] * 7, tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [sum(1 for _ in tf.data.TFRecordDataset(str(path))) for path in files] == [3, 3, 1]


def test_a_synthetic_collection_is_the_same_every_time_and_begins_alike(tmp_path: Path) -> None:
    for name, documents in {"one": 1500, "again": 1500, "more": 2500}.items():
        (tmp_path / name).mkdir()
        _synthetic.write_collection(tmp_path / name, documents)
    one, again, more = ((tmp_path / name / "docs.jsonl").read_text() for name in ("one", "again", "more"))
    assert one == again and more.startswith(one) and len(one.splitlines()) == 1500
    lengths = [len(json.loads(line)["text"].split()) for line in more.splitlines()]
    assert 58 < np.mean(lengths) < 62 and min(lengths) >= 30 and max(lengths) <= 90
    words = " ".join(json.loads(line)["text"] for line in more.splitlines()).split()
    assert words.count(_synthetic._word(0)) == pytest.approx(2 * words.count(_synthetic._word(1)), rel=0.1)
    assert len({_synthetic._word(n) for n in range(20_000)}) == 20_000


def test_every_document_of_a_synthetic_collection_is_a_candidate_of_one_query(tmp_path: Path) -> None:
    _synthetic.write_collection(tmp_path, 30_000)
    run = [line.split()[:3:2] for line in (tmp_path / "first.run").read_text().splitlines()]
    assert sorted(docid for _, docid in run) == sorted(f"doc{n}" for n in range(30_000))
    judged = {name: (tmp_path / f"{name}.qrels").read_text().split()[::4] for name in ("train", "dev", "test")}
    assert (judged["dev"], judged["test"]) == (["q0", "q100", "q200"], ["q1", "q101", "q201"])
    assert len(judged["train"]) == 294 and not set(judged["train"]) & {"q0", "q1", "q100"}


def test_memory_is_that_of_all_processes() -> None:
    child = "import time; block = b'x' * 60_000_000; time.sleep(1)"
    parent = (
        f"import subprocess, sys, time; block = b'x' * 40_000_000; subprocess.run([sys.executable, '-c', {child!r}])"
    )
    spent, peak = _memory.watched([sys.executable, "-c", parent])
    assert 1 < spent.wall < 10 and 0 < spent.cpu < spent.wall and peak.processes == 2
    assert 100e6 < peak.anonymous < 130e6 and peak.anonymous <= peak.pss <= peak.rss
    with pytest.raises(subprocess.CalledProcessError):
        _memory.watched([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_report_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    _report.print_report(24.123456, [{"seconds": 1.0}], {"speed": _report.check(24.123456, ">= 20")}, {"samples": 3})
    document = json.loads(capsys.readouterr().out)
    assert document["ratio"] == 24.12 and document["checks"] == {"speed": {"value": 24.12, "wanted": ">= 20"}}
    assert document["conditions"]["samples"] == 3 and document["conditions"]["machine"]["cpus"] >= 1
    assert list(document) == ["ratio", "rounds", "checks", "conditions"]


def test_time_is_linear_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = [{"documents": n, "samples": 0.4 * n, "seconds": 3 + 2 * n, "pss_mb": n} for n in (100, 200, 400)]
    rounds.append({"documents": 100, "samples": 7, "seconds": 999, "pss_mb": 900})
    convert_memory._report(rounds, [100, 200, 400])
    document = json.loads(capsys.readouterr().out)
    assert document["ratio"] == 4 and document["checks"]["linear_fit_r2"]["value"] == 1
    assert document["checks"]["peak_mb"] == {"value": 900, "wanted": "< 1000"}


@pytest.mark.parametrize("name", [*models.ENCODERS, *models.ON_WORDS])
def test_the_configuration_of_each_model_is_valid(name: str, tmp_path: Path) -> None:
    data = models._collection(tmp_path, {"train": None, "dev": 2, "test": 3}, SMALL)
    options = SimpleNamespace(pretrained="org/model", precision="bf16", depth=20)
    (tmp_path / "c.json").write_text(json.dumps(models._config(name, data, tmp_path, options)))
    config, *_ = load_config([tmp_path / "c.json"])
    assert RERANKERS.name_of(config.reranker) == name and config.trainer.threshold == (6 if name == "duobert" else 20)
    assert (tmp_path / "test.txt").read_text().split() == ["?d5", "?d8", "?d11"]
    assert (tmp_path / "qrels.txt").read_text().splitlines()[0] == "?d0 0 d0 1"


def test_every_model_on_texts_is_measured() -> None:
    on_texts = {name for name in RERANKERS.builtins() if RERANKERS.get(name).default_extractor != "features"}
    assert on_texts == {*models.ENCODERS, *models.ON_WORDS}


def test_a_budget_is_spent_in_iterations_and_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 4.0, 50.0, 57.0])
    monkeypatch.setattr(time, "process_time", lambda: next(times))
    spender, now = Budget(seconds=10).build(cast(Any, None)), Moment(1, 1)
    for vote in (Vote.NO_DECISION, Vote.STOP):
        spender.start_iteration(now)
        spender.end_iteration(now, {})
        assert spender.vote() is vote
    assert spender.reason() == "11 s of the processor" and spender.state() == {"spent": 11.0}


SMALL = StdlibDocs(
    docs={f"d{n}": f"text {n}" for n in range(14)},
    queries={f"?d{n}": f"query {n}" for n in range(14)},
    qrels={f"?d{n}": {f"d{n}": 1} for n in range(14)},
    split={f"?d{n}": "train" if n < 3 else "dev" if n < 5 else "test" for n in range(14)},
)
