"""Small collections in the shapes in which they are published: 60 documents of ten words, 40 queries of two."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable
from pathlib import Path

WORDS = "ant bee cat dog eel fox gnu hen ibis jay kiwi lynx mole newt owl pig quail rat seal toad".split()  # noqa: SIM905
_draw = random.Random(5)
DOCS = [" ".join(_draw.sample(WORDS, 10)) for _ in range(60)]
QUERIES = [_draw.sample(DOCS[n].split(), 2) for n in range(40)]  # two words of the document that is relevant
TEXTS = [" ".join(words) for words in QUERIES]
TRAIN, DEV, TEST = range(24), range(24, 32), range(32, 40)


def write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def beir(folder: Path, **parts: range) -> None:
    rows = [{"_id": f"d{n}", "title": "T", "text": text, "metadata": {}} for n, text in enumerate(DOCS)]
    write(folder / "corpus.jsonl", map(json.dumps, rows))
    write(folder / "queries.jsonl", (json.dumps({"_id": f"q{n}", "text": text}) for n, text in enumerate(TEXTS)))
    for part, numbers in parts.items():
        judged = (f"q{n}\td{n}\t1" for n in numbers)
        write(folder / "qrels" / f"{part}.tsv", ["query-id\tcorpus-id\tscore", *judged])


def msmarco_passages(folder: Path) -> None:
    write(folder / "collection.tsv", (f"{n}\t{text}" for n, text in enumerate(DOCS)))
    for part, numbers in {"train": range(30), "dev": range(30, 40)}.items():
        write(folder / f"queries.{part}.tsv", (f"{1000 + n}\t{TEXTS[n]}" for n in numbers))
        write(folder / f"qrels.{part}.tsv", (f"{1000 + n}\t0\t{n}\t1" for n in numbers))
    write(folder / "queries.eval.tsv", ["9999\tnobody knows"])
    ranked = [(n, [n + 5, n, n + 10]) for n in range(30, 40)]
    pairs = [(n, d) for n, docs in ranked for d in docs]
    write(folder / "top1000.dev", (f"{1000 + n}\t{d}\t{TEXTS[n]}\t{DOCS[d]}" for n, d in pairs))
    write(folder / "run.dev.tsv", (f"{1000 + n}\t{d}\t{r}" for n, docs in ranked for r, d in enumerate(docs, 1)))
    write(folder / "triples.train.small.tsv", (f"{TEXTS[n]}\t{DOCS[n]}\t{DOCS[n + 1]}" for n in range(30)))


def msmarco_documents(folder: Path) -> None:
    urls = (f"D{n}\thttps://example.org/{n}\tTitle {n}\t{text}" for n, text in enumerate(DOCS))
    write(folder / "msmarco-docs.tsv", urls)
    for part, numbers in {"train": range(30), "dev": range(30, 40)}.items():
        write(folder / f"msmarco-doc{part}-queries.tsv", (f"{1000 + n}\t{TEXTS[n]}" for n in numbers))
        write(folder / f"msmarco-doc{part}-qrels.tsv", (f"{1000 + n} 0 D{n} 1" for n in numbers))
    top = (f"{1000 + n} Q0 D{n + r} {r} {-r - 0.5} Indri" for n in range(30, 40) for r in range(3))
    write(folder / "msmarco-docdev-top100", top)


def trec(folder: Path) -> None:
    """Documents in gzip files on two disks, topics in two files."""
    for disk in range(2):
        text = "".join(
            f"<DOC>\n<DOCNO> FT-{n} </DOCNO>\n<TEXT>\n{DOCS[n]}\n</TEXT>\n</DOC>\n"
            for n in range(disk * 30, disk * 30 + 30)
        )
        (folder / f"disk{disk}" / "ft").mkdir(parents=True)
        (folder / f"disk{disk}" / "ft" / "ft_1.gz").write_bytes(gzip.compress(text.encode()))
        write(folder / f"disk{disk}" / "readme.txt", ["about\tthis disk"])
    for first in (0, 20):
        topics = (
            f"<top>\n\n<num> Number: {n + 301}\n<title> {QUERIES[n][0]}\n\n<desc> Description:\n{QUERIES[n][1]}\n\n"
            "<narr> Narrative:\na long story\n\n</top>\n"
            for n in range(first, first + 20)
        )
        write(folder / f"topics.{first + 301}-{first + 320}.txt", topics)
    write(folder / "qrels.adhoc.txt", (f"{n + 301} 0 FT-{n} 1" for n in range(40)))


def trec_xml(folder: Path) -> None:
    write(folder / "docs.jsonl", (json.dumps({"id": f"d{n}", "contents": text}) for n, text in enumerate(DOCS)))
    topics = (
        f'  <topic number="{n + 1}">\n    <query>{words[0]}</query>\n    <question>{words[1]}</question>\n'
        "    <narrative>a long story</narrative>\n  </topic>"
        for n, words in enumerate(QUERIES)
    )
    write(folder / "topics-rnd5.xml", ['<?xml version="1.0"?>', '<topics task="a track">', *topics, "</topics>"])
    write(folder / "qrels-rnd5.txt", (f"{n + 1} 4.5 d{n} 2" for n in range(40)))


def pyserini(folder: Path) -> None:
    for half in range(2):
        rows = ({"id": f"d{n}", "contents": DOCS[n]} for n in range(half * 30, half * 30 + 30))
        write(folder / "corpus" / f"docs0{half}.json", map(json.dumps, rows))
    write(folder / "queries.jsonl", (json.dumps({"qid": f"q{n}", "query": text}) for n, text in enumerate(TEXTS)))
    write(folder / "qrels.txt", (f"q{n} Q0 d{n} 1" for n in range(40)))


def hugging_face(folder: Path) -> None:
    """Parquet as the hub has it: ids of the judgments are numbers, the train part lies in two files."""
    import pyarrow
    from pyarrow import parquet

    def table(path: str, rows: list[dict[str, object]]) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / path)

    numbered: list[dict[str, object]] = [{"_id": str(n), "title": "T", "text": text} for n, text in enumerate(DOCS)]
    table("corpus/corpus-00000-of-00002.parquet", numbered[:30])
    table("corpus/corpus-00001-of-00002.parquet", numbered[30:])
    table("queries/queries-00000-of-00001.parquet", [{"_id": str(n), "text": text} for n, text in enumerate(TEXTS)])
    judged: list[dict[str, object]] = [{"query-id": n, "corpus-id": n, "score": 1} for n in range(40)]
    table("qrels/train-00000-of-00002.parquet", judged[:20])
    table("qrels/train-00001-of-00002.parquet", judged[20:30])
    table("qrels/test-00000-of-00001.parquet", judged[30:])
