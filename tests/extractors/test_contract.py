"""The contract of every registered extractor, of a tiny configuration each."""

from __future__ import annotations

import functools
import pickle
from collections import Counter

import numpy as np
import pytest
import tiny_tokenizers as tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankcli.config.registry import EXTRACTORS
from rankcli.extractors.base import ExtractorContext, vocab_size
from rankcli.shapes import Record

TEXTS = ("a b c d", "b c d e f", "g h i j k l m n o", "a a a")
TINY = {
    "passage": {"maxseqlen": 12, "maxqlen": 4, "vocab_size": 50},
    "pooledpassage": {"maxseqlen": 12, "maxqlen": 4, "passagelen": 5, "stride": 3, "numpassages": 3, "vocab_size": 50},
    "setpassage": {"maxseqlen": 12, "maxqlen": 4, "vocab_size": 50},
    "sentences": {"maxqlen": 4, "sentencelen": 5, "numsentences": 3, "vocab_size": 50},
    "duo": {"maxseqlen": 18, "maxqlen": 4, "numdocs": 5, "vocab_size": 50},
    "prompted": {"maxseqlen": 24, "maxqlen": 4, "vocab_size": 50},
    "apart": {"maxqlen": 5, "maxdoclen": 7, "vocab_size": 50},
    "colbert": {"maxqlen": 6, "maxdoclen": 8, "vocab_size": 50},
    "embedtext": {"maxqlen": 4, "maxdoclen": 6, "min_df": 1},
}
letters = st.lists(st.sampled_from("abcdefgz"), max_size=25).map(" ".join)
groups = st.tuples(letters, st.lists(letters, min_size=1, max_size=4))
every = pytest.mark.parametrize("name", sorted(TINY))


def built(name):
    return EXTRACTORS.get(name)(**TINY[name]).build(ExtractorContext(texts=lambda: TEXTS))


shared = functools.cache(built)


def as_lists(made):
    return {name: tiny.listed(sequences) for name, sequences in made.items()}


def test_every_registered_extractor_is_tested_here():
    assert sorted({*TINY, "features"}) == EXTRACTORS.names()  # `test_features.py` is of the one that reads no text


@every
def test_options_declare_the_fields_that_are_made(name):
    extractor = built(name)
    assert tuple(extractor.fields) == EXTRACTORS.get(name).fields
    assert extractor.columns == EXTRACTORS.get(name)(**TINY[name]).columns
    assert set(extractor.extract(tiny.example(extractor, "a", "b"))) == set(extractor.fields)


@every
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(group=groups)
def test_no_sequence_is_longer_than_its_field_says_and_documents_come_in_order(name, group):
    extractor, (query, docs) = shared(name), group
    made = extractor.extract(tiny.example(extractor, query, *docs))
    for field, spec in extractor.fields.items():
        assert all(len(s.ids) == len(s.segments) == len(s.parts) <= spec.max_length for s in made[field])
        assert all(s.ids.dtype == s.segments.dtype == s.parts.dtype == np.int32 for s in made[field])
        owners = [s.doc for s in made[field]]
        assert owners == sorted(owners)
        assert max(Counter(owners).values(), default=0) <= spec.most
        assert set(owners) == ({0} if spec.level == "query" else set(range(len(docs))))


@every
def test_what_is_kept_of_a_text_is_the_most_that_any_query_leaves_it(name):
    extractor = built(name)
    (kept,) = extractor.encode("doc", [Record("d", "a " * 100)]).tokens
    assert len(kept) == max(extractor.budget("doc", {"query": n}) for n in range(9))
    assert extractor.encode("doc", [Record("d", "a " * 100)]).lengths == [100]


@every
def test_ids_are_below_the_vocabulary_size(name):
    extractor = built(name)
    records = [Record("d", text) for text in (*TEXTS, "zzz ß 漢字 \ud800")]
    assert all((ids < extractor.streams["doc"].vocab_size).all() for ids in extractor.encode("doc", records).tokens)
    for field, sequences in extractor.extract(tiny.example(extractor, "yyy a", *TEXTS, "zzz ß yyy")).items():
        assert all((sequence.ids < vocab_size(extractor, field)).all() for sequence in sequences)


@every
def test_a_batch_of_texts_has_the_tokens_of_each(name):
    extractor = built(name)
    together = extractor.encode("doc", [Record("d", text) for text in TEXTS]).tokens
    for text, ids in zip(TEXTS, together, strict=True):
        np.testing.assert_array_equal(extractor.encode("doc", [Record("other", text)]).tokens[0], ids)
    assert extractor.encode("doc", []).tokens == []


@every
def test_pickled_it_works_the_same(name):
    extractor = built(name)
    copy = pickle.loads(pickle.dumps(extractor))
    one, other = (as_lists(e.extract(tiny.example(e, "a b", *TEXTS))) for e in (extractor, copy))
    assert one == other
    assert copy.fingerprint == extractor.fingerprint


@every
def test_saved_and_opened_it_works_the_same(name, tmp_path):
    extractor = built(name)
    extractor.save(tmp_path)
    again = EXTRACTORS.get(name)(**TINY[name]).build(ExtractorContext(saved=tmp_path))
    one, other = (as_lists(e.extract(tiny.example(e, "a b", *TEXTS))) for e in (extractor, again))
    assert one == other
    assert (again.fingerprint, again.streams, again.fields) == (
        extractor.fingerprint,
        extractor.streams,
        extractor.fields,
    )


@every
def test_built_twice_it_has_the_same_fingerprint(name):
    assert built(name).fingerprint == built(name).fingerprint


@every
def test_defect_18_sequences_leave_labels_alone(name):
    extractor = built(name)
    example = tiny.example(extractor, "a b", *TEXTS)
    extractor.extract(example)
    assert example.labels.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert example.docids == ("d0", "d1", "d2", "d3")
