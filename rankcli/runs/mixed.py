"""The mixture of signals: learnt at the end of a training, kept in its run directory, and applied to any candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.config.identity import component_identity, digest
from rankcli.config.registry import SIGNALS, path_options
from rankcli.config.render import section
from rankcli.config.schema import MixtureOptions
from rankcli.config.validate import component_from
from rankcli.data.dataset import Dataset
from rankcli.data.hashes import input_sha256
from rankcli.data.scales import standard
from rankcli.data.source import Documents
from rankcli.data.trec import CompactRun, ranking
from rankcli.errors import ConfigError, DamageError, DataError
from rankcli.evaluation.ablation import Stage
from rankcli.evaluation.interpolate import Scores
from rankcli.evaluation.listwise import Array, Lists, chosen_l2, cross_validated, fitted
from rankcli.evaluation.trec import evaluate, means
from rankcli.log import say
from rankcli.runs.encoder import TextEncoder, text_vectors
from rankcli.runs.written import MIXTURE, TRAIN_AGAIN, write_json
from rankcli.searchers.base import SearcherContext
from rankcli.signals.base import Candidates
from rankcli.storage.sealed import Kinds, read_checked

SCALING = "zscore"  # of every signal over the candidates of a query
_KINDS: Kinds = {"signals": list, "weights": list, "l2": (int, float), "depth": int, "scaling": str}
Features = list[Array]  # [candidates, signals] of each query


@dataclass(frozen=True)
class Mixture:
    """Signals with their weights. `depth` candidates of a query are mixed; `learnt` has facts about the learning."""

    signals: tuple[Any, ...]
    weights: tuple[float, ...]
    l2: float
    depth: int
    learnt: Mapping[str, Any]

    @property
    def told(self) -> dict[str, Any]:
        """The part of `result.json`."""
        weights = dict(zip(map(str, self.signals), self.weights, strict=True))
        listed = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
        said = f"{listed} (l2 {self.l2:g}, learnt on {self.learnt['queries']} queries)"
        return {"said": said, "weights": weights, "l2": self.l2, **self.learnt}

    def scored(self, features: Callable[[Sequence[Candidates]], Features], found: Mapping[str, Candidates]) -> Scores:
        """Return the scores of the documents of some queries, by query id."""
        scores, weights = {}, np.array(self.weights)
        for (qid, each), own in zip(found.items(), features(list(found.values())), strict=True):
            scores[qid] = dict(zip(each.docids, (own @ weights).tolist(), strict=True))
        return scores


@dataclass(frozen=True)
class Lesson:
    """The queries that a mixture is learnt on: their candidates, by id, and all that is to be known of the training."""

    options: MixtureOptions
    dataset: Dataset
    candidates: Mapping[str, Candidates]
    metric: str
    depth: int
    storage: str | None


def check_signals(options: MixtureOptions | None, dataset: Dataset) -> None:
    """ConfigError for signals that cannot be computed: without texts, or with a model that makes no vectors."""
    models: set[str] = set()
    for n, signal in enumerate(options.signals if options else ()):
        where = f"mixture.signals.{n}"
        if signal.reads_texts and not len(dataset.docs):
            raise ConfigError(f"{signal} reads texts, and this source has none", where=where, fix="leave it out")
        parts = [signal, getattr(signal, "run", None) or signal]
        models.update(said for part in parts for said in path_options(part, "model").values())
    for said in sorted(models):
        TextEncoder(said)


@contextmanager
def features_of(
    signals: Sequence[Any], docs: Documents, storage: str | None = None
) -> Iterator[Callable[[Sequence[Candidates]], Features]]:
    """Yield the function from queries with candidates to the values of all signals, standardised query by query."""
    with text_vectors(docs, storage) as vectors:
        ctx = SearcherContext(docs, vectors)
        made = [signal.build(ctx) for signal in signals]

        def features(block: Sequence[Candidates]) -> Features:
            columns = [signal(block) for signal in made]
            return [np.stack([standard(each) for each in own], axis=1) for own in zip(*columns, strict=True)]

        yield features


def candidates_of(query: str, first: Mapping[str, float], docids: Sequence[str], scores: Any = None) -> Candidates:
    """Return a query with some documents of a run, and their scores by the reranker if there are any."""
    reranked = None if scores is None else np.array([scores[docid] for docid in docids], np.float64)
    return Candidates(query, tuple(docids), np.array([first[docid] for docid in docids], np.float64), reranked)


def top_candidates(
    queries: Mapping[str, str], run: CompactRun, depth: int, scores: Scores | None = None
) -> dict[str, Candidates]:
    """Return the first candidates of every query of a run, by query id."""
    found = {}
    for qid, first in run.items():
        own = None if scores is None else scores.get(qid, {})
        found[qid] = candidates_of(queries[qid], first, ranking(first)[:depth], own)
    return found


def learnt(lesson: Lesson, test: Mapping[str, Candidates]) -> tuple[Mixture, Scores]:
    """Learn a mixture, and return it with its scores of the test candidates."""
    options, known = lesson.options, list(lesson.candidates)
    with features_of(options.signals, lesson.dataset.docs, lesson.storage) as features:
        mixture = _fitted(lesson, dict(zip(known, features(list(lesson.candidates.values())), strict=True)))
        places = [options.signals.index(signal) for signal in mixture.signals]
        return mixture, mixture.scored(lambda block: [own[:, places] for own in features(block)], test)


def _fitted(lesson: Lesson, features: Mapping[str, Array]) -> Mixture:
    options, dataset = lesson.options, lesson.dataset
    grades = {qid: _grades(dataset.qrels[qid], lesson.candidates[qid].docids) for qid in features}
    if not any(each.any() for each in grades.values()):
        fix = "rerank deeper (trainer.threshold), or leave `mixture` out"
        raise DataError("no candidate of these queries is relevant, so no mixture can be learnt", fix=fix)
    places, stages = list(range(len(options.signals))), list[Stage]()
    if options.careful:
        places, stages = _paying(lesson, features, grades)
    learnt = _Weighing(lesson, features, grades, places)
    l2, table = learnt.chosen()
    signals = tuple(options.signals[n] for n in places)
    facts = {
        "queries": sum(bool(each.any()) for each in grades.values()),
        "metric": lesson.metric,
        "tried": {f"{each:g}": found for each, found in table.items()},
        "identity": identity_of(options),
        **({"stages": [each._asdict() for each in stages]} if stages else {}),
    }
    mixture = Mixture(signals, learnt.weights(l2), l2, lesson.depth, facts)
    say(f"mixture: {mixture.told['said']}")
    return mixture


def _paying(
    lesson: Lesson, features: Mapping[str, Array], grades: Mapping[str, Array]
) -> tuple[list[int], list[Stage]]:
    """Return the places of the signals to keep, tried in turn, and the stages of all."""
    signals, kept = lesson.options.signals, [0]
    before = _Weighing(lesson, features, grades, kept).values_held_out()
    stages = [Stage.first(str(signals[0]), before)]
    for place in range(1, len(signals)):
        found = _Weighing(lesson, features, grades, [*kept, place]).values_held_out()
        stages.append(Stage.after(f"+ {signals[place]}", found, before))
        if stages[-1].kept:
            kept, before = [*kept, place], found
    return kept, stages


@dataclass(frozen=True)
class _Weighing:
    """The learning of weights of some signals, those at `places`."""

    lesson: Lesson
    all_features: Mapping[str, Array]
    grades: Mapping[str, Array]
    places: Sequence[int]

    @property
    def features(self) -> dict[str, Array]:
        return {qid: each[:, list(self.places)] for qid, each in self.all_features.items()}

    @property
    def prior(self) -> Array:
        return np.array([self.lesson.options.signals[n].start for n in self.places])

    def chosen(self) -> tuple[float, dict[float, float]]:
        """Return l2, and the value of every one that was tried."""
        l2 = self.lesson.options.l2
        return (l2, {}) if l2 != "auto" else chosen_l2(self.features, self.grades, self.prior, self._mean)

    def weights(self, l2: float) -> tuple[float, ...]:
        lists = Lists.of(list(self.features.values()), [self.grades[qid] for qid in self.features])
        return tuple(fitted(lists, l2, self.prior).tolist())

    def values_held_out(self) -> dict[str, float]:
        """Return the value of every query by weights that were learnt without it."""
        return self._values(cross_validated(self.features, self.grades, self.prior, self.chosen()[0]))

    def _values(self, scores: Mapping[str, Array]) -> dict[str, float]:
        candidates, metric, dataset = self.lesson.candidates, self.lesson.metric, self.lesson.dataset
        run = {qid: dict(zip(candidates[qid].docids, scores[qid].tolist(), strict=True)) for qid in scores}
        judged = {qid: dataset.qrels[qid] for qid in self.all_features}
        return evaluate(judged, run, [metric], dataset.relevance_level)[metric]

    def _mean(self, scores: Mapping[str, Array]) -> float:
        return means({self.lesson.metric: self._values(scores)})[self.lesson.metric]


def _grades(grades: Mapping[str, int], docids: Sequence[str]) -> Array:
    return np.array([max(grades.get(docid, 0), 0) for docid in docids], np.float64)


def identity_of(options: MixtureOptions) -> str:
    """Return a hash of the options of a mixture, tuned settings included."""
    made_of = [component_identity(SIGNALS, each, input_sha256) for each in options.signals]
    return digest({"signals": made_of, "l2": options.l2, **({"careful": True} if options.careful else {})})


def write_mixture(out: Path, mixture: Mixture) -> None:
    """Write `mixture.json`."""
    content = {
        "schema_version": 1,
        "signals": [section(SIGNALS, each) for each in mixture.signals],
        "scaling": SCALING,
        "weights": mixture.weights,
        "l2": mixture.l2,
        "depth": mixture.depth,
        "learnt": mixture.learnt,
    }
    write_json(out / MIXTURE, content)


def read_mixture(folder: Path) -> Mixture:
    """Read `mixture.json`; DamageError if it was changed."""
    path = folder / MIXTURE
    content = read_checked(path, _KINDS, fix=TRAIN_AGAIN)
    if len(content["weights"]) != len(content["signals"]) or content["scaling"] != SCALING:
        raise DamageError("not the mixture of a training", where=str(path), fix=TRAIN_AGAIN)
    signals = tuple(component_from(SIGNALS, each, str(path)) for each in content["signals"])
    return Mixture(signals, tuple(content["weights"]), content["l2"], content["depth"], content.get("learnt", {}))


def reads_reranker(signals: Sequence[Any]) -> bool:
    """True if one of the signals is the score of the reranker."""
    return any(signal.reads_reranker for signal in signals)
