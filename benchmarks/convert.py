"""Conversion to TFRecords against a padded layout made in one process, and against the tokenizer alone.

Cranfield: groups of 1 + 7 documents from BM25's top 100 for the 135 training queries of a 5-fold split. In every round,
in another order each time:

- rankcli: `rankcli.records.convert.convert` into an empty folder. On the clock is the whole conversion: drawing the
  samples, reading the texts from the document store, tokenising each once, writing and syncing shards and manifest,
  and starting processes where it starts any. Not on the clock: reading collection and run, opening the tokenizer.
- padded: the first of the same samples, as `benchmarks/_padded.py` lays them out. On the clock: tokenising all texts of
  each sample, building, writing. Not on the clock: importing TensorFlow, getting the texts (they are in memory).
- tokenizer: the same distinct texts, encoded by the bare library, in this process with the library's own threads, and
  in as many processes as rankcli was given. Processes run and hold the texts before the clock starts. The faster of the
  two counts.

rankcli and the tokenizer run three times in a round, whose figures are the medians.

`ratio` is rankcli's samples per second over those of the padded layout. `tokenizer_share` compares the tokenising step
of the conversion, from reading texts to tokens on disk, with the tokenizer alone;
`whole_share` the whole conversion, whose other steps grow with the samples and not with the texts, which is why it is
told for fewer samples too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks._padded import Padded
from benchmarks._report import check, median, print_report, rounded, run
from benchmarks._tokenizer import bare_tokenizer, minilm, open_backend
from rankcli.backend import tf
from rankcli.config.schema import Data, Folds
from rankcli.data.dataset import Dataset, load_dataset
from rankcli.extractors.base import Extractor, ExtractorContext
from rankcli.extractors.passage import Passage
from rankcli.log import Progress
from rankcli.records.convert import convert
from rankcli.records.steps import ConversionJob
from rankcli.records.texts import InMemory
from rankcli.records.workers import available_cpus
from rankcli.runs.candidates import first_stage
from rankcli.samplers.base import Sampler, SamplerContext
from rankcli.samplers.lce import LCE
from rankcli.searchers.bm25 import BM25
from rankcli.storage.open import open_storage

NEGATIVES = 7
MAXQLEN = 32
PASSAGE = Passage(maxseqlen=256, maxqlen=MAXQLEN)
DEPTH = 100
REPEATS = 3
DATA = Path(os.environ.get("RANKCLI_DATA") or Path(__file__).resolve().parent.parent / "data")
FILES = ("corpus.jsonl", "queries.jsonl", "qrels.txt")


@dataclass(frozen=True)
class Task:
    """The start of every contender."""

    dataset: Dataset
    sampler: Sampler
    extractor: Extractor
    samples: int
    processes: int

    def distinct_texts(self) -> list[str]:
        """The texts of all queries and documents of the samples, each once."""
        samples = [self.sampler(n) for n in range(self.samples)]
        queries = dict.fromkeys(sample.qid for sample in samples)
        docs = dict.fromkeys(docid for sample in samples for docid in sample.docids)
        return [*map(self.dataset.queries.__getitem__, queries), *self.dataset.docs.texts(docs)]


class Stopwatch:
    """Times the steps of a conversion, which reports them as progress."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.units: dict[str, int] = {}

    def __call__(self, total: int, label: str, unit: str) -> Progress:
        """The progress of one step."""
        self.units[label] = total
        return _Step(self, total, label, unit)


class _Step(Progress):
    def __init__(self, watch: Stopwatch, total: int, label: str, unit: str) -> None:
        super().__init__(total, label, unit)
        self._watch, self._began = watch, time.perf_counter()

    def __enter__(self) -> _Step:
        return self

    def advance(self, n: int = 1, **fields: str) -> None:
        """Nothing is shown."""

    def __exit__(self, *_: Any) -> None:
        self._watch.seconds[self.label] = time.perf_counter() - self._began


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch, tf.device("/CPU:0"):
        task = _task(options, Path(scratch))
        texts = task.distinct_texts()
        with (
            bare_tokenizer(options.tokenizer, texts, 1) as threads,
            bare_tokenizer(options.tokenizer, texts, task.processes) as processes,
        ):
            contenders = {
                "rankcli": lambda: _repeated(lambda: _rankcli(task, scratch)),
                "fewer": lambda: _repeated(lambda: _rankcli(replace(task, samples=options.fewer_samples), scratch)),
                "padded": lambda: _padded(task, options.tokenizer, options.padded_samples, scratch),
                "tokenizer": lambda: _repeated(
                    lambda: {"threads_texts_per_s": threads(), "processes_texts_per_s": processes()}
                ),
            }
            rounds = [_round(contenders, number) for number in range(options.rounds)]
    _report(rounds, options, task.extractor, len(texts))


def _round(contenders: dict[str, Callable[[], dict[str, float]]], number: int) -> dict[str, Any]:
    names = sorted(contenders)
    names = names[number % len(names) :] + names[: number % len(names)]
    found: dict[str, Any] = {name: contenders[name]() for name in names}
    ours, alone = found["rankcli"], max(found["tokenizer"].values())
    figures = {name: {key: rounded(value) for key, value in found[name].items()} for name in names}
    return {
        **figures,
        "samples_ratio": rounded(ours["samples_per_s"] / found["padded"]["samples_per_s"]),
        "bytes_ratio": rounded(found["padded"]["bytes_per_sample"] / ours["bytes_per_sample"]),
        "tokenizer_share": rounded(ours["texts_per_s"] / alone),
        "whole_share": rounded(ours["whole_texts_per_s"] / alone),
        "whole_share_of_fewer_samples": rounded(found["fewer"]["whole_texts_per_s"] / alone),
    }


def _repeated(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The median of each figure: what takes a fraction of a second is measured more than once in a round."""
    found = [measure() for _ in range(REPEATS)]
    return {key: statistics.median(each[key] for each in found) for key in found[0]}


def _rankcli(task: Task, scratch: str) -> dict[str, float]:
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        job = ConversionJob(
            cache_id="benchmark",
            identity={},
            sampler=task.sampler,
            samples=task.samples,
            group_size=1 + NEGATIVES,
            extractor=task.extractor,
            queries=InMemory(task.dataset.queries),
            docs=task.dataset.docs,
            storage=open_storage(f"{folder}/records"),
            work=Path(folder, "work"),
        )
        start = time.perf_counter()
        convert(job, task.processes, watch)
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {
        "samples_per_s": task.samples / seconds,
        "texts_per_s": watch.units["tokenising"] / watch.seconds["tokenising"],
        "whole_texts_per_s": watch.units["tokenising"] / seconds,
        "bytes_per_sample": size / task.samples,
        "seconds": seconds,
        **{f"{label}_s": spent for label, spent in watch.seconds.items()},
    }


def _padded(task: Task, tokenizer: Path, samples: int, scratch: str) -> dict[str, float]:
    ids = [task.sampler(n) for n in range(samples)]
    docids = list(dict.fromkeys(docid for sample in ids for docid in sample.docids))
    documents = dict(zip(docids, task.dataset.docs.texts(docids), strict=True))
    layout = Padded(
        open_backend(tokenizer),
        task.dataset.queries.__getitem__,
        documents.__getitem__,
        PASSAGE.maxseqlen,
        MAXQLEN,
    )
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        start = time.perf_counter()
        size = layout.write(ids, Path(folder))
        seconds = time.perf_counter() - start
    return {"samples_per_s": samples / seconds, "bytes_per_sample": size / samples, "seconds": seconds}


def _task(options: argparse.Namespace, scratch: Path) -> Task:
    docs, queries, qrels = (str(options.data / "cranfield" / name) for name in FILES)
    dataset = load_dataset(Data(docs=docs, queries=queries, qrels=qrels, folds=Folds(k=5, fold=0)), scratch)
    run = first_stage(dataset, BM25(k=DEPTH), scratch)
    sampler = LCE(nneg=NEGATIVES).build(SamplerContext(dataset.judged("train", run)))
    extractor = PASSAGE.build(ExtractorContext(pretrained=options.tokenizer))
    return Task(dataset, sampler, extractor, options.samples, options.processes)


def _report(rounds: list[dict[str, Any]], options: argparse.Namespace, extractor: Extractor, texts: int) -> None:
    def over_rounds(key: str) -> float:
        return median(each[key] for each in rounds)

    checks = {
        "bytes_ratio": check(over_rounds("bytes_ratio"), ">= 10"),
        "samples_ratio": check(over_rounds("samples_ratio"), ">= 20"),
        "tokenizer_share": check(over_rounds("tokenizer_share"), ">= 0.7"),
        "whole_share": check(over_rounds("whole_share"), ">= 0.7"),
        "whole_share_of_fewer_samples": check(over_rounds("whole_share_of_fewer_samples"), ">= 0.7"),
    }
    conditions = {
        "collection": "cranfield",
        "samples": options.samples,
        "fewer_samples": options.fewer_samples,
        "documents_per_sample": 1 + NEGATIVES,
        "distinct_texts": texts,
        "padded_samples": options.padded_samples,
        "processes": options.processes,
        "maxseqlen": PASSAGE.maxseqlen,
        "maxqlen": PASSAGE.maxqlen,
        "vocabulary": f"{extractor.streams['doc'].vocab_size} ({extractor.fingerprint[:12]})",
    }
    print_report(over_rounds("samples_ratio"), rounds, checks, conditions)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench convert", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="with a folder cranfield [%(default)s]")
    parser.add_argument("--tokenizer", type=Path, default=minilm(), metavar="DIR", help="[that of all-MiniLM-L6-v2]")
    parser.add_argument("--samples", type=int, default=10_000, help="of rankcli's conversions [%(default)s]")
    parser.add_argument("--fewer-samples", type=int, default=2_000, help="of smaller ones [%(default)s]")
    parser.add_argument("--padded-samples", type=int, default=500, help="of the padded layout [%(default)s]")
    parser.add_argument("--processes", type=int, default=available_cpus(), help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--scratch", metavar="DIR", help="where the records are written [a temporary folder]")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
