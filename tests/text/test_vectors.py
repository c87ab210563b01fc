"""Word vectors of the formats of word2vec, GloVe and fastText, what a vocabulary takes of them, and damaged files."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest

from rankcli.errors import DataError
from rankcli.text.vectors import word_vectors
from rankcli.text.vocabulary import Rules, Vocabulary

VOCABULARY = Vocabulary(("cat", "é", "mat"), (3, 2, 1), 4, Rules())
CAT, E = [1.5, -2.0, 0.25], [0.5, 1e-3, -3.0]
LINES = "cat 1.5 -2.0 0.25\nother 1 2 3\né 0.5 1e-3 -3\n"


def binary(words, feed=b"\n"):
    rows = [word.encode() + b" " + np.array(values, "<f4").tobytes() + feed for word, values in words]
    return f"{len(words)} {len(words[0][1])}\n".encode() + b"".join(rows)


WORDS = [("cat", CAT), ("other", [1, 2, 3]), ("é", E)]
FORMATS = {
    "glove": LINES.encode(),
    "word2vec": b"3 3\n" + LINES.encode(),
    "fasttext": b"3 3\n" + LINES.replace("\n", " \n").encode(),
    "binary": binary(WORDS),
    "binary without line feeds": binary(WORDS, b""),
    "gzip": gzip.compress(binary(WORDS)),
    "CRLF, and a blank line": LINES.replace("\n", "\r\n").encode() + b"\r\n",
    "phrases, and a word again": LINES.encode() + b". . . 7 8 9\ncat food 7 8 9\ncat 0 0 0\n",
}


def read(tmp_path, content, vocabulary=VOCABULARY):
    file = tmp_path / "vectors"
    file.write_bytes(content)
    return word_vectors(str(file), vocabulary)


@pytest.mark.parametrize("name", FORMATS)
def test_vectors_of_every_format_stand_at_the_ids_of_their_words(name, tmp_path, capsys):
    table = read(tmp_path, FORMATS[name])
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table[:4], np.array([[0] * 3, [0] * 3, CAT, E], np.float32))
    assert "vectors: 2 of 3 words of the vocabulary (66.7%), 83.3% when counted by their documents" in (
        capsys.readouterr().err
    )


def test_a_word_without_a_vector_gets_a_random_one_of_average_length_that_depends_on_the_word_alone(tmp_path):
    table = read(tmp_path, FORMATS["glove"])
    lengths = np.linalg.norm(table, axis=1)
    assert lengths[4] == pytest.approx(lengths[2:4].mean(), rel=1e-5)
    other = read(tmp_path, FORMATS["binary"], Vocabulary(("mat", "cat", "é"), (3, 2, 1), 4, Rules()))
    np.testing.assert_array_equal(other[2], table[4])


MALFORMED = {
    "few numbers": (b"other 1 2 3\ncat 1 2\n", ":2: not a word and 3 numbers"),
    "few numbers after a header": (b"2 3\ncat 1 2\n", ":2: not a word and 3 numbers"),
    "many numbers": (b"other 1 2 3\ncat 1 2 3 4\n", ":2: a vector of 4 numbers, not 3 as the first"),
    "no number": (b"other 1 2 3\ncat 1 2 x\n", ":2: not a number in this vector: could not convert"),
    "not finite": (b"other 1 2 3\ncat 1 2 inf\n", ":2: a number of this vector is not finite"),
    "header": (b"9 3\n" + LINES.encode(), ":1: the first line promises 9 words, but there are 3"),
    "empty header": (b"0 3\n", ":1: the first line promises no vectors"),
    "one word": (b"cat\n", ":1: not a word and 1 numbers"),
    "cut": (binary(WORDS)[:-2], ": word 3 of 3: the file ends, or is damaged, before this vector ends"),
    "cut gzip": (gzip.compress(binary(WORDS))[:-12], ": the gzip file is damaged"),
    "binary, not finite": (binary([("cat", [1, np.nan, 2])]), ": word 1 of 1: a number of this vector is not finite"),
    "fastText's model": (b"\xba\x16\x4f\x2f....", ": a model of fastText, not a file of vectors"),
    "another language": (b"katze 1 2 3\n", ": no word of the vocabulary has a vector"),
    "empty": (b"", ": no word of the vocabulary has a vector"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_file_that_is_no_file_of_vectors_is_named_with_the_line(name, tmp_path):
    content, message = MALFORMED[name]
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)
    assert f"{tmp_path}/vectors{message}" in str(caught.value)


def test_only_the_vectors_of_the_vocabulary_are_in_memory(tmp_path):
    width, rows = 300, 8000
    content = binary([(f"w{n}", np.full(width, n)) for n in range(rows)] + [("cat", np.ones(width))])
    (tmp_path / "vectors").write_bytes(content)
    tracemalloc.start()
    table = word_vectors(str(tmp_path / "vectors"), VOCABULARY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(table[2], np.ones(width))
    assert len(content) > 9e6 and peak < 5e6
