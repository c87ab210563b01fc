"""Sentences of documents: where they end, exact tokens, long and missing ones, and a whole training."""

from __future__ import annotations

import pytest
import tiny_tokenizers as letters

from rankcli.data.trec import read_run
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.sentences import Sentences, sentences_of
from rankcli.shapes import Record
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train


def built(directory, **options):
    return Sentences(**options).build(ExtractorContext(pretrained=letters.bert(directory)))


def made(extractor, query, *docs):
    return letters.listed(extractor.extract(letters.example(extractor, query, *docs))["pair"])


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two? 3 is three! Four", ["One.", " Two?", " 3 is three!", " Four"]),
        ('He said "Go." "Why?" she asked.', ['He said "Go."', ' "Why?" she asked.']),
        ("It is 3.14 e.g. in v1.2 of it", ["It is 3.14 e.g. in v1.2 of it"]),
        ("One.\n\nTwo...  Three", ["One.", "\n\nTwo...", "  Three"]),
        ("", [""]),
    ],
)
def test_sentences_end_before_a_capital_or_a_digit(text, sentences):
    assert sentences_of(text) == sentences and "".join(sentences_of(text)) == text


def test_each_sentence_is_a_sequence_with_the_query(tmp_path):
    extractor = built(tmp_path, maxqlen=2, sentencelen=4, numsentences=3)
    unknown = 1  # capitals and full stops, in this vocabulary
    assert made(extractor, "a b c", "d. E f g. H", "d") == [
        ([2, 4, 5, 3, 7, unknown, 3], [0, 0, 0, 0, 1, 1, 1], 0),
        ([2, 4, 5, 3, unknown, 9, 10, unknown, 3], [0, 0, 0, 0, 1, 1, 1, 1, 1], 0),
        ([2, 4, 5, 3, unknown, 3], [0, 0, 0, 0, 1, 1], 0),
        ([2, 4, 5, 3, 7, 3], [0, 0, 0, 0, 1, 1], 1),
    ]


def test_a_long_sentence_goes_on_and_those_beyond_the_most_are_left_out(tmp_path):
    extractor = built(tmp_path, maxqlen=2, sentencelen=3, numsentences=3)
    found = made(extractor, "z", "a b c d e! F g. H", "")
    assert [ids[3:-1] for ids, _, _ in found] == [[4, 5, 6], [7, 8, 1], [1, 10, 1], []]
    assert extractor.fields["pair"].most == 3 and extractor.fields["pair"].max_length == 8
    docs = extractor.encode("doc", [Record("d", "a b c d e! F g. H [SEP] I"), Record("e", "")])
    assert (docs.tokens[0].tolist(), docs.lengths) == ([4, 5, 6, 3, 7, 8, 1, 3, 1, 10, 1], [14, 0])


def test_birch_trains_and_reranks(tmp_path, tiny):
    options = ["reranker.aggregation=topk", "reranker.weights=[1, 0.5, 0.25]", "trainer.niters=1"]
    small = "extractor={name: sentences, maxqlen: 6, sentencelen: 4, numsentences: 3, vocab_size: 60}"
    train(tiny("TFBERTMaxP", small, *options), out=tmp_path / "run")
    rerank(model=str(tmp_path / "run"), output=tmp_path / "again.run", depth=20)
    assert read_run(tmp_path / "again.run") == read_run(tmp_path / "run/test.run")
