"""The built-in collection `stdlib-docs`: known-item search over the docstrings of Python's standard library.

A document is a docstring without its first sentence, a query is that first sentence, and the one relevant document is
the docstring from which it was cut. The files of the running interpreter are parsed, never imported, so the collection
needs no download and a few seconds. Another Python version has a somewhat different collection, so figures compare
only within one version.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIN_QUERY_WORDS, MAX_QUERY_WORDS, MIN_DOC_WORDS = 4, 40, 8
SHINGLE, NEAR_DUPLICATE = 3, 0.6
# About 600 test queries are needed to tell a gain of .02 in MRR@10 from chance; dev has as many.
TRAIN_PERCENT, DEV_PERCENT = 60, 20

# Tests and installed packages are no documentation; the other folders are demonstrations or data, slow to parse.
_SKIPPED_FOLDERS = {
    *("test", "tests", "idle_test", "site-packages", "dist-packages"),
    *("__pycache__", "__phello__", "lib-dynload", "pydoc_data", "turtledemo"),
}
# A full stop, question or exclamation mark that ends a word (but no abbreviation) and is followed by the next sentence.
_SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\betc)(?<!\bcf)[.!?]['\")\]`]*(?=\s+[^\sa-z])")
_WORD = re.compile(r"[^\W_]+")
_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class StdlibDocs:
    """A collection with its queries and judgments: `docs` and `queries` id -> text, `qrels` qid -> docid -> grade.

    `split` is qid -> `train`, `dev` or `test`. A document's id is the dotted name of the documented object, its query's
    id is the same with `?` before it.
    """

    docs: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    split: dict[str, str]


def read() -> StdlibDocs:
    """The collection of the running interpreter's standard library."""
    return collect(Path(sysconfig.get_path("stdlib")))


def collect(root: Path) -> StdlibDocs:
    """The collection of all Python files under `root`, in the order of their ids."""
    pairs: dict[str, tuple[str, str]] = {}
    for name, docstring in docstrings(root):
        query, document = cut(without_signature(docstring, name))
        document = without_name(document, name)
        if name not in pairs and is_useful(query, document):
            pairs[name] = query, document
    kept = without_near_duplicates(dict(sorted(pairs.items())))
    return StdlibDocs(
        docs={name: document for name, (_, document) in kept.items()},
        queries={f"?{name}": query for name, (query, _) in kept.items()},
        qrels={f"?{name}": {name: 1} for name in kept},
        split={f"?{name}": split_of(name) for name in kept},
    )


def docstrings(root: Path) -> Iterator[tuple[str, str]]:
    """(dotted name, docstring) of every module, class and function under `root`; unreadable files are left out."""
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root).with_suffix("")
        if _SKIPPED_FOLDERS.intersection(relative.parts[:-1]):
            continue
        # Files such as `config-3.11-x86_64-linux-gnu/python-config.py` cannot be imported: they are no modules.
        if not all(part.isidentifier() for part in relative.parts):
            continue
        tree = _parse(path)
        if tree is not None:
            parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
            yield from _docstrings_in(tree, ".".join(parts))


def _parse(path: Path) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            # Old files contain invalid escapes, and each Python version warns of them in its own way.
            warnings.simplefilter("ignore")
            return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _docstrings_in(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """The docstrings of `node`, called `name`, and of the definitions in it; those inside functions are not public."""
    if isinstance(node, (ast.Module, *_DEFINITIONS)):
        docstring = ast.get_docstring(node)
        if docstring and name:
            yield name, docstring
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.expr):
        return
    for child in ast.iter_child_nodes(node):
        inner = f"{name}.{child.name}" if isinstance(child, _DEFINITIONS) else name
        yield from _docstrings_in(child, inner)


def without_signature(docstring: str, name: str) -> str:
    """`docstring` without a first line that only repeats the signature, `get(key[, default]) -> value`."""
    first, _, rest = docstring.partition("\n")
    own = re.escape(name.rpartition(".")[2])
    return rest if re.fullmatch(rf"[\w.]*\b{own}\(.*\)(\s*->.*)?[.:]?\s*", first) else docstring


def cut(docstring: str) -> tuple[str, str]:
    """The first sentence, which ends at the first blank line at the latest, and the rest, both with single spaces."""
    paragraph, _, rest = docstring.strip().partition("\n\n")
    end = _SENTENCE_END.search(paragraph)
    if end:
        paragraph, rest = paragraph[: end.end()], f"{paragraph[end.end() :]} {rest}"
    return " ".join(paragraph.split()), " ".join(rest.split())


def without_name(document: str, name: str) -> str:
    """`document` without its own `name`, in full or the last part: these words would give the answer away.

    Last parts that are plain lower-case words (`copy`, `open`) stay: they are the language that the text is written in.
    """
    last = name.rpartition(".")[2]
    names = [name] if last.islower() and last.isalpha() else [name, last]
    pattern = "|".join(rf"(?<!\w){re.escape(own)}(?!\w)" for own in names)
    return " ".join(re.sub(pattern, " ", document).split())


def is_useful(query: str, document: str) -> bool:
    """True if query and document have enough words and the query is not part of the document."""
    asked, found = words(query), words(document)
    if not MIN_QUERY_WORDS <= len(asked) <= MAX_QUERY_WORDS or len(found) < MIN_DOC_WORDS:
        return False
    return f" {' '.join(asked)} " not in f" {' '.join(found)} "


def without_near_duplicates(pairs: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Drop pairs with the query or nearly the document of an earlier pair: the query would have two right answers."""
    kept: dict[str, tuple[str, str]] = {}
    asked: set[str] = set()
    holders: dict[tuple[str, ...], list[str]] = defaultdict(list)
    sizes: dict[str, int] = {}
    for name, (query, document) in pairs.items():
        question, shingles = " ".join(words(query)), _shingles(document)
        if question in asked or _is_near_duplicate(shingles, holders, sizes):
            continue
        kept[name] = query, document
        asked.add(question)
        sizes[name] = len(shingles)
        for shingle in shingles:
            holders[shingle].append(name)
    return kept


def _shingles(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + SHINGLE]) for i in range(len(found) - SHINGLE + 1)}


def _is_near_duplicate(
    shingles: set[tuple[str, ...]], holders: dict[tuple[str, ...], list[str]], sizes: dict[str, int]
) -> bool:
    """True if the Jaccard similarity with a text seen before reaches `NEAR_DUPLICATE`."""
    common: dict[str, int] = defaultdict(int)
    for shingle in shingles:
        for name in holders.get(shingle, ()):
            common[name] += 1
    return any(n >= NEAR_DUPLICATE * (len(shingles) + sizes[name] - n) for name, n in common.items())


def words(text: str) -> list[str]:
    """The lower-cased runs of letters and digits of `text`."""
    return _WORD.findall(text.lower())


def split_of(name: str) -> str:
    """`train`, `dev` or `test` by a hash of `name`, so that it does not depend on the rest of the collection."""
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 100
    return "train" if place < TRAIN_PERCENT else "dev" if place < TRAIN_PERCENT + DEV_PERCENT else "test"
