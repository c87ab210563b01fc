"""One sequence per document: exact tokens, budgets, special tokens of other tokenizers."""

from __future__ import annotations

import pytest
import tiny_tokenizers as tiny
from tokenizers import Tokenizer

from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.passage import Passage, longest_first
from rankcli.shapes import Record


def built(directory, **options):
    return Passage(**options).build(ExtractorContext(pretrained=directory))


def test_query_and_document_stand_between_special_tokens(tmp_path):
    extractor = built(tiny.bert(tmp_path), maxseqlen=16, maxqlen=4)
    made = extractor.extract(tiny.example(extractor, "a b", "c d e", "f"))
    assert tiny.listed(made["pair"]) == [
        ([2, 4, 5, 3, 6, 7, 8, 3], [0, 0, 0, 0, 1, 1, 1, 1], 0),
        ([2, 4, 5, 3, 9, 3], [0, 0, 0, 0, 1, 1], 1),
    ]
    assert set(made) == {"pair"}


def test_query_is_cut_to_maxqlen_and_the_document_to_the_rest(tmp_path):
    extractor = built(tiny.bert(tmp_path), maxseqlen=8, maxqlen=2)
    (made,) = extractor.extract(tiny.example(extractor, "a b c", "d e f g h i"))["pair"]
    assert made.ids.tolist() == [2, 4, 5, 3, 7, 8, 9, 3]


def test_a_short_query_leaves_its_room_to_the_document(tmp_path):
    extractor = built(tiny.bert(tmp_path), maxseqlen=8, maxqlen=4)
    assert [extractor.budget("doc", {"query": n}) for n in range(7)] == [5, 4, 3, 2, 1, 1, 1]
    (made,) = extractor.extract(tiny.example(extractor, "a", "b c d e f g"))["pair"]
    assert made.ids.tolist() == [2, 4, 3, 5, 6, 7, 8, 3]


def test_tokens_beyond_the_budget_are_cut_even_if_they_were_stored(tmp_path):
    extractor = built(tiny.bert(tmp_path), maxseqlen=16, maxqlen=4)
    stored = tiny.example(extractor, "a b c d e", "f g h i j k l m n")
    shorter = built(tmp_path, maxseqlen=8, maxqlen=2)
    assert shorter.extract(stored)["pair"][0].ids.tolist() == [2, 4, 5, 3, 9, 10, 11, 3]


def test_encode_counts_whole_texts_and_keeps_what_a_sequence_can_hold(tmp_path):
    extractor = built(tiny.bert(tmp_path), maxseqlen=8, maxqlen=3)
    docs = extractor.encode("doc", [Record("1", "a b c d e f g h i j"), Record("2", "a")])
    assert ([len(ids) for ids in docs.tokens], docs.lengths) == ([5, 1], [10, 1])
    queries = extractor.encode("query", [Record("q", "a b c d")])
    assert ([len(ids) for ids in queries.tokens], queries.lengths) == ([3], [4])


def test_roberta_has_two_separators_between_and_less_room(tmp_path):
    extractor = built(tiny.roberta(tmp_path), maxseqlen=9, maxqlen=2)
    (made,) = extractor.extract(tiny.example(extractor, "a b", "c d e f g"))["pair"]
    assert tiny.listed([made]) == [([0, 4, 5, 2, 2, 6, 7, 8, 2], [0] * 9, 0)]
    assert extractor.budget("doc", {"query": 2}) == 3


def test_lengths_that_leave_the_document_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"maxseqlen must be at least maxqlen \+ 4 = 36"):
        Passage(maxseqlen=35)
    Passage(maxseqlen=36)
    with pytest.raises(ConfigError, match=r"beside 4 special tokens\n  -> the sequence length must be at least 7"):
        built(tiny.roberta(tmp_path), maxseqlen=6, maxqlen=2)


def test_empty_texts_are_sequences_of_special_tokens(tmp_path):
    extractor = built(tiny.bert(tmp_path), maxseqlen=8, maxqlen=3)
    made = extractor.extract(tiny.example(extractor, "", "", "a"))["pair"]
    assert [s.ids.tolist() for s in made] == [[2, 3, 3], [2, 3, 4, 3]]


def test_without_maxqlen_pairs_are_cut_as_by_the_tokenizers_library(tmp_path):
    """All lengths of both texts up to twice what fits; only the odd token of two texts too long alone may differ."""
    for special, room in ((tiny.bert, 7), (tiny.bert, 8), (tiny.roberta, 9)):
        directory = special(tmp_path / f"{special.__name__}-{room}")
        extractor = built(directory, maxseqlen=room + 3 + (special is tiny.roberta), maxqlen=None)
        backend = Tokenizer.from_file(str(directory / "tokenizer.json"))
        backend.enable_truncation(extractor.room + extractor.template.special, strategy="longest_first")
        letters = "abcdefghijklmnopqrstuvwxyz"
        for q in range(2 * room):
            docs = [" ".join(letters[-n:]) if n else "" for n in range(2 * room)]
            query = " ".join(letters[:q])
            made = extractor.extract(tiny.example(extractor, query, *docs))["pair"]
            for n, (doc, sequence) in enumerate(zip(docs, made, strict=True)):
                if room % 2 and q > room <= n:
                    continue
                assert sequence.ids.tolist() == backend.encode(query, doc).ids, (room, q, n)


def test_an_odd_token_goes_to_the_longer_text():
    assert longest_first(10, 9, 7) == (4, 3) and longest_first(9, 10, 7) == (3, 4) == longest_first(9, 9, 7)
    assert longest_first(2, 30, 7) == (2, 5) and longest_first(30, 2, 7) == (5, 2) and longest_first(3, 4, 7) == (3, 4)
