"""The stages of a mixture, and the gain of each in nDCG@10: first stages, one alpha, vector feedback, learnt weights.

Nothing is trained but the weights of the mixture: first stages and weights are chosen on the training and dev queries
of each fold, and every query is tested once per seed of the folds. A query's value is its mean over the seeds. `p` is a
paired t-test over the queries against tuned BM25 with RM3, adjusted by Holm over the other stages of the collection.

`ratio` is the mean gain of the last stage over tuned BM25 with RM3.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._report import print_report, rounded, run
from benchmarks._work import DATA
from rankcli.config.load import load_config
from rankcli.config.registry import SIGNALS
from rankcli.config.validate import component_from
from rankcli.evaluation.interpolate import Scores, best_alpha, interpolate
from rankcli.evaluation.listwise import Lists, chosen_l2, fitted
from rankcli.evaluation.runs import top
from rankcli.evaluation.significance import holm, t_test
from rankcli.evaluation.trec import evaluate, means
from rankcli.log import say
from rankcli.runs.mixed import features_of, top_candidates
from rankcli.runs.prepare import Prepared, prepare
from rankcli.signals.base import Candidates

METRIC, DEPTH, UNION = "ndcg_cut_10", 100, 200
BASE, JOINED = "+ RM3", "joined"
FED = "{name: bm25, tune: true, feedback: rm3}"
RUNS = {
    "BM25": "bm25",
    "BM25 tuned": "{name: bm25, tune: true}",
    BASE: FED,
    JOINED: f"{{name: fuse, method: union, runs: [{FED}, {{name: dense, pretrained: MODEL}}]}}",
}
PRIORS = {  # of RM3, cosine, vector feedback, and further signals
    "RM3 and cosine": (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "RM3 and vector feedback": (1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0),
}
MOVED = tuple(product((1, 3, 5), (0.2, 0.4)))  # documents and their weight, of which training queries choose


def main() -> None:
    """Run the benchmark."""
    made = argparse.ArgumentParser(prog="scripts/bench mixture", description=__doc__)
    made.add_argument("--data", type=Path, default=DATA, help="the folder of the collections [%(default)s]")
    made.add_argument("--model", required=True, help="a directory of MiniLM's weights, or a hub id")
    made.add_argument("--collections", nargs="+", default=["vaswani", "cranfield"], help="[%(default)s]")
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the folds [%(default)s]")
    made.add_argument("--folds", type=int, default=3, help="[%(default)s]")
    options = made.parse_args()
    rounds = [_collection(name, options) for name in options.collections]
    gains = [list(found["stages"].values())[-1]["gain"] for found in rounds]
    print_report(float(np.mean(gains)), rounds, {}, {"model": options.model, "seeds": options.seeds})


def _collection(name: str, options: argparse.Namespace) -> dict[str, Any]:
    values: dict[str, dict[str, list[float]]] = {}
    for seed, fold in product(options.seeds, range(options.folds)):
        for stage, scores in _fold(name, seed, fold, options).items():
            for qid, value in scores.items():
                values.setdefault(stage, {}).setdefault(qid, []).append(value)
        say(f"{name}, seed {seed}, fold {fold}: {_told(values)}")
    return {"collection": name, "queries": len(values[BASE]), "stages": _stages(values)}


def _told(values: Mapping[str, Mapping[str, list[float]]]) -> str:
    return ", ".join(f"{stage} {_mean(found).mean():.4f}" for stage, found in values.items())


def _mean(found: Mapping[str, list[float]]) -> Any:
    return np.array([np.mean(found[qid]) for qid in sorted(found)])


def _stages(values: Mapping[str, Mapping[str, list[float]]]) -> dict[str, dict[str, float]]:
    base = _mean(values[BASE])
    others = [stage for stage in values if stage != BASE]
    p = dict(zip(others, holm([t_test(_mean(values[stage]), base) for stage in others]), strict=True))
    return {
        stage: {
            "mean": rounded(_mean(found).mean()),
            "gain": rounded(float((_mean(found) - base).mean())),
            **({"p_holm": rounded(p[stage])} if stage in p else {}),
        }
        for stage, found in values.items()
    }


def _fold(name: str, seed: int, fold: int, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the value of every test query by stage."""
    runs = {stage: _prepared(name, run, seed, fold, options) for stage, run in RUNS.items()}
    found = {stage: _values(each, dict(each.candidates)) for stage, each in runs.items() if stage != JOINED}
    fed = runs[BASE]
    cosine, moved = _by_vectors(fed, options.model)
    found["+ cosine, one alpha"] = _values(fed, _mixed(fed, cosine))
    best = max(moved, key=lambda each: _on_taught(fed, _mixed(fed, each)))
    found["+ vector feedback, one alpha"] = _values(fed, _mixed(fed, best))
    for words, each, depth in (("", fed, DEPTH), (", candidates joined", runs[JOINED], UNION)):
        for start, scores in _listwise(each, options.model, depth).items():
            found[f"all signals from {start}{words}"] = _values(each, scores)
    return found


def _prepared(name: str, first: str, seed: int, fold: int, options: argparse.Namespace) -> Prepared:
    folder = options.data / name
    files = [f"data.{kind}={folder / file}" for kind, file in FILES.items()]
    split = f"data.folds={{k: {options.folds}, fold: {fold}, seed: {seed}}}"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "config.yaml")
        path.write_text("reranker: TFKNRM\n")
        own = [f"data.run={first.replace('MODEL', options.model)}", "trainer.niters=0"]
        return prepare(load_config([path], [*files, split, *own])[0])


FILES = {"docs": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels.txt"}


def _values(run: Prepared, scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    judged = run.dataset.judgments("test")
    return evaluate(judged, {qid: scores.get(qid, {}) for qid in judged}, [METRIC])[METRIC]


def _taught(run: Prepared) -> dict[str, dict[str, int]]:
    return {**run.dataset.judgments("train"), **run.dataset.judgments("dev")}


def _on_taught(run: Prepared, scores: Scores) -> float:
    taught = _taught(run)
    return means(evaluate(taught, {qid: scores.get(qid, {}) for qid in taught}, [METRIC]))[METRIC]


def _candidates(run: Prepared, depth: int) -> dict[str, Candidates]:
    return top_candidates(run.dataset.queries, run.candidates, depth)


def _signals(*options: Any) -> tuple[Any, ...]:
    return tuple(component_from(SIGNALS, each) for each in options)


def _by_vectors(run: Prepared, model: str) -> tuple[Scores, list[Scores]]:
    """Return the scores by cosine, and those with each way to move the query."""
    moved = [{"name": "rocchio", "pretrained": model, "docs": docs, "beta": beta} for docs, beta in MOVED]
    block = _candidates(run, DEPTH)
    with features_of(_signals({"name": "cosine", "pretrained": model}, *moved), run.dataset.docs) as features:
        made = dict(zip(block, features(list(block.values())), strict=True))
    cosine, *others = [
        {qid: dict(zip(block[qid].docids, own[:, n].tolist(), strict=True)) for qid, own in made.items()}
        for n in range(1 + len(moved))
    ]
    return cosine, others


def _mixed(run: Prepared, scores: Scores) -> Scores:
    """Return the scores of all queries with the alpha that is best on those that teach."""
    taught = _taught(run)
    first = top(run.candidates, DEPTH)
    part = {qid: first.get(qid, {}) for qid in taught}
    alpha = best_alpha(taught, part, {qid: scores.get(qid, {}) for qid in taught}, METRIC)
    return interpolate(first, scores, alpha)


def _listwise(run: Prepared, model: str, depth: int) -> dict[str, Scores]:
    """Return the scores of the test queries by weights that are learnt from each of the priors."""
    fed = _settings(run)
    signals = _signals(
        {"name": "search", "run": fed},
        {"name": "cosine", "pretrained": model},
        {"name": "rocchio", "pretrained": model, "run": fed},
        {"name": "search", "run": {key: fed[key] for key in ("name", "k1", "b")}},
        {"name": "search", "run": {"name": "bm25", "k1": 0.9, "b": 0.2}},
        "beginning",
        "length",
    )
    block, taught = _candidates(run, depth), _taught(run)
    with features_of(signals, run.dataset.docs) as features:
        made = dict(zip(block, features(list(block.values())), strict=True))
    known = {qid: own for qid, own in made.items() if qid in taught}
    grades = {
        qid: np.array([max(taught[qid].get(docid, 0), 0) for docid in block[qid].docids], np.float64) for qid in known
    }

    def scores(values: Mapping[str, Any]) -> Scores:
        return {qid: dict(zip(block[qid].docids, own.tolist(), strict=True)) for qid, own in values.items()}

    found = {}
    for start, prior in PRIORS.items():
        l2, _ = chosen_l2(known, grades, np.array(prior), lambda values: _on_taught(run, scores(values)))
        weights = fitted(Lists.of(list(known.values()), list(grades.values())), l2, np.array(prior))
        found[start] = scores({qid: own @ weights for qid, own in made.items() if qid not in taught})
    return found


def _settings(run: Prepared) -> dict[str, Any]:
    """Return the tuned settings of BM25 with feedback."""
    searcher = getattr(run.searcher, "runs", (run.searcher,))[0]
    names = ("k1", "b", "feedback", "fb_docs", "fb_terms", "fb_original")
    return {"name": "bm25", **{name: getattr(searcher, name) for name in names}}


if __name__ == "__main__":
    run(main)
