"""Searchers that are tuned on the training queries, once, before they search; and words on how each was tuned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rankcli.config.identity import component_identity
from rankcli.config.metrics import depth_of
from rankcli.config.paths import shortened
from rankcli.config.registry import SEARCHERS
from rankcli.config.schema import RunConfig
from rankcli.data.dataset import Dataset, canonical_hash
from rankcli.data.kept import Kept
from rankcli.data.trec import Qrels, Run
from rankcli.errors import DataError
from rankcli.evaluation.trec import evaluate, means
from rankcli.log import say
from rankcli.runs.candidates import packages
from rankcli.searchers.fuse import Fuse
from rankcli.searchers.tune import Tuned
from rankcli.storage.atomic import write_file
from rankcli.storage.json_files import read_object

KIND, SUFFIX = "tuned", ".tuned"


@dataclass(frozen=True)
class FirstStage:
    """A first stage with its settings chosen: the option of a config, and words on how it was tuned."""

    option: Any
    said: str


def tuned_stage(config: RunConfig, dataset: Dataset, scratch: Path) -> FirstStage:
    """Return `data.run` with everything chosen that is to be tuned on the training queries of the split.

    The judgments of test queries are not read, and those of dev queries only if nothing is trained, since dev then
    chooses no weights. What was chosen is kept in `scratch`.
    """
    return _Tuning.of_run(config, dataset, scratch).of(config.data.run)


def with_tuned(config: RunConfig, dataset: Dataset, scratch: Path) -> tuple[RunConfig, str]:
    """Return a config whose first stages, those of dev sets included, and signals are tuned, and words on that of
    `data.run`.
    """
    tuning, data = _Tuning.of_run(config, dataset, scratch), config.data
    main = tuning.of(data.run)
    others = {name: replace(each, run=tuning.of(each.run).option) for name, each in (data.devsets or {}).items()}
    made = replace(config, data=replace(data, run=main.option, devsets=others or data.devsets))
    if made.mixture:
        signals = tuple(_with_tuned_run(each, tuning) for each in made.mixture.signals)
        made = replace(made, mixture=replace(made.mixture, signals=signals))
    return made, main.said


def _with_tuned_run(signal: Any, tuning: _Tuning) -> Any:
    """Return a signal that is a searcher's score with that searcher tuned; any other as it is."""
    return replace(signal, run=tuning.of(signal.run).option) if hasattr(signal, "run") else signal


@dataclass(frozen=True)
class _Tuning:
    dataset: Dataset
    scratch: Path
    metric: str
    splits: tuple[str, ...]  # of the queries that choose

    @classmethod
    def of_run(cls, config: RunConfig, dataset: Dataset, scratch: Path) -> _Tuning:
        return cls(dataset, scratch, config.metrics.optimize, ("train",) if config.trainer.niters else ("train", "dev"))

    @property
    def judged(self) -> Qrels:
        return {qid: grades for split in self.splits for qid, grades in self.dataset.judgments(split).items()}

    @property
    def topics(self) -> dict[str, str]:
        return self.dataset.topics(*self.splits)

    @property
    def who(self) -> str:
        return "training queries" if len(self.splits) == 1 else "training and dev queries"

    def of(self, option: Any) -> FirstStage:
        if option is None or isinstance(option, str):
            return FirstStage(option, f"the run {shortened(str(option))}; how it was tuned is not known")
        if self.dataset.listed:
            return FirstStage(option, "the judged documents of each query")
        if isinstance(option, Fuse):
            parts = [self.of(each) for each in option.runs]
            said = f"{option.method} of {'; '.join(part.said for part in parts)}"
            return FirstStage(replace(option, runs=tuple(part.option for part in parts)), said)
        if not getattr(option, "tune", False):
            return FirstStage(option, f"{option}, not tuned")
        return self._tuned(option)

    def _tuned(self, option: Any) -> FirstStage:
        kept = self._kept(option)
        if not kept.is_whole():
            kept.path.parent.mkdir(parents=True, exist_ok=True)
            write_file(kept.path, json.dumps(self._found(option)).encode())
            kept.seal()
        found = read_object(kept.path)
        chosen = replace(option, tune=False, **found["chosen"])
        count = sum(len(self.dataset.split[split]) for split in self.splits)
        say(f"{chosen}: tuned on {count} {self.who}, {_told(found, self.metric)}")
        return FirstStage(chosen, f"{chosen}, tuned on the {self.who}")

    def _found(self, option: Any) -> Mapping[str, Any]:
        judged, texts = self.judged, self.topics
        if not texts:
            fix = "give its settings instead of `tune`"
            raise DataError("there are no training queries to tune the first stage on", where="data.run", fix=fix)

        def value(run: Run) -> float:
            return means(evaluate(judged, run, [self.metric], self.dataset.relevance_level))[self.metric]

        tuned: Tuned = option.tuned(self.dataset.docs, texts, value, depth_of(self.metric))
        return {**asdict(tuned), "value": tuned.value, "edges": tuned.edges}

    def _kept(self, option: Any) -> Kept:
        made_of = {
            "collection": self.dataset.docs.fingerprint,
            "topics": canonical_hash(self.topics),
            "qrels": canonical_hash(self.judged),
            "level": self.dataset.relevance_level,
            "metric": self.metric,
            "searcher": component_identity(SEARCHERS, option),
            "packages": packages(),
        }
        return Kept(self.scratch, KIND, SUFFIX, json.dumps(made_of, sort_keys=True), self.dataset.docs.source)


def _told(found: Mapping[str, Any], metric: str) -> str:
    edges = f"; the best {' and '.join(found['edges'])} is the last value that is tried" if found["edges"] else ""
    return f"{metric} {found['value']:.4f} there, the best of {len(found['table'])} settings{edges}"
