"""Clicks: how much of the gain of true labels a model keeps that learns from simulated clicks on BM25's first ten.

Sessions of training queries show the ten best documents of BM25 to users with a position bias (`clicks simulate`); a
tenth of the sessions is in random order. A linear head on kept vectors of MiniLM learns from them: from clicks as they
are (`naive`), weighed by the chance that a position is seen, true or estimated (`ips`), with `clickem` and an offset of
the scores, and from the judgments of the same documents (`labels`). It reranks these ten documents, for the queries
that were clicked and for those held out. Recovered is (nDCG@10 - untrained) / (labels - untrained). Judgments choose no
weights: the last ones count. The table goes to stderr; `ratio` is the least that `ips` with estimated chances recovers
on clicked queries.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._heads import Rankings, encoded, trained
from benchmarks._learning import Done, Row, parser, spread, write_qrels, write_run, write_texts
from benchmarks._report import check, print_report, run
from benchmarks._work import DATA
from rankcli.config.load import load_config
from rankcli.config.registry import LOSSES
from rankcli.log import say
from rankcli.runs.prepare import prepare
from rankcli.samplers.base import SamplerContext
from rankcli.verbs.simulate import simulate

SHOWN, BATCH, STEPS, RATE, TOKENS = 10, 256, 150, 1e-3, 64
SEEN = (0.68, 0.61, 0.48, 0.34, 0.28, 0.20, 0.11, 0.10, 0.08, 0.06)  # of `clicks simulate`
NO_CLIP = 1000.0
PARTS = ("clicked", "held out")
LABELS = {"name": "listwise", "npos": SHOWN, "nneg": SHOWN - 1, "neg_to": SHOWN, "positives": "retrieved"}


def main() -> None:
    """Run the benchmark."""
    made = parser("clicks", __doc__, seeds=3)
    made.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="with the collections [%(default)s]")
    made.add_argument("--collections", nargs="+", default=["cranfield", "vaswani"], help="[both]")
    made.add_argument("--etas", type=float, nargs="+", default=[1.0, 2.0], help="%(default)s")
    made.add_argument("--sessions", type=int, default=100_000, help="[%(default)s]")
    options = made.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        worlds = [World(name, Path(options.scratch or scratch, name), options) for name in options.collections]
        rows = [row for world in worlds for row in world.rows()]
    say(table(rows))
    least = min(row["clicked"]["recovered"] for row in rows if row["way"] == "ips, estimated")
    conditions = {"sessions": options.sessions, "shown": SHOWN, "steps": STEPS, "batch": BATCH, "seeds": options.seeds}
    print_report(least, rows, {"ips_recovers": check(least, ">= 0.8")}, conditions)


class World:
    """A collection with its sessions, and what was measured on it."""

    def __init__(self, name: str, folder: Path, options: Any) -> None:
        self.name, self.folder, self.options = name, folder.resolve(), options
        self.folder.mkdir(parents=True, exist_ok=True)
        self.done = Done(self.folder / "done.jsonl")
        self.prepared = prepare(load_config([self._config({"name": "LCE"}, "lce", "TFKNRM")])[0])
        data, found = self.prepared.dataset, self.prepared.candidates
        held = {**data.judgments("dev"), **data.judgments("test")}
        self.qrels: dict[str, Mapping[str, Mapping[str, int]]] = {"clicked": data.judgments("train"), "held out": held}
        write_run(self.folder / "clicked.run", found.part(self.qrels["clicked"]), SHOWN)
        write_qrels(self.folder / "clicked.qrels", self.qrels["clicked"])

    @cached_property
    def vectors(self) -> Any:
        """Of all queries, and of the documents that are shown."""
        data, docs, queries = self.prepared.dataset, self.folder / "docs.jsonl", self.folder / "queries.jsonl"
        shown = sorted({docid for _, docids in self._shown() for docid in docids})
        write_texts(docs, zip(shown, data.docs.texts(shown), strict=True))
        write_texts(queries, ((qid, data.queries[qid]) for judged in self.qrels.values() for qid in judged))
        return encoded(self.folder, docs, queries, TOKENS)

    def _shown(self) -> Iterator[tuple[str, list[str]]]:
        for judged in self.qrels.values():
            for qid, scores in self.prepared.candidates.part(judged).items():
                yield qid, list(scores)[:SHOWN]

    @cached_property
    def rankings(self) -> dict[str, Rankings]:
        """The shown documents of both parts of the queries."""
        found = self.prepared.candidates
        return {part: Rankings(found, judged, self.vectors, SHOWN) for part, judged in self.qrels.items()}

    def rows(self) -> Iterator[Row]:
        """The figures of every way: mean and spread over the seeds, and the share recovered of the labels' gain."""
        width = self.vectors[1].table.shape[1]
        start = self._measured(np.eye(width, dtype=np.float32), np.zeros(width, np.float32))
        yield self._row("BM25", None, [{part: float(each.first().mean()) for part, each in self.rankings.items()}])
        yield self._row("untrained", None, [start])
        labels = self._trained("labels", None, lambda seed: self._sampler(LABELS, "lce", seed), "softmax_gain")
        goal = {part: float(np.mean([each[part] for each in labels])) for part in PARTS}
        yield self._row("labels", None, labels, start, goal)
        for eta in self.options.etas:
            for way, (sampler, loss) in self._ways(eta).items():
                yield self._row(way, eta, self._trained(way, eta, partial(_seeded, sampler), loss), start, goal)

    def _row(self, way: str, eta: float | None, found: list[Any], start: Any = None, goal: Any = None) -> Row:
        row: Row = {"collection": self.name, "way": way, "eta": eta}
        for part in PARTS:
            row[part] = spread([each[part] for each in found])
            if start:
                row[part]["recovered"] = (row[part]["mean"] - start[part]) / (goal[part] - start[part])
        return row

    def _ways(self, eta: float) -> dict[str, tuple[Any, str]]:
        """Samplers and losses by name, over whole sessions, which are read once."""
        path = self.folder / f"sessions-{eta:g}.jsonl"
        if not path.exists():
            qrels, shown = (str(self.folder / f"clicked.{kind}") for kind in ("qrels", "run"))
            count = self.options.sessions
            simulate(qrels=qrels, run=shown, output=str(path), sessions=count, eta=eta, depth=SHOWN, randomised=0.1)
        drawn = self._sampler({"name": "clicks", "file": str(path), "groups": "session", "abandoned": True}, "clickem")
        true, guessed = tuple([chance**eta for chance in SEEN]), drawn.seen[:SHOWN]
        say(f"{self.name}, eta {eta:g}: seen (estimated) {' '.join(f'{chance:.3f}' for chance in guessed)}")
        clicked = tuple([unit for unit in drawn.units if any(drawn.sessions[unit.session].clicked)])
        naive = replace(drawn, units=clicked, seen=guessed)
        ips = replace(naive, options=replace(naive.options, confidence="ips", clip=NO_CLIP))
        return {
            "naive": (naive, "lce"),
            "ips, true": (replace(ips, seen=true), "lce"),
            "ips, estimated": (ips, "lce"),
            "clickem, estimated": (replace(drawn, seen=guessed), "clickem"),
        }

    def _sampler(self, options: dict[str, Any], loss: str, seed: int = 1) -> Any:
        """The sampler of a configuration."""
        config = load_config([self._config(options, loss, "biencoder")])[0]
        judged = self.prepared.sets["train"].judged
        columns = frozenset({"weight", *config.trainer.loss.columns})
        return config.sampler.build(SamplerContext(judged=judged, seed=seed, columns=columns))

    def _trained(self, way: str, eta: float | None, sampler: Callable[[int], Any], loss: str) -> list[Row]:
        """The figures of each seed."""
        found = []
        for seed in range(1, self.options.seeds + 1):
            key = f"{way} {eta} {seed}"
            found.append(self.done(key, partial(self._made, sampler, loss, seed)))
            say(f"{self.name} {key}: {found[-1]}")
        return found

    def _made(self, sampler: Callable[[int], Any], loss: str, seed: int) -> Row:
        drawn, computed = sampler(seed), LOSSES.get(loss)().build()
        dev = self.rankings["held out"]
        found = trained(
            computed, drawn, self.vectors, dev, steps=STEPS, batch=BATCH, rate=RATE, offset=loss == "clickem"
        )
        return self._measured(*found.last)

    def _measured(self, weights: Any, bias: Any) -> Row:
        return {part: float(each.reranked(weights, bias).mean()) for part, each in self.rankings.items()}

    def _config(self, sampler: Mapping[str, Any], loss: str, model: str) -> Path:
        path, source = self.folder / "config.yaml", (self.options.data / self.name).resolve()
        data: dict[str, Any] = {"docs": str(source / "corpus.jsonl"), "queries": str(source / "queries.jsonl")}
        data |= {"qrels": str(source / "qrels.txt"), "run": {"name": "bm25", "k": SHOWN}}
        data["folds"] = {"k": 5, "fold": 0, "seed": 7}
        content = {"data": data, "reranker": {"name": model}, "sampler": sampler, "trainer": {"loss": loss}}
        path.write_text(json.dumps(content))  # JSON is YAML
        return path


def _seeded(sampler: Any, seed: int) -> Any:
    return replace(sampler, seed=seed)


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = ["| collection | eta | learnt from | clicked queries | recovered | held-out queries | recovered |"]
    lines.append("|" + "---|" * 7)
    for row in rows:
        cells = [row["collection"], "" if row["eta"] is None else f"{row['eta']:g}", row["way"]]
        for part in PARTS:
            found = row[part]
            cells += [f"{found['mean']:.4f} ± {found['deviation']:.4f}"]
            cells += [f"{found['recovered']:.0%}" if "recovered" in found else ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
