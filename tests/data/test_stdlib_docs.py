"""The docstring collection: what is cut, kept and left out, on tiny source trees and on the real standard library."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from rankcli.data import stdlib_docs
from rankcli.data.stdlib_docs import StdlibDocs, collect, cut, docstrings, is_useful, split_of, without_name

DECODER = '''"""Decode documents of the format.

The module knows nothing about files, only about strings and bytes.
"""

class Decoder:
    """Turn text of the format into objects. It keeps
    the order of keys, and refuses whatever follows the end.
    """

    def raw_decode(self, text):
        """raw_decode(text) -> object

        Decode one document from the beginning of text. Call raw_decode with text that may
        have other things, e.g. a comment, at its end.
        """

        def inner():
            """Nobody can name what is hidden here. It must not be a document, whatever it says."""

    if True:
        def close(self):
            """Release the buffers that decoding needs. After close nothing can be decoded, and every call raises."""

def short():
    """Too short. CachePruned, this one here, since its question has two words only."""
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "fmt" / "tests").mkdir(parents=True)
    (tmp_path / "fmt" / "__init__.py").write_text(DECODER, encoding="utf-8")
    (tmp_path / "fmt" / "tests" / "more.py").write_text(DECODER.replace("format", "test"), encoding="utf-8")
    (tmp_path / "broken.py").write_text("def broken(:\n", encoding="utf-8")
    (tmp_path / "latin.py").write_bytes(
        b'"""Caf\xe9 says what it wants. No encoding is declared, so that nobody can read it."""\n'
    )
    (tmp_path / "nul.py").write_bytes(b"x = 1\0\n")
    return tmp_path


@pytest.fixture(scope="module")
def real() -> StdlibDocs:
    return stdlib_docs.read()


def test_collects_first_sentences_as_queries_and_the_rest_as_documents(tree: Path) -> None:
    assert collect(tree) == StdlibDocs(
        docs={
            "fmt": "The module knows nothing about files, only about strings and bytes.",
            "fmt.Decoder": "It keeps the order of keys, and refuses whatever follows the end.",
            "fmt.Decoder.close": "After close nothing can be decoded, and every call raises.",
            "fmt.Decoder.raw_decode": "Call with text that may have other things, e.g. a comment, at its end.",
        },
        queries={
            "?fmt": "Decode documents of the format.",
            "?fmt.Decoder": "Turn text of the format into objects.",
            "?fmt.Decoder.close": "Release the buffers that decoding needs.",
            "?fmt.Decoder.raw_decode": "Decode one document from the beginning of text.",
        },
        qrels={f"?{name}": {name: 1} for name in ("fmt", "fmt.Decoder", "fmt.Decoder.close", "fmt.Decoder.raw_decode")},
        split={
            "?fmt": "train",
            "?fmt.Decoder": "test",
            "?fmt.Decoder.close": "train",
            "?fmt.Decoder.raw_decode": "dev",
        },
    )


def test_names_are_those_of_the_definitions_outside_functions(tree: Path) -> None:
    assert [name for name, _ in docstrings(tree)] == [
        "fmt",
        "fmt.Decoder",
        "fmt.Decoder.raw_decode",
        "fmt.Decoder.close",
        "fmt.short",
    ]


def test_the_first_of_two_definitions_counts(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        'def f():\n    """The first definition is here. It is found by one reading the file downwards."""\n'
        'def f():\n    """Another definition comes later. It replaces the first, whose words are all lost."""\n',
        encoding="utf-8",
    )
    assert collect(tmp_path).queries == {"?m.f": "The first definition is here."}


@pytest.mark.parametrize(
    ("docstring", "query", "document"),
    [
        ("One sentence here.  And\n    more.", "One sentence here.", "And more."),
        ("No full stop\nuntil the end\n\nThe rest.", "No full stop until the end", "The rest."),
        ("Use e.g. This one. Rest", "Use e.g. This one.", "Rest"),
        ("Version 3.11 of os.path is new. Rest", "Version 3.11 of os.path is new.", "Rest"),
        ('Is "this?" Yes.', 'Is "this?"', "Yes."),
        ("Ends. in lower case. Rest", "Ends. in lower case.", "Rest"),
        ("Only one.", "Only one.", ""),
    ],
)
def test_cut(docstring: str, query: str, document: str) -> None:
    assert cut(docstring) == (query, document)


@pytest.mark.parametrize(
    ("document", "name", "left"),
    [
        ("Use raw_decode(s), not my_raw_decode.", "m.raw_decode", "Use (s), not my_raw_decode."),
        ("A TestCase of unittest.TestCase", "unittest.TestCase", "A of"),
        ("Make a copy with copy.copy (x)", "copy.copy", "Make a copy with (x)"),
    ],
)
def test_a_document_does_not_say_its_own_name(document: str, name: str, left: str) -> None:
    assert without_name(document, name) == left


@pytest.mark.parametrize(
    ("query", "document", "useful"),
    [
        ("Return the largest item.", "one two three four five six seven eight", True),
        ("The largest item.", "one two three four five six seven eight", False),
        ("Return the largest item.", "one two three four five six seven", False),
        ("Return the largest item.", "This will: return the LARGEST item, of one two", False),
        ("Return the largest item.", "This will return the largest items of one two", True),
        ("many " * 41, "one two three four five six seven eight", False),
    ],
)
def test_trivial_pairs_are_not_useful(query: str, document: str, useful: bool) -> None:
    assert is_useful(query, document) is useful


def test_near_duplicates_and_repeated_queries_are_left_out() -> None:
    first = "the quick brown fox jumps over the lazy dog and runs away from home"
    pairs = {
        "a": ("Tell about a quick fox.", first),
        "b": ("Another question about it all.", first.replace("home", "here")),
        "c": ("tell about a QUICK fox", "quite another document of eight words or more here"),
        "d": ("Something else is asked here.", "the quick brown cat sleeps under the lazy tree all day long in peace"),
    }
    assert list(stdlib_docs.without_near_duplicates(pairs)) == ["a", "d"]


def test_the_split_is_a_function_of_the_name() -> None:
    names = ["os.path", "zipfile", "fmt", "fmt.Decoder", "fmt.Decoder.raw_decode"]
    assert [split_of(name) for name in names] == ["test", "train", "train", "test", "dev"]


def test_every_real_query_has_its_answer_and_no_document_gives_it_away(real: StdlibDocs) -> None:
    assert 2000 < len(real.docs) < 6000
    assert list(real.docs) == sorted(real.docs)
    assert list(real.queries) == list(real.qrels) == list(real.split) == [f"?{name}" for name in real.docs]
    assert len(set(real.queries.values())) == len(real.queries)
    assert len(set(real.docs.values())) == len(real.docs)
    for qid, query in real.queries.items():
        assert real.qrels[qid] == {qid[1:]: 1}
        document = real.docs[qid[1:]]
        assert query not in document
        assert is_useful(query, document)
        assert without_name(document, qid[1:]) == document


def test_real_queries_are_split_60_20_20(real: StdlibDocs) -> None:
    shares = {split: count / len(real.split) for split, count in Counter(real.split.values()).items()}
    assert shares == pytest.approx({"train": 0.6, "dev": 0.2, "test": 0.2}, abs=0.03)


def test_a_collection_is_the_same_every_time() -> None:
    root = Path(json.__file__).parent.parent / "email"
    first, second = collect(root), collect(root)
    assert first == second
    assert list(first.docs) == list(second.docs)
    assert len(first.docs) > 50


def test_no_tests_and_no_installed_packages(real: StdlibDocs) -> None:
    parts = {part for name in real.docs for part in name.split(".")[:-1]}
    assert parts.isdisjoint({"test", "tests", "idle_test", "site-packages", "pip", "pytest"})
