"""Words of a vocabulary, and inverse document frequencies computed by hand."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import tiny_tokenizers as tiny

from rankcli.config.identity import component_identity
from rankcli.config.registry import EXTRACTORS
from rankcli.errors import MissingError, StorageError
from rankcli.extractors.base import ExtractorContext, vocab_size
from rankcli.extractors.embedtext import EmbedText
from rankcli.records.codec import token_dtype
from rankcli.shapes import Record

TEXTS = ["The cat, the mat.", "a cat", "a dog-1 and a CAT", "zebra"]


def built(**options):
    return EmbedText(**options).build(ExtractorContext(texts=lambda: iter(TEXTS)))


def test_words_are_numbered_by_document_frequency_then_by_name():
    extractor = built(min_df=1)
    assert extractor.vocabulary.words == ("cat", "a", "1", "and", "dog", "mat", "the", "zebra")
    assert extractor.encode("doc", [Record("", "Cat a zebra")]).tokens[0].tolist() == [2, 3, 9]
    assert extractor.encode("doc", [Record("", "...")]).tokens[0].tolist() == []
    assert (extractor.fields["doc"].pad_id, extractor.vocabulary.size) == (0, 10)


def test_unknown_words_are_told_apart_and_match_in_query_and_documents():
    extractor = built(maxqlen=4)
    group = tiny.example(extractor, "bird cat gnu bird", "gnu dog emu bird", "emu yak cat")
    made = extractor.extract(group)
    first, second, other = 10, 11, 14  # ten known ids, then one for each word of a query, then all others
    assert made["query"][0].ids.tolist() == [first, 2, second, first]
    assert [sequence.ids.tolist() for sequence in made["doc"]] == [[second, 6, other, first], [other, other, 2]]
    assert (vocab_size(extractor, "doc"), extractor.fields["query"].unknown) == (15, 5)
    alone = extractor.extract(group.single(1))
    assert alone["doc"][0].ids.tolist() == made["doc"][1].ids.tolist()


def test_in_records_an_unknown_word_is_a_hash_of_itself():
    ids = [
        built(**options).encode("query", [Record("", "bird gnu bird")]).tokens[0] for options in ({}, {"maxqlen": 9})
    ]
    bird, gnu, again = ids[0].tolist()
    assert 10 <= bird < 2**31 and 10 <= gnu < 2**31 and bird == again != gnu
    np.testing.assert_array_equal(*ids)
    assert token_dtype(built().streams["doc"].vocab_size) == np.uint32


def test_vectors_of_a_file_are_a_table_and_are_not_sent_to_processes_that_convert(tmp_path):
    (tmp_path / "glove.txt").write_text("dog 1 2\ncat 3 4\n")
    extractor = built(vectors=str(tmp_path / "glove.txt"))
    vectors = extractor.tables["vectors"]
    assert vectors.shape == (10, 2)
    np.testing.assert_array_equal(vectors[[2, 6]], [[3, 4], [1, 2]])
    assert set(pickle.loads(pickle.dumps(extractor)).tables) == {"idf"}
    extractor.save(tmp_path)
    again = EmbedText(vectors="gone.txt").build(ExtractorContext(saved=tmp_path))
    assert set(again.tables) == {"idf"} and again.fingerprint == extractor.fingerprint


def test_the_content_of_the_vectors_is_part_of_the_identity():
    options = EmbedText(vectors="glove.txt")
    one, other = (component_identity(EXTRACTORS, options, {"glove.txt": content}.__getitem__) for content in "ab")
    assert one == {"name": "embedtext", "version": 2, "vectors": "a"} != other


def test_min_df_and_vocab_size_leave_the_rare_words_out():
    assert built(min_df=2).vocabulary.words == ("cat", "a")
    assert built(min_df=1, vocab_size=3).vocabulary.words == ("cat", "a", "1")


def test_case_can_be_kept():
    assert built(min_df=1, lowercase=False).vocabulary.words[:4] == ("a", "cat", "1", "CAT")


def test_underscores_split_words_and_a_stemmer_joins_their_forms():
    extractor = EmbedText(stemmer="english").build(
        ExtractorContext(texts=lambda: iter(["raw_decode decoded", "decoding"]))
    )
    assert extractor.vocabulary.words == ("decod", "raw")
    assert extractor.encode("query", [Record("", "Decodes RAW_decoders")]).tokens[0].tolist() == [2, 3, 2]


def test_defect_19_idf_is_computed_from_the_collection():
    extractor = built(min_df=1)
    by_df = {df: math.log(1 + (4 - df + 0.5) / (df + 0.5)) for df in (0, 1, 2, 3)}
    # padding, unknown, cat (3 of 4 texts), a (2), the other six (1)
    expected = [0, by_df[0], by_df[3], by_df[2], *[by_df[1]] * 6, *[by_df[0]] * 33]  # the last are unknown words
    np.testing.assert_allclose(extractor.tables["idf"], expected, rtol=1e-6)
    np.testing.assert_allclose(extractor.tables["idf"][:4], [0, math.log(10), 0.35667494, 0.69314718], rtol=1e-6)
    assert extractor.tables["idf"].dtype == np.float32


def test_sequences_are_the_words_alone_cut_to_the_lengths():
    extractor = built(min_df=1, maxqlen=2, maxdoclen=3)
    made = extractor.extract(tiny.example(extractor, "the cat mat", "a cat and zebra", "mat", ""))
    assert tiny.listed(made["query"]) == [([8, 2], [0, 0], 0)]
    assert tiny.listed(made["doc"]) == [([3, 2, 5], [0, 0, 0], 0), ([7], [0], 1), ([], [], 2)]
    assert extractor.encode("doc", [Record("", "a cat and zebra")]).lengths == [4]
    assert extractor.budget("doc", {"query": 2}) == 3


def test_lone_surrogates_are_no_words():
    assert built(min_df=1).encode("doc", [Record("", "cat \ud800 a")]).tokens[0].tolist() == [2, 3]


def test_a_saved_vocabulary_is_the_same_and_a_damaged_one_is_refused(tmp_path):
    extractor = built(min_df=1)
    extractor.save(tmp_path)
    again = EmbedText(min_df=1).build(ExtractorContext(saved=tmp_path))
    assert (again.fingerprint, again.vocabulary) == (extractor.fingerprint, extractor.vocabulary)
    np.testing.assert_array_equal(again.tables["idf"], extractor.tables["idf"])
    (tmp_path / "vocabulary.json").write_text('{"words": []}')
    with pytest.raises(StorageError, match="damaged word vocabulary"):
        EmbedText().build(ExtractorContext(saved=tmp_path))


def test_without_a_collection_it_says_what_is_missing(tmp_path):
    with pytest.raises(MissingError, match="no collection to count words on"):
        EmbedText().build(ExtractorContext())
    with pytest.raises(MissingError, match="no word vocabulary"):
        EmbedText().build(ExtractorContext(saved=tmp_path))
