"""Losses and samplers: nDCG@10 of one model after one budget with each, on the documentation of Python's library.

The model is a linear head on kept vectors of MiniLM, which every loss can train. Each loss has the same groups of 1 + 7
documents in the same order, 16 a step, at one learning rate: Adam's steps hardly depend on the scale of a loss. Losses
of single documents are also trained with an offset of the scores, which a bi-encoder does not have. Losses with a
teacher have the sum of MiniLM's cosine and BM25. A sampler has as many documents a step, and `lce` (`bce` where groups
are single documents). Figures are of 50 candidates of BM25, reranked without BM25's score, on test; the weights are
those that are best on dev. Intervals are of the difference to `lce` by a bootstrap over queries, each with the mean of
its seeds. The table goes to stderr. `ratio` is the nDCG@10 of the best loss over that of `lce`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._heads import Rankings, Vectors, encoded, trained
from benchmarks._learning import Done, Row, interval, parser, spread, write_qrels, write_run, write_texts
from benchmarks._report import check, print_report, run
from rankcli.config.load import load_config
from rankcli.config.registry import LOSSES
from rankcli.log import say
from rankcli.records.keys import pair_keys
from rankcli.runs.mining import Mining
from rankcli.runs.prepare import Prepared, prepare
from rankcli.runs.sets import DrawnSet
from rankcli.samplers.base import SamplerContext
from rankcli.samplers.guards import Guards
from rankcli.verbs.mine import mine
from rankcli.verbs.teach import teach

STEPS, DOCUMENTS, DEPTH, RATE, TOKENS = 200, 128, 50, 1e-3, 128
SCALE = 2.5  # of each teacher's standardised scores: their sum is about as wide as a cross-encoder's logits
LCE = {"name": "LCE", "nneg": 7, "neg_to": DEPTH, "positives": "retrieved"}
WORDS = {"reranker": {"name": "TFKNRM"}}  # a configuration needs a model, to read the data any
OFFSET = ", offset"  # ends the names of rows whose scores have one
SINGLE = ("bce", "crossentropy", "gbce", "mse", "ordinal", "pairwise_crossentropy")  # in which it changes something
VECTORS = {"reranker": {"name": "biencoder"}}  # and to check a loss one with vectors


def main() -> None:
    """Run the benchmark."""
    made = parser("losses", __doc__, seeds=3)
    made.add_argument("--lr", type=float, default=RATE, help="[%(default)s]")
    made.add_argument("--steps", type=int, default=STEPS, help="[%(default)s]")
    made.add_argument("--only", nargs="+", help="rows [all]")
    options = made.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        bench = Bench(Path(options.scratch or scratch), options)
        names = [name for name in bench.rows() if not options.only or name in options.only or name == "lce"]
        for seed in range(1, options.seeds + 1):
            for name in names:
                bench(name, seed)
        rows = bench.summaries(names)
    say(table(rows))
    means = {row["name"]: row["test"]["mean"] for row in rows if not row["name"].startswith("sampler")}
    best = max(means.values()) / means["lce"]
    conditions = {"learning_rate": options.lr, "steps": options.steps, "documents_a_step": DOCUMENTS}
    conditions |= {"seeds": options.seeds, "bm25": float(bench.test.first().mean())}
    print_report(best, rows, {"best_loss": check(best, ">= 1")}, conditions)


class Bench:
    """The collection, and what was trained on it."""

    def __init__(self, folder: Path, options: Any) -> None:
        self.folder, self.options = folder.resolve(), options
        _write_inputs(self.folder)
        self.vectors: tuple[Vectors, Vectors] = encoded(
            self.folder, self.folder / "corpus.jsonl", self.folder / "queries.jsonl", TOKENS
        )
        self.prepared: Prepared = prepare(load_config([self._config(LCE, "lce", WORDS)])[0])
        self.dev, self.test = (self._rankings(split) for split in ("dev", "test"))
        self.judged = pair_keys(self.prepared.sets["train"].relevant())
        self.done = Done(self.folder / "done.jsonl")

    def __call__(self, name: str, seed: int) -> Row:
        """The figures of a row and a seed."""
        return self.done(self._key(name, seed), lambda: self._trained(name, seed))

    def _key(self, name: str, seed: int) -> str:
        return f"{name} {self.options.lr} {self.options.steps} {seed}"

    def _trained(self, name: str, seed: int) -> Row:
        sampler, loss, documents = self.rows()[name]
        config = load_config([self._config(sampler, loss)])[0]
        found = trained(
            config.trainer.loss.build(),
            config.sampler.build(self._context(seed, config.trainer.loss.columns)),
            self.vectors,
            self.dev,
            steps=self.options.steps,
            batch=DOCUMENTS // documents,
            rate=self.options.lr,
            judged=self.judged,
            offset=name.endswith(OFFSET),
        )
        queries = self.test.reranked(*found.weights)
        values = {"dev": float(self.dev.reranked(*found.weights).mean()), "test": float(queries.mean())}
        last = float(self.test.reranked(*found.last).mean())
        say(f"{name} {seed}: {values['dev']:.4f} {values['test']:.4f}, last {last:.4f}, best step {found.best}")
        return {**values, "last": last, "best": found.best, "queries": queries.round(5).tolist()}

    def _context(self, seed: int, columns: tuple[str, ...]) -> SamplerContext:
        train, data = self.prepared.sets["train"], self.prepared.dataset
        assert isinstance(train, DrawnSet)
        return SamplerContext(judged=train.judged, seed=seed, docs=data.docs, columns=frozenset(columns))

    def _rankings(self, split: str) -> Rankings:
        ranked = self.prepared.sets[split]
        return Rankings(ranked.candidates, ranked.judgments, self.vectors, DEPTH)

    def _config(self, sampler: dict[str, Any], loss: Any, model: Any = VECTORS) -> Path:
        """A configuration of the collection as files: cutting it out of Python's sources takes longer."""
        path = self.folder / "config.yaml"
        files = {"docs": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels.txt"}
        data: dict[str, Any] = {name: str(self.folder / file) for name, file in files.items()}
        data["folds"] = {split: str(self.folder / f"{split}.ids") for split in ("train", "dev", "test")}
        data["run"] = {"name": "bm25", "k": DEPTH}
        path.write_text(json.dumps({"data": data, **model, "sampler": sampler, "trainer": {"loss": loss}}))
        return path

    def rows(self) -> dict[str, tuple[dict[str, Any], Any, int]]:
        """Sampler, loss and documents per group of each row, by name."""
        scored = {"name": "scored", "scores": str(self.folder / "teacher.run"), "base": LCE}
        found: dict[str, tuple[dict[str, Any], Any, int]] = {}
        for name in LOSSES.builtins():
            columns = set(LOSSES.get(name).columns)
            if columns <= {"teacher"} and name != "tfr":  # `clickem` learns from clicks
                found[name] = (scored if columns else LCE, name, 8)
        for key in ("softmax_loss", "approx_ndcg_loss"):
            found[f"tfr:{key}"] = (LCE, {"name": "tfr", "key": key}, 8)
        shifted = {name + OFFSET: found[name] for name in SINGLE}
        return {**found, **shifted, **self._samplers()}

    def _samplers(self) -> dict[str, tuple[dict[str, Any], Any, int]]:
        mined = {"name": "hardnegatives", "file": str(self.folder / "mined.jsonl"), "nneg": 7}
        rest = {"neg_to": DEPTH, "positives": "retrieved"}
        return {
            "sampler LCE, ranks 1 to 20": ({**LCE, "neg_to": 20}, "lce", 8),
            "sampler LCE, random documents": ({**LCE, "negatives": {"retrieved": 0, "random": 1}}, "lce", 8),
            "sampler LCE, half random": ({**LCE, "negatives": {"random": 1}}, "lce", 8),
            "sampler LCE, positives judged": ({**LCE, "positives": "judged"}, "lce", 8),
            "sampler listwise, 1 + 15": ({"name": "listwise", "nneg": 15, **rest}, "lce", 16),
            "sampler triplet": ({"name": "triplet", **rest}, "lce", 2),
            "sampler pointwise, bce, offset": ({"name": "pointwise", **rest}, "bce", 1),
            "sampler hardnegatives": (mined, "lce", 8),
            "sampler mixture": ({"name": "mixture", "samplers": [LCE, mined], "shares": [1, 1]}, "lce", 8),
        }

    def summaries(self, names: list[str]) -> list[Row]:
        """A row for the model as it starts, then each name's mean and spread, best first."""
        start = self.test.reranked(np.eye(384, dtype=np.float32), np.zeros(384, np.float32))
        found = {name: [self(name, seed) for seed in range(1, self.options.seeds + 1)] for name in names}
        base = np.mean([row["queries"] for row in found["lce"]], axis=0)
        made = [self._summary(name, rows, base) for name, rows in found.items()]
        alone = {"name": "untrained", "test": spread([float(start.mean())]), "last": spread([float(start.mean())])}
        dev = float(self.dev.reranked(np.eye(384, dtype=np.float32), np.zeros(384, np.float32)).mean())
        made.append({**alone, "dev": spread([dev]), "best": [], "difference": interval(start - base)})
        return sorted(made, key=lambda row: -row["test"]["mean"])

    def _summary(self, name: str, rows: list[Row], base: Any) -> Row:
        figures = {part: spread([row[part] for row in rows]) for part in ("dev", "test", "last")}
        difference = interval(np.mean([row["queries"] for row in rows], axis=0) - base)
        return {"name": name, **figures, "best": [row["best"] for row in rows], "difference": difference}


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [
        "| | test | deviation | least, most | dev | last weights | best step | against `lce`, 95 % |",
        "|" + "---|" * 8,
    ]
    for row in rows:
        test, (low, high) = row["test"], row["difference"]
        cells = [
            row["name"],
            f"{test['mean']:.4f}",
            f"{test['deviation']:.4f}",
            f"{test['least']:.4f}, {test['most']:.4f}",
        ]
        cells += [f"{row['dev']['mean']:.4f}", f"{row['last']['mean']:.4f}", ", ".join(map(str, row["best"]))]
        lines.append(f"| {' | '.join([*cells, f'{low:+.4f} to {high:+.4f}'])} |")
    return "\n".join(lines)


def _write_inputs(folder: Path) -> None:
    """Write the collection, BM25's candidates, the teacher's scores and mined negatives, if they are not there."""
    if (folder / "mined.jsonl").exists():
        return
    path = folder / "builtin.yaml"
    path.write_text(json.dumps({"data": {"builtin": "stdlib-docs"}, **WORDS}))
    prepared = prepare(load_config([path])[0])
    data, judged = prepared.dataset, {}
    write_texts(folder / "queries.jsonl", data.queries.items())
    write_texts(folder / "corpus.jsonl", data.docs.iterate())
    for split, qids in data.split.items():
        (folder / f"{split}.ids").write_text("".join(f"{qid}\n" for qid in qids))
        judged.update(data.judgments(split))
    write_qrels(folder / "qrels.txt", judged)
    write_run(folder / "bm25.run", prepared.candidates.part(data.split["train"]), DEPTH)
    _teach(folder)


def _teach(folder: Path) -> None:
    """Score the candidates of training queries with the teachers, and mine negatives by MiniLM's scores."""
    docs, queries = str(folder / "corpus.jsonl"), str(folder / "queries.jsonl")
    cosine, bm25 = str(folder / "cosine.run"), str(folder / "bm25.run")
    encoded(folder, Path(docs), Path(queries), TOKENS)
    teach(model=str(folder / "minilm"), run=bm25, output=cosine, docs=docs, queries=queries, strategy="cpu")
    teach(scores=[cosine, bm25], scale="zscore", shares=[SCALE, SCALE], output=str(folder / "teacher.run"))
    options = Mining(first=1, last=DEPTH, guards=Guards(margin=0.05), most=20)
    mine(qrels=str(folder / "qrels.txt"), run=cosine, output=str(folder / "mined.jsonl"), options=options)


if __name__ == "__main__":
    run(main)
