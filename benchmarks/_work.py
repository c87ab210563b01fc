"""Parts of the benchmarks: the MiniLM cross-encoder, a collection's configuration, groups, runs, lengths."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from benchmarks._tokenizer import minilm
from rankcli.config.load import load_config
from rankcli.data.trec import Run, ranking
from rankcli.records.workers import available_cpus
from rankcli.runs.prepare import Prepared, prepare
from rankcli.shapes import Record, Sample
from rankcli.text.weights import read_tensors, write_tensors

NEGATIVES, DEPTH = 7, 100
MAXSEQLEN, MAXQLEN = 256, 32
EVALBATCH = 64
DATA = Path(os.environ.get("RANKCLI_DATA") or Path(__file__).resolve().parent.parent / "data")


def cross_encoder(folder: Path, dropout: float = 0.1) -> Path:
    """MiniLM as a sequence classifier of one label in `folder`, with a head drawn once: what all sides start from."""
    source, target = minilm(), folder / "model"
    target.mkdir()
    for name in ("tokenizer.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(source / name, target)
    tokenizer = json.loads((source / "tokenizer_config.json").read_text())
    # All that rankcli and the peer know of a directory's longest sequence
    (target / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "model_max_length": MAXSEQLEN}))
    config = json.loads((source / "config.json").read_text())
    config |= {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
    }
    (target / "config.json").write_text(json.dumps(config))
    tensors = {f"bert.{name}": value for name, value in read_tensors(source).items() if "position_ids" not in name}
    draw = np.random.default_rng(0)
    head = draw.normal(0, config["initializer_range"], (1, config["hidden_size"])).astype(np.float32)
    write_tensors(target, {**tensors, "classifier.weight": head, "classifier.bias": np.zeros(1, np.float32)})
    return target


@dataclass(frozen=True)
class Collection:
    """One collection (`docs`, `queries`, `qrels` in `source`) in a folder of the benchmark's, with its configuration.

    `trainer` holds options of the trainer, others come from the command line as `overrides`. Sequences longer than
    `maxseqlen` are cut off.
    """

    source: Path
    folder: Path
    model: Path
    trainer: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    dropout: float = 0.1
    maxseqlen: int = MAXSEQLEN

    @cached_property
    def config(self) -> Path:
        """The configuration's file; JSON is YAML."""
        path = self.folder / "config.yaml"
        content = {
            "data": {
                "docs": str(self.source / "corpus.jsonl"),
                "queries": str(self.source / "queries.jsonl"),
                "qrels": str(self.source / "qrels.txt"),
                "run": {"name": "bm25", "k": DEPTH},
                "folds": {"k": 3, "fold": 0, "seed": 7},
            },
            "reranker": {"name": "crossencoder", "pretrained": str(self.model), "dropout": self.dropout},
            "extractor": {"name": "passage", "maxseqlen": self.maxseqlen, "maxqlen": MAXQLEN},
            "sampler": {"name": "LCE", "nneg": NEGATIVES},
            "trainer": {
                "optimizer": "adamw",
                "weight_decay": 0.0,
                "threshold": 1,
                "testthreshold": 1,
                "strategy": "cpu",
                "storage": str(self.folder / "cache"),
                **self.trainer,
            },
        }
        self.folder.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=1))
        return path

    @cached_property
    def prepared(self) -> Prepared:
        """The inputs, read."""
        return prepare(load_config([self.config], self.overrides)[0])

    def samples(self, count: int) -> list[Sample]:
        """The first training samples."""
        sampler = self.prepared.sets["train"].sampler
        return [sampler(n) for n in range(count)]

    def write_groups(self, count: int) -> Path:
        """A file of the texts of the first training samples, for the peer."""
        samples, data = self.samples(count), self.prepared.dataset
        path = self.folder / "groups.jsonl"
        with path.open("w") as file:
            for sample in samples:
                texts = {"query": data.queries[sample.qid], "docs": data.docs.texts(sample.docids)}
                file.write(json.dumps({**texts, "labels": sample.labels}) + "\n")
        return path

    def write_run(self, queries: int | None = None, splits: tuple[str, ...] = ("test",), depth: int = DEPTH) -> Path:
        """A run of the candidates of some parts of the split: of the first `queries` of each, of all for None."""
        parts = [self.prepared.sets[split].candidates for split in splits]
        path = self.folder / "first.run"
        with path.open("w") as file:
            for found in parts:
                self._write_candidates(found, queries, depth, file)
        return path

    @staticmethod
    def _write_candidates(found: Run, queries: int | None, depth: int, file: TextIO) -> None:
        for qid in sorted(found)[:queries]:
            for rank, docid in enumerate(ranking(found[qid])[:depth], 1):
                file.write(f"{qid} Q0 {docid} {rank} {found[qid][docid]} bm25\n")

    def lengths(self, pairs: Iterable[tuple[str, str]]) -> npt.NDArray[np.int64]:
        """Tokens of the sequence of each (query, document) as rankcli reads it: what is cut off is not counted."""
        data, extractor = self.prepared.dataset, self.prepared.start.extractor
        qids, docids = zip(*pairs, strict=True)
        queries = extractor.encode("query", [Record(qid, data.queries[qid]) for qid in qids]).tokens
        docs = extractor.encode("doc", list(map(Record, docids, data.docs.texts(docids)))).tokens
        both = zip(queries, docs, strict=True)
        return np.array([3 + len(q) + min(len(d), extractor.budget("doc", {"query": len(q)})) for q, d in both])

    def task(self, does: str, **more: Any) -> dict[str, Any]:
        """A task for a contender."""
        return {
            "does": does,
            "model": str(self.model),
            "config": str(self.config),
            "docs": str(self.source / "corpus.jsonl"),
            "queries": str(self.source / "queries.jsonl"),
            "maxseqlen": self.maxseqlen,
            "evalbatch": EVALBATCH,
            "threads": available_cpus(),
            **more,
        }


def in_turns(turns: int, groups: int, batch: int, precision: str) -> dict[str, Any]:
    """Options of a training whose iterations are turns; it validates and saves where it begins and ends."""
    return {
        "batch": batch,
        "itersize": groups,
        "niters": turns,
        "validatefreq": turns,
        "checkpoint_interval": turns,
        "amp": amp(precision),
    }


def pairs_of(samples: Iterable[Sample]) -> list[tuple[str, str]]:
    """Query and document of every place of the samples."""
    return [(sample.qid, docid) for sample in samples for docid in sample.docids]


def pairs_in(run: Path) -> list[tuple[str, str]]:
    """Query and document of every line of a run."""
    return [(line.split()[0], line.split()[2]) for line in run.read_text().splitlines()]


def parser(name: str, description: str | None, rounds: int = 5) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(f"scripts/bench {name}", description=(description or "").split("\n")[0])
    made.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="with the collections [%(default)s]")
    made.add_argument("--precision", choices=["fp32", "bf16"], default="bf16", help="[%(default)s]")
    made.add_argument("--rounds", type=int, default=rounds, help="[%(default)s]")
    made.add_argument("--scratch", metavar="DIR", help="where it works [a temporary folder]")
    return made


def amp(precision: str) -> str:
    """The option of the trainer for a precision."""
    return {"fp32": "none", "bf16": "bf16"}[precision]


def peer_python() -> str:
    """The Python of the peer's environment, which `scripts/bench` makes."""
    return os.environ["RANKCLI_PEERS_PYTHON"]
