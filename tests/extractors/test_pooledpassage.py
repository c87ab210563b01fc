"""Windows over a document's tokens, by hand and against a plain enumeration."""

from __future__ import annotations

import string

import pytest
import tiny_tokenizers as tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.pooledpassage import PooledPassage
from rankcli.shapes import Record


def built(directory, **options):
    return PooledPassage(**options).build(ExtractorContext(pretrained=directory))


def letters(n):
    return " ".join(string.ascii_lowercase[i % 26] for i in range(n))


def passages(extractor, n):
    """The windows of a document of `n` tokens a b c ..., without query and special tokens."""
    made = extractor.extract(tiny.example(extractor, "z", letters(n)))["pair"]
    return ["".join(string.ascii_lowercase[i - 4] for i in s.ids[3:-1]) for s in made]


@pytest.mark.parametrize(
    ("tokens", "windows"),
    [
        (0, [""]),
        (1, ["a"]),
        (4, ["abcd"]),
        (5, ["abcd", "de"]),
        (7, ["abcd", "defg"]),
        (8, ["abcd", "defg", "gh"]),
        (10, ["abcd", "defg", "ghij"]),
        (11, ["abcd", "defg", "ghij"]),  # a fourth is beyond numpassages
    ],
)
def test_windows_start_every_stride_until_one_reaches_the_end(tmp_path, tokens, windows):
    extractor = built(tiny.bert(tmp_path), maxseqlen=12, maxqlen=4, passagelen=4, stride=3, numpassages=3)
    assert passages(extractor, tokens) == windows


def test_every_passage_carries_the_query_and_its_document(tmp_path):
    extractor = built(tiny.bert(tmp_path), maxseqlen=12, maxqlen=2, passagelen=3, stride=3)
    made = extractor.extract(tiny.example(extractor, "x y z", "a b c d", "e"))["pair"]
    assert tiny.listed(made) == [
        ([2, 27, 28, 3, 4, 5, 6, 3], [0, 0, 0, 0, 1, 1, 1, 1], 0),
        ([2, 27, 28, 3, 7, 3], [0, 0, 0, 0, 1, 1], 0),
        ([2, 27, 28, 3, 8, 3], [0, 0, 0, 0, 1, 1], 1),
    ]


def test_a_document_is_kept_once_as_far_as_all_windows_reach(tmp_path):
    extractor = built(tiny.bert(tmp_path), maxseqlen=12, maxqlen=4, passagelen=4, stride=3, numpassages=3)
    assert {extractor.budget("doc", {"query": n}) for n in range(9)} == {4 + 2 * 3}
    assert [len(ids) for ids in extractor.encode("doc", [Record("d", letters(26))]).tokens] == [10]


def test_options_that_skip_or_cut_tokens_are_refused():
    with pytest.raises(ValueError, match="stride must be at most passagelen = 150"):
        PooledPassage(stride=151)
    with pytest.raises(ValueError, match="maxseqlen must be at least .* = 185"):
        PooledPassage(maxseqlen=184)
    PooledPassage(maxseqlen=185)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.bert(tmp_path_factory.mktemp("tiny"))


@settings(max_examples=80, deadline=None)
@given(n=st.integers(0, 60), length=st.integers(1, 9), stride=st.integers(1, 9), most=st.integers(1, 6))
def test_windows_cover_the_kept_tokens_and_none_lies_within_another(folder, n, length, stride, most):
    stride = min(stride, length)
    extractor = built(folder, maxseqlen=30, maxqlen=2, passagelen=length, stride=stride, numpassages=most)
    made = passages(extractor, n)
    whole = letters(n).replace(" ", "")
    expected = [whole[start : start + length] for start in range(0, max(1, n), stride)]
    needed = next(k for k in range(1, len(expected) + 1) if (k - 1) * stride + length >= n)
    assert made == expected[: min(needed, most)]


def test_windows_beyond_numpassages_are_left_out_even_if_their_tokens_were_stored(tmp_path):
    options = {"maxseqlen": 12, "maxqlen": 4, "passagelen": 4, "stride": 3}
    stored = tiny.example(built(tiny.bert(tmp_path), **options, numpassages=9), "z", letters(26))
    made = built(tmp_path, **options, numpassages=2).extract(stored)["pair"]
    assert [s.ids.tolist()[3:-1] for s in made] == [[4, 5, 6, 7], [7, 8, 9, 10]]
