"""Rerank a TREC run with a trained model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from rankcli.config.columns import PREDICTION
from rankcli.data.files import check_apart, is_stdout, replacing
from rankcli.data.topics import read_topics
from rankcli.data.trec import write_query
from rankcli.errors import ConfigError, DataError
from rankcli.evaluation.interpolate import Scores, interpolate
from rankcli.evaluation.runs import rerank as merge
from rankcli.extractors.base import reads_titles
from rankcli.log import Progress, warn
from rankcli.records.extract import examples_of
from rankcli.records.prefetch import prefetch
from rankcli.records.texts import FEATURES, InMemory
from rankcli.runs.directory import result_versions
from rankcli.runs.encoded import ScoredBlocks, scored_by_vectors
from rankcli.runs.given import given_inputs, listed_inputs, own_files, own_inputs
from rankcli.runs.hosts import check_same
from rankcli.runs.journal import RUN, Journal, count, journal
from rankcli.runs.mixed import Features, Mixture, candidates_of, features_of
from rankcli.runs.mixture import mixing_of, probability_of
from rankcli.runs.model import find_model, warn_unfinished, weights_identity
from rankcli.runs.opened import open_model
from rankcli.runs.stream import Counts, Inputs, RankedQuery, blocks, content_of, survey, texts_of
from rankcli.runs.vectors import Caches
from rankcli.shapes import Example
from rankcli.signals.base import Candidates
from rankcli.storage.base import is_remote
from rankcli.storage.places import work_root
from rankcli.training.encode import NOTHING_KEPT, VectorScorer, scorer
from rankcli.training.hosts import Hosts
from rankcli.training.predict import Predictor
from rankcli.training.signals import ending_soon
from rankcli.training.strategy import make_runtime_deterministic, make_strategy

STOPPING = "stopping; what is scored is kept, and the same command goes on"
Mix = Callable[[list[RankedQuery], Scores], Scores]
FeaturesOf = Callable[[Sequence[Candidates]], Features]
Extracted = tuple[list[RankedQuery], list[Scores], list[Example]]

TAG, MIXED, MIXTURE_TAG = (
    "rankcli-reranked",
    "rankcli-interpolated",
    "rankcli-mixed",
)  # as in the run directory's own test runs


def rerank(
    *,
    model: str,
    output: str | Path,
    weights: str = "best",
    docs: str | None = None,
    queries: str | None = None,
    run: str | None = None,
    topics: Sequence[str] = (),
    features: str | None = None,
    depth: int | None = None,
    split: str = "test",
    mix: str | float = "none",
    probability: bool = False,
    evalbatch: int = 0,
    amp: str = "none",
    strategy: str = "auto",
) -> dict[str, Any]:
    """Score the first `depth` documents of each query and write the reordered run to `output`.

    With `mix`, the scores of the first stage are mixed in, with a number as the weight of the reranker, or `auto` for
    the mixture that the training learnt, else the weight that it chose. With `probability`, the documents that were
    scored are written with the probability that they are relevant, and no others.

    Without `run`, queries are searched as those of the training were. Without `docs`, `queries` and `run`, the run
    directory's own data and candidates of `split` are reranked; with `features`, all lists of another file of features,
    which is read as the run directory's own are, with the scores of `run` if they are a feature. Where several hosts
    work together, each needs the model and the files; the first host writes.
    """
    given = [docs, queries, run]
    if features is not None and any([docs, queries, topics]):
        raise ConfigError("--features has queries, documents and candidates: leave the other options out")
    if any(given) and not (docs and queries) and features is None:
        raise ConfigError("give both --docs and --queries, with --run or without, or none of the three")
    if topics and not any(given):
        raise ConfigError("--topics goes with --queries: the run directory's own topics are read as it was trained")
    own = not any(given) and not features
    opened = Reranking(model, weights, evalbatch, amp, strategy, own=own, mix=mix, probability=probability)
    return opened(
        output=output, docs=docs, queries=queries, run=run, topics=topics, features=features, depth=depth, split=split
    )


class Reranking:
    """An open model that reranks several runs and compiles only once."""

    def __init__(
        self,
        model: str,
        weights: str = "best",
        evalbatch: int = 0,
        amp: str = "none",
        strategy: str = "auto",
        own: bool = False,
        mix: str | float = "none",
        probability: bool = False,
    ) -> None:
        self.model = find_model(model, weights)
        if own and not self.model.is_run_directory:
            raise ConfigError("--docs, --queries and --run are needed: this model is not a run directory", where=model)
        self.mix = mixing_of(self.model, weights, mix)
        self.probability = probability_of(self.model, weights, mix) if probability else None
        warn_unfinished(self.model)
        make_runtime_deterministic(0)
        devices = make_strategy(strategy)
        with devices.scope():
            opened = open_model(self.model, weights, "bfloat16" if amp == "bf16" else "float32")
            opened.reranker.freeze()
        self.hosts, self.extractor, self.columns = Hosts(devices), opened.extractor, opened.columns
        home, self._stack = self.model.home, ExitStack()  # kept vectors are held until the process ends
        caches = Caches.of(home.config) if home and self.hosts.count == 1 else None
        keep = self._stack.enter_context(caches.used_by()) if caches else None
        kept = keep(devices, opened.reranker, opened.extractor) if keep else NOTHING_KEPT
        self.scorer = scorer(devices, opened.reranker, opened.extractor, evalbatch, opened.listwise, kept)
        self.identity = {
            "weights": weights_identity(self.model, weights),
            "batches": [self.scorer.evalbatch, devices.num_replicas_in_sync, self.hosts.index, self.hosts.count],
            "computed": [amp, *sorted({str(device) for device in devices.extended.worker_devices})],
            **({"caches": caches.identity} if caches and caches.options else {}),
        }

    def __call__(
        self,
        *,
        output: str | Path,
        docs: str | None = None,
        queries: str | None = None,
        run: str | None = None,
        topics: Sequence[str] = (),
        features: str | None = None,
        depth: int | None = None,
        split: str = "test",
    ) -> dict[str, Any]:
        """Rerank a run, or one of the model's own run directory. Return `text` for people and `result` for programs."""
        own = own_files(self.model) if not docs and not features else ()
        check_apart(output, docs, queries, run, features, self.model.path, *own)
        if docs and queries:
            inputs = given_inputs(self.model, docs, read_topics(queries, None, topics), run)
        elif features:
            inputs = listed_inputs(self.model, features, self.extractor, run)
        else:
            inputs = own_inputs(self.model, split)
        counts = self.score(inputs, output, depth, lambda made: _copied(made, output))
        if self.probability:
            counts = replace(counts, lines=counts.pairs)
        return _outcome(counts, self.mix, output)

    def score(self, inputs: Inputs, output: str | Path, depth: int | None, finish: Callable[[Path], object]) -> Counts:
        """Rerank a run to a file that `finish` makes `output` of, and return its counts.

        What is scored is kept until `finish` has ended.
        """
        self._check_columns(inputs)
        if depth is None and isinstance(self.mix, Mixture):
            depth = self.mix.depth  # signals are standardised over as many candidates as in training
        with self.hosts.together():
            inputs, counts = survey(inputs, depth)
            given = {"run": content_of(inputs), "depth": depth, "versions": result_versions()}
            check_same(self.hosts, given)
            made_of = {**given, **self.identity, **texts_of(inputs, self._reads_titles(inputs))}
            with journal(work_root(), made_of, _named(output)) as kept:
                made = kept.folder / RUN
                with ending_soon(STOPPING), made.open("w", encoding="utf-8", newline="\n") as file:
                    self._rerank(inputs, depth, counts, file, kept)
                if self.hosts.chief:
                    finish(made)
        return counts

    def _reads_titles(self, inputs: Inputs) -> bool:
        """True if the model reads titles; warn if these documents have none."""
        found = reads_titles(self.extractor)
        if found and not inputs.store.titles:
            warn(f"{inputs.store.source}: no document has a title, and the model reads titles")
        return found

    def _check_columns(self, inputs: Inputs) -> None:
        """ConfigError where the model reads columns that these documents do not have."""
        given = PREDICTION | ({FEATURES} if inputs.features is not None else set())
        if missing := set(self.columns) - given:
            raise ConfigError(
                f"the model reads {', '.join(sorted(missing))}, which these documents do not have",
                where=inputs.source,
                fix="give --features, or leave out --docs, --queries and --run: its run directory's data are reranked",
            )

    def _rerank(self, inputs: Inputs, depth: int | None, counts: Counts, file: TextIO, kept: Journal) -> None:
        """Write the queries in the order of the run, each as soon as its block is scored or read from the journal."""
        left = counts.lines
        tag = TAG if self.mix is None else MIXTURE_TAG if isinstance(self.mix, Mixture) else MIXED
        with self._mixing(inputs) as mixed, closing(self._scored(inputs, depth, counts, kept)) as scored:
            for block, scores in scored:
                made = mixed(block, scores)
                for qid, found in merge({query.qid: query.scores for query in block}, made).items():
                    left -= len(found)
                    write_query(file, qid, self._probable(made.get(qid, {})) if self.probability else found, tag)
        if left:
            raise DataError("the run has changed while it was read", where=inputs.source, fix="run again")

    def _probable(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Return the probabilities of the documents that were scored."""
        assert self.probability is not None
        return dict(zip(scores, self.probability(np.array(list(scores.values()))).tolist(), strict=True))

    @contextmanager
    def _mixing(self, inputs: Inputs) -> Iterator[Mix]:
        """Yield the function from a block and its scores to the scores to write."""
        mix, home = self.mix, self.model.home
        if not isinstance(mix, Mixture):
            yield lambda block, scores: scores if mix is None else _mixed(block, scores, mix)
            return
        with features_of(mix.signals, inputs.store, home.config.trainer.storage if home else None) as features:
            yield lambda block, scores: _by_signals(mix, features, block, scores, inputs)

    def _scored(self, inputs: Inputs, depth: int | None, counts: Counts, kept: Journal) -> ScoredBlocks:
        if isinstance(self.scorer, VectorScorer):
            return scored_by_vectors(self.scorer, inputs, depth, counts, kept)
        return self._by_pairs(self.scorer, inputs, depth, counts, kept)

    def _by_pairs(
        self, predictor: Predictor, inputs: Inputs, depth: int | None, counts: Counts, kept: Journal
    ) -> ScoredBlocks:
        """Yield every block of the run with its scores; each pair is computed by itself."""
        with (
            Progress(counts.pairs, "reranking", "pairs") as bar,
            closing(prefetch(self._extracted(inputs, depth, kept), ahead=1)) as extracted,
        ):
            for block, known, examples in extracted:
                if known:
                    bar.advance(sum(map(count, known)))
                    bar.start_here()
                yield block, predictor.score(examples, bar, known=known, keep=kept.add)

    def _extracted(self, inputs: Inputs, depth: int | None, kept: Journal) -> Iterator[Extracted]:
        """Yield every block, the kept scores of this host's share of it, and the examples if scores are missing."""
        queries, features = InMemory(inputs.queries), inputs.features if FEATURES in self.columns else None
        columns = [name for name in self.columns if name != FEATURES]
        for block in blocks(inputs, depth):
            samples = [query.sample for query in block if query.top][self.hosts.index :: self.hosts.count]
            pairs = sum(len(sample.docids) for sample in samples)
            known = kept.take(pairs)
            if sum(map(count, known)) == pairs:
                yield block, known, []
            else:
                yield block, known, examples_of(samples, self.extractor, queries, inputs.store, features, columns)


def _copied(made: Path, output: str | Path) -> None:
    with made.open(encoding="utf-8", newline="\n") as file, replacing(output) as stream:
        shutil.copyfileobj(file, stream)


def _mixed(block: list[RankedQuery], scores: Scores, alpha: float) -> Scores:
    """Mix first stage and reranker over the documents that were scored."""
    first = {query.qid: {docid: query.scores[docid] for docid in query.top} for query in block if query.top}
    return interpolate(first, scores, alpha)


def _by_signals(mix: Mixture, features: FeaturesOf, block: list[RankedQuery], scores: Scores, inputs: Inputs) -> Scores:
    """Mix signals over the documents that were scored."""
    found = {
        query.qid: candidates_of(inputs.queries[query.qid], query.scores, query.top, scores[query.qid])
        for query in block
        if query.top
    }
    return mix.scored(features, found)


def _named(output: str | Path) -> str:
    return str(output) if is_stdout(output) or is_remote(str(output)) else str(Path(output).absolute())


def _outcome(counts: Counts, mix: Mixture | float | None, output: str | Path) -> dict[str, Any]:
    learnt = mix.told if isinstance(mix, Mixture) else None
    done = {"output": str(output), "alpha": None if learnt else mix, "mixture": learnt, **asdict(counts)}
    text = f"{output}: {counts.lines} lines for {counts.queries} queries, {counts.pairs} pairs scored"
    if learnt:
        text += f"; mixture: {learnt['said']}"
    elif mix is not None:
        text += f", mixed with the first stage: alpha (weight of the reranker) {mix:g}"
    return {"result": done, "text": text}
