"""Every text model on stdlib-docs with an equal budget: how well it ranks, and how fast it trains and scores.

The collection of `scripts/quickstart`, BM25 tuned on its training queries, and its best documents reranked. Each model
trains for the same seconds of the processor, its compilation included and validations left out, and takes the weights
that are best on dev; so a fast model sees more groups. Encoders start from MiniLM-L6, word vectors from random values.
`reranked` is the model alone, `interpolated` with the first stage at the share that is best on dev; p are paired
t-tests against the first stage, not corrected. `scores/s` are pairs of the test by wall clock, reading included.

`ratio` is the greatest nDCG@10 of `interpolated` by that of the first stage. Each model's line is said at once, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks._report import print_report, rounded, run
from benchmarks._tokenizer import minilm
from benchmarks._work import parser
from rankcli.data import stdlib_docs
from rankcli.data.trec import read_run
from rankcli.log import say

STAGES = ("first_stage", "reranked", "interpolated")
METRICS = {"ndcg_cut_10": "nDCG@10", "RR@10": "MRR@10"}
PAIR = {"name": "passage", "maxseqlen": 72, "maxqlen": 20}
PARTS = {"name": "pooledpassage", "maxseqlen": 56, "maxqlen": 20, "passagelen": 24, "stride": 24, "numpassages": 3}
WORDS = {"name": "embedtext", "stemmer": "english", "maxqlen": 24, "maxdoclen": 128}
ENCODERS: dict[str, dict[str, Any]] = {
    "crossencoder": PAIR,
    "biencoder": {"name": "apart", "maxqlen": 20, "maxdoclen": 64},
    "colbert": {"name": "colbert", "maxqlen": 20, "maxdoclen": 64},
    "setencoder": {**PAIR, "name": "setpassage"},
    "TFBERTMaxP": PARTS,
    "TFCEDRKNRM": PARTS,
    "parade": PARTS,
    "rankt5": {"name": "prompted", "maxseqlen": 72, "maxqlen": 20},
    "duobert": {"name": "duo", "maxseqlen": 112, "maxqlen": 20, "numdocs": 7},
}
ON_WORDS = ("TFKNRM", "ConvKNRM", "DRMM", "DRMMTKS", "PACRR", "TK")
OWN: dict[str, dict[str, Any]] = {
    "TFKNRM": {"finetune": False, "gradkernels": False, "idf": True, "floor": 0.01},
    "parade": {"aggregation": "max"},
}
# learning rates: of encoders that are near what they shall compute, of those that are not, of models on words
NEAR, FAR, LR, QUICKSTART = 2e-5, 1e-4, 1e-3, 0.3
DUO = 6  # documents that are compared two by two: 30 sequences


def main() -> None:
    """Run the benchmark."""
    made = parser("models", __doc__)
    made.add_argument("--seconds", type=float, default=60, help="of the processor, for each training [%(default)s]")
    made.add_argument("--models", nargs="+", default=[*ENCODERS, *ON_WORDS], metavar="NAME", help="[all on texts]")
    made.add_argument("--pretrained", metavar="DIR", help="of encoders [MiniLM-L6]")
    made.add_argument("--depth", type=int, default=20, help="documents reranked [%(default)s]")
    made.add_argument("--dev", type=int, default=60, help="dev queries [%(default)s]")
    made.add_argument("--test", type=int, default=300, help="test queries [%(default)s]")
    options = made.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = Path(scratch)
        data = _collection(folder, {"train": None, "dev": options.dev, "test": options.test}, stdlib_docs.read())
        rows = []
        for name in options.models:
            rows.append(_measured(name, data, folder, options))
            say(json.dumps(rows[-1]))
    first, best = rows[0]["first_stage"]["nDCG@10"], max(row["interpolated"]["nDCG@10"] for row in rows)
    kept = ("seconds", "depth", "dev", "test", "precision")
    print_report(best / first, rows, {}, {name: getattr(options, name) for name in kept})


def _collection(folder: Path, most: Mapping[str, int | None], made: stdlib_docs.StdlibDocs) -> dict[str, Any]:
    """Write a collection with so many queries of each part at most, and return the section `data`."""
    for name, texts in {"docs": made.docs, "queries": made.queries}.items():
        lines = (json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(lines))
    lines = (f"{qid} 0 {docid} {grade}\n" for qid, docs in made.qrels.items() for docid, grade in docs.items())
    (folder / "qrels.txt").write_text("".join(lines))
    for part, count in most.items():
        # every n-th, as queries of one module stand together
        qids = [qid for qid, own in made.split.items() if own == part]
        (folder / f"{part}.txt").write_text(
            "\n".join(qids[:: max(1, len(qids) // (count or len(qids)))][:count]) + "\n"
        )
    files = {"docs": "docs.jsonl", "queries": "queries.jsonl", "qrels": "qrels.txt"}
    split = {part: str(folder / f"{part}.txt") for part in most}
    return {
        **{name: str(folder / file) for name, file in files.items()},
        "folds": split,
        "run": {"name": "bm25", "k": 100, "tune": True},
    }


def _config(name: str, data: Mapping[str, Any], folder: Path, options: Any) -> dict[str, Any]:
    """The configuration of a model: equal but for its texts, learning rate and the size of an iteration."""
    encoder, duo = name in ENCODERS, name == "duobert"
    reranker = {"name": name, **OWN.get(name, {})}
    if encoder:
        reranker["pretrained"] = options.pretrained or str(minilm())
    depth = DUO if duo else options.depth
    trainer = {
        "batch": 4 if encoder else 16,
        "niters": 30 if encoder else 20,  # more than the budget allows
        "itersize": 64 if encoder else 800,
        "decaytype": "constant",
        "warmupiters": 0,
        "bertlr": NEAR if name in ("biencoder", "colbert") else FAR,
        "lr": QUICKSTART if name == "TFKNRM" else LR,
        "loss": "bce" if duo else "lce",
        "amp": "bf16" if encoder and options.precision == "bf16" else "none",
        "threshold": depth,
        "testthreshold": depth,
        "strategy": "cpu",
        "storage": str(folder / "cache"),
    }
    return {
        "data": dict(data),
        "reranker": reranker,
        "extractor": ENCODERS.get(name, WORDS),
        "sampler": {"name": "pair"} if duo else {"name": "LCE", "nneg": 7, "positives": "retrieved"},
        "trainer": trainer,
        "metrics": {"optimize": "RR@10", "report": ["ndcg_cut_10"]},
    }


def _measured(name: str, data: Mapping[str, Any], folder: Path, options: Any) -> dict[str, Any]:
    """Train a model, and return its row."""
    config, out = folder / f"{name}.json", folder / name
    config.write_text(json.dumps(_config(name, data, folder, options)))
    command = [sys.executable, "-m", "benchmarks._budget_side", str(config), str(out), str(options.seconds)]
    env = {**os.environ, "RANKCLI_CACHE": str(folder / "home")}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
    result = json.loads((out / "result.json").read_text())
    test, depth = result["splits"]["test"], DUO if name == "duobert" else options.depth
    pairs = sum(min(depth, len(found)) for found in read_run(out / "test.run").values())
    return {
        "model": name,
        **{stage: {METRICS[metric]: rounded(test[stage][metric]) for metric in METRICS} for stage in STAGES},
        "p": {METRICS[metric]: {stage: rounded(p) for stage, p in test["p"][metric].items()} for metric in METRICS},
        "alpha": result["alpha"],
        "best": f"{result['best']['RR@10']['iter']} of {result['last']['iter']}",
        "trains/s": rounded(result["pairs_per_second"]),
        "scores/s": rounded(pairs / result["seconds"]["test"]),
    }


if __name__ == "__main__":
    run(main)
