"""Windows over a document's tokens, by hand and against a plain enumeration."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
import tiny_tokenizers as tokens
from hypothesis import given, settings
from hypothesis import strategies as st

from rankcli.data.trec import read_run
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.pooledpassage import PooledPassage
from rankcli.runs.prepare import prepare
from rankcli.shapes import Record
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train


def built(directory, **options):
    return PooledPassage(**options).build(ExtractorContext(pretrained=directory))


def letters(n):
    return " ".join(string.ascii_lowercase[i % 26] for i in range(n))


def passages(extractor, n):
    """The windows of a document of `n` tokens a b c ..., without query and special tokens."""
    made = extractor.extract(tokens.example(extractor, "z", letters(n)))["pair"]
    return ["".join(string.ascii_lowercase[i - 4] for i in s.ids[3:-1]) for s in made]


@pytest.mark.parametrize(
    ("count", "windows"),
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
def test_windows_start_every_stride_until_one_reaches_the_end(tmp_path, count, windows):
    extractor = built(tokens.bert(tmp_path), maxseqlen=12, maxqlen=4, passagelen=4, stride=3, numpassages=3)
    assert passages(extractor, count) == windows


def test_every_passage_carries_the_query_and_its_document(tmp_path):
    extractor = built(tokens.bert(tmp_path), maxseqlen=12, maxqlen=2, passagelen=3, stride=3)
    made = extractor.extract(tokens.example(extractor, "x y z", "a b c d", "e"))["pair"]
    assert tokens.listed(made) == [
        ([2, 27, 28, 3, 4, 5, 6, 3], [0, 0, 0, 0, 1, 1, 1, 1], 0),
        ([2, 27, 28, 3, 7, 3], [0, 0, 0, 0, 1, 1], 0),
        ([2, 27, 28, 3, 8, 3], [0, 0, 0, 0, 1, 1], 1),
    ]


def test_a_document_is_kept_once_as_far_as_all_windows_reach(tmp_path):
    extractor = built(tokens.bert(tmp_path), maxseqlen=12, maxqlen=4, passagelen=4, stride=3, numpassages=3)
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
    return tokens.bert(tmp_path_factory.mktemp("tiny"))


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
    stored = tokens.example(built(tokens.bert(tmp_path), **options, numpassages=9), "z", letters(26))
    made = built(tmp_path, **options, numpassages=2).extract(stored)["pair"]
    assert [s.ids.tolist()[3:-1] for s in made] == [[4, 5, 6, 7], [7, 8, 9, 10]]


SMALL = {"maxseqlen": 14, "maxqlen": 4, "passagelen": 4, "stride": 3}


def test_of_many_passages_the_first_the_last_and_some_of_the_others_are_sampled(tmp_path):
    extractor = built(tokens.bert(tmp_path), **SMALL, numpassages=4, keep="sampled", maxdoclen=26)
    windows = passages(extractor, 26)
    assert (len(windows), windows[0], windows[-1]) == (4, "abcd", "yz") and windows == sorted(windows)
    chosen = set()
    for docid in map(str, range(60)):
        example = replace(tokens.example(extractor, "z", letters(26)), docids=(docid,))
        chosen |= {s.ids.tolist()[3] for s in extractor.extract(example)["pair"]}
    assert chosen == set(range(4, 30, 3))
    assert passages(extractor, 10) == ["abcd", "defg", "ghij"]
    assert passages(built(tmp_path, **SMALL, numpassages=1, keep="sampled"), 26) == ["abcd"]
    assert extractor.budget("doc", {"query": 2}) == 26


def test_the_title_stands_before_each_later_passage(tmp_path):
    extractor = built(tokens.bert(tmp_path), **SMALL, numpassages=3, titlelen=2)
    assert passages(extractor, 10) == ["abcd", "abdefg", "abghij"]
    assert extractor.fields["pair"].max_length == 4 + 2 + 4 + 3
    with pytest.raises(ValueError, match=r"maxqlen \+ titlelen \+ passagelen \+ 3 = 16"):
        PooledPassage(**{**SMALL, "titlelen": 5})


def test_training_reads_one_passage_of_each_document_if_it_is_told_to(tmp_path):
    tokens.bert(tmp_path)
    drawn = built(tmp_path, **SMALL, numpassages=3, training="random")
    example = tokens.example(drawn, "i j", letters(10), "a")
    assert len(drawn.extract(example)["pair"]) == 4 and drawn.fields["pair"].most == 3
    one = drawn.training
    assert one.fields["pair"].most == 1 and one.fingerprint == drawn.fingerprint
    picked = []
    for other in map(str, range(40)):  # a passage depends on the whole group, and so on the negatives of this pass
        first, second = one.extract(replace(example, docids=("d", other)))["pair"]
        picked.append(first.ids.tolist()[4])
        assert (first.doc, second.doc, second.ids.tolist()) == (0, 1, [2, 12, 13, 3, 4, 3])
    assert set(picked) == {4, 7, 10}
    best = built(tmp_path, **SMALL, numpassages=3, training="best").training
    assert best.extract(example)["pair"][0].ids.tolist() == [2, 12, 13, 3, 10, 11, 12, 13, 3]
    assert best.extract(tokens.example(best, "z", letters(10)))["pair"][0].ids.tolist() == [2, 29, 3, 4, 5, 6, 7, 3]
    plain = built(tmp_path, **SMALL)
    assert plain.training is plain


def test_a_training_reads_one_passage_and_a_rerank_all(tmp_path, tiny):
    config = tiny("TFBERTMaxP", "extractor.training=random", "trainer.niters=1")
    prepared = prepare(config)
    trained, whole = prepared.sets["train"].extractor, prepared.sets["dev"].extractor
    assert trained.fields["pair"].most == 1 and whole.fields["pair"].most == 3
    train(config, out=tmp_path / "run")
    rerank(model=str(tmp_path / "run"), output=tmp_path / "again.run", depth=20)
    assert read_run(tmp_path / "again.run") == read_run(tmp_path / "run/test.run")
