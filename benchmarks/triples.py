"""Time and memory of a collection with training triples, at the size of MS MARCO.

Passages of ten words and triples of ids are made up and written to files. Each step runs in a process of its own, as a
command would do it: the document store is built; the table of triples is built; samples are drawn, by lines (sampler
`triples`) and from the documents of each query (LCE); the first step of a conversion draws samples of LCE and numbers
them.

`ratio` is the samples per second of LCE over those by lines.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._memory import watched
from benchmarks._report import check, print_report, rounded, run
from rankcli.config.registry import SAMPLERS
from rankcli.data.documents import open_store
from rankcli.data.store import DocStore
from rankcli.data.triple_files import open_triples
from rankcli.data.triples import Triples
from rankcli.log import say
from rankcli.records.numbering import Numbering, write_numbers, write_wanted
from rankcli.records.stripes import ranges
from rankcli.records.texts import InMemory
from rankcli.samplers.base import SamplerContext
from rankcli.samplers.lce import LCE
from rankcli.shapes import Judged

SAMPLES = 100_000
_PART = 1 << 17  # lines that are made at once
_PER_SHARD = 2000


def main() -> None:
    """Run the benchmark, or, in a process of its own, a step of it."""
    options = _options()
    if options.step:
        STEPS[options.step](Path(options.folder))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        write_lines(Path(folder) / "docs.tsv", passages(options.documents))
        write_lines(Path(folder) / "triples.tsv", triples(options.documents, options.triples, options.queries))
        rounds = [_step(name, folder) for name in STEPS]
        rounds[0]["megabytes"] = _megabytes(Path(folder) / "kept", "docs-*.sqlite")
        rounds[1]["megabytes"] = _megabytes(Path(folder) / "kept", "triples-*/*")
    seconds = {found["step"]: found["seconds"] for found in rounds}
    checks = {"peak_mb": check(max(found["rss_mb"] for found in rounds), "< 2000")}
    sizes = {name: getattr(options, name) for name in ("documents", "triples", "queries")}
    print_report(seconds["triples"] / seconds["LCE"], rounds, checks, {**sizes, "samples": SAMPLES})


def passages(count: int) -> Iterator[str]:
    """Lines of an id and ten words."""
    draw = np.random.default_rng(1)
    words = np.array([f"{'bcdfghklmnprst'[n % 14]}{'aeiou'[n % 5]}{n:x}" for n in range(20_000)])
    for start in range(0, count, _PART):
        for n, text in enumerate(words[draw.integers(0, len(words), (min(_PART, count - start), 10))], start):
            yield f"{n}\t{' '.join(text)}\n"


def triples(documents: int, count: int, queries: int) -> Iterator[str]:
    """Lines of a query, one of its few relevant documents and any other."""
    draw = np.random.default_rng(2)
    for start in range(0, count, _PART):
        size = min(_PART, count - start)
        query, nth = draw.integers(0, queries, size), draw.integers(0, 2, size)
        others = draw.integers(0, documents, size)
        yield from (
            f"q{q}\t{(q * 7919 + k * 104729) % documents}\t{other}\n"
            for q, k, other in zip(query.tolist(), nth.tolist(), others.tolist(), strict=True)
        )


def write_lines(path: Path, lines: Iterator[str]) -> None:
    """Write a file."""
    say(f"writing {path}")
    with path.open("w") as file:
        while part := list(islice(lines, _PART)):
            file.write("".join(part))


def store_of(folder: Path) -> DocStore:
    """The store of the passages."""
    return open_store(folder / "docs.tsv", "tsv", folder / "kept")


def table_of(folder: Path) -> Triples:
    """The table of the triples."""
    return open_triples(folder / "triples.tsv", store_of(folder), folder / "kept")


def _draw(name: str) -> Callable[[Path], None]:
    def step(folder: Path) -> None:
        table = table_of(folder)
        context = SamplerContext(Judged(tuple(sorted(table.qids))), triples=table)
        sampler = SAMPLERS.get(name)().build(context)
        start = time.perf_counter()
        for n in range(SAMPLES):
            sampler(n)
        (folder / f"seconds-{name}").write_text(str(time.perf_counter() - start))

    return step


def number(folder: Path) -> None:
    """Number samples as a conversion does."""
    table, work = table_of(folder), folder / "numbers"
    work.mkdir()
    sampler = LCE().build(SamplerContext(Judged(tuple(sorted(table.qids))), triples=table))
    queries = InMemory(dict.fromkeys(table.qids, ""))
    shards = ranges(0, SAMPLES, _PER_SHARD)
    start = time.perf_counter()
    for shard in shards:
        write_numbers(Numbering(work, sampler, queries, table.docs), shard)
    write_wanted(work, shards)
    (folder / "seconds-number").write_text(str(time.perf_counter() - start))


STEPS: dict[str, Callable[[Path], Any]] = {
    "store": store_of,
    "table": table_of,
    "triples": _draw("triples"),
    "LCE": _draw("LCE"),
    "number": number,
}


def _step(name: str, folder: str) -> dict[str, Any]:
    os.environ["RANKCLI_CACHE"] = folder
    command = [sys.executable, "-m", "benchmarks.triples", "--step", name, "--folder", folder]
    spent, peak = watched(command)
    drawing = Path(folder) / f"seconds-{name}"
    seconds = float(drawing.read_text()) if drawing.exists() else spent.wall
    found = {"step": name, "seconds": rounded(seconds), "process_seconds": rounded(spent.wall)}
    sizes = {f"{kind}_mb": rounded(getattr(peak, kind) / 1e6) for kind in ("rss", "anonymous")}
    say(str({**found, **sizes}))
    return {**found, **sizes}


def _megabytes(folder: Path, pattern: str) -> float:
    return rounded(sum(path.stat().st_size for path in folder.glob(pattern)) / 1e6)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench triples", description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=8_841_823, help="passages [%(default)s]")
    parser.add_argument("--triples", type=int, default=39_780_811, help="lines [%(default)s]")
    parser.add_argument("--queries", type=int, default=400_782, help="of the triples [%(default)s]")
    parser.add_argument("--data", metavar="DIR", help="not used: everything is made up")
    parser.add_argument("--scratch", metavar="DIR", help="where files and caches are written, some 5 GB")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
