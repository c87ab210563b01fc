"""Query and documents in sequences of their own."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_tokenizers as tiny

from rankcli.errors import ConfigError
from rankcli.extractors.apart import Apart
from rankcli.extractors.base import ExtractorContext, reads_titles
from rankcli.shapes import Example, Record


def built(directory, **options):
    return Apart(**options).build(ExtractorContext(pretrained=directory))


def test_texts_stand_alone_in_segment_0(tmp_path):
    extractor = built(tiny.bert(tmp_path), maxqlen=6, maxdoclen=6)
    made = extractor.extract(tiny.example(extractor, "a b", "c d e", ""))
    assert tiny.listed(made["query"]) == [([2, 4, 5, 3], [0] * 4, 0)]
    assert tiny.listed(made["doc"]) == [([2, 6, 7, 8, 3], [0] * 5, 0), ([2, 3], [0] * 2, 1)]


def test_lengths_count_special_tokens(tmp_path):
    extractor = built(tiny.bert(tmp_path), maxqlen=3, maxdoclen=4)
    made = extractor.extract(tiny.example(extractor, "a b c", "d e f"))
    assert made["query"][0].ids.tolist() == [2, 4, 3]
    assert made["doc"][0].ids.tolist() == [2, 7, 8, 3]
    assert (extractor.budget("doc", {"query": 0}), extractor.budget("doc", {"query": 9})) == (2, 2)
    assert [extractor.fields[name].level for name in ("query", "doc")] == ["query", "doc"]


def test_lengths_without_room_for_a_token_are_refused(tmp_path):
    with pytest.raises(ValueError, match="maxdoclen must be at least 3"):
        Apart(maxdoclen=2)
    folder = tiny.bert(tmp_path)
    text = (folder / "tokenizer.json").read_text().replace('"BertProcessing"', '"RobertaProcessing"')
    assert "RobertaProcessing" in text  # the same two special tokens around one text
    Apart(maxqlen=3).build(ExtractorContext(pretrained=folder))
    with pytest.raises(ConfigError, match="no token of the query"):
        _with_three_special_tokens(folder)
        built(folder, maxqlen=3)


def _with_three_special_tokens(folder):
    from tokenizers import Tokenizer, processors

    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP] [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    backend.save(str(folder / "tokenizer.json"))


def test_tokens_beyond_the_lengths_are_cut_even_if_they_were_stored(tmp_path):
    stored = tiny.example(built(tiny.bert(tmp_path)), "a b c", "d e f")
    made = built(tmp_path, maxqlen=4, maxdoclen=4).extract(stored)
    assert (made["query"][0].ids.tolist(), made["doc"][0].ids.tolist()) == ([2, 4, 5, 3], [2, 7, 8, 3])


def titled(extractor, *docs):
    tokens = extractor.encode("doc", [Record("", text, title) for text, title in docs]).tokens
    labels = np.zeros(len(docs), np.float32)
    group = Example("q", ("",) * len(docs), labels, {"query": tokens[0][:0]}, {"doc": tuple(tokens)})
    return [(each.ids.tolist(), each.parts.tolist()) for each in extractor.extract(group)["doc"]]


def test_titles_are_told_from_texts(tmp_path):
    folder = tiny.bert(tmp_path)
    _with_special_token(folder, "[SEP]")
    extractor = built(folder, maxqlen=3, maxdoclen=7, titles=True)
    assert titled(extractor, ("a b c d", 3), ("c d", 0), ("a b", 3), ("a [SEP] b c", 9)) == [
        ([2, 4, 5, 3, 6, 7, 3], [0, 4, 4, 0, 2, 2, 0]),
        ([2, 6, 7, 3], [0, 2, 2, 0]),
        ([2, 4, 5, 3, 3], [0, 4, 4, 0, 0]),
        ([2, 4, 5, 3, 6, 3], [0, 4, 4, 0, 2, 0]),  # the token that ends a title is not in it
    ]
    assert titled(extractor, ("a b c d e f g", 3), ("a b c d e f g", 11), ("c [SEP] d", 0)) == [
        ([2, 4, 5, 3, 6, 7, 3], [0, 4, 4, 0, 2, 2, 0]),
        ([2, 4, 5, 6, 7, 8, 3], [0, 4, 4, 4, 4, 4, 0]),
        ([2, 6, 3, 7, 3], [0, 2, 2, 2, 0]),
    ]
    assert extractor.encode("doc", [Record("", "a b c d e f g", 3)]).lengths == [8]
    plain = built(tmp_path, maxqlen=3, maxdoclen=7)
    assert reads_titles(extractor) and not reads_titles(plain) and extractor.fingerprint == plain.fingerprint


def _with_special_token(folder, token):
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.add_special_tokens([token])
    backend.save(str(folder / "tokenizer.json"))


def test_a_tokenizer_without_a_token_that_ends_a_text_tells_no_titles(tmp_path):
    from tokenizers import Tokenizer, processors

    backend = Tokenizer.from_file(str(tiny.bert(tmp_path) / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing("[CLS] $A", "[CLS] $A $B", [("[CLS]", 2)])
    backend.save(str(tmp_path / "tokenizer.json"))
    built(tmp_path)
    with pytest.raises(ConfigError, match="no special token that ends a text"):
        built(tmp_path, titles=True)


def test_queries_may_have_a_tokenizer_of_their_own(tmp_path):
    """Its tokens, special tokens, padding and vocabulary; one of equal content is the same tokenizer."""
    docs, queries = tiny.bert(tmp_path / "bert"), tiny.roberta(tmp_path / "roberta")
    options = Apart(maxqlen=5, maxdoclen=6)
    extractor = options.build(ExtractorContext(docs, queries))
    made = extractor.extract(tiny.example(extractor, "a b c d", "c d"))
    assert tiny.listed(made["query"]) == [([0, 4, 5, 6, 2], [0] * 5, 0)]
    assert tiny.listed(made["doc"]) == [([2, 6, 7, 3], [0] * 4, 0)]
    assert (extractor.fields["query"].pad_id, extractor.fields["query"].max_length) == (1, 5)
    alone = options.build(ExtractorContext(docs))
    assert extractor.fingerprint != alone.fingerprint
    (tmp_path / "saved").mkdir()
    extractor.save(tmp_path / "saved")
    again = options.build(ExtractorContext(saved=tmp_path / "saved"))
    assert again.fingerprint == extractor.fingerprint
    assert options.build(ExtractorContext(docs, docs)).fingerprint == alone.fingerprint
