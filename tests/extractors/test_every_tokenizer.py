"""Every extractor over every kind of tokenizer makes the sequences that the tokenizer itself makes of the texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_tokenizers as tiny

from rankcli.config.registry import EXTRACTORS
from rankcli.extractors.base import ExtractorContext

GOLDEN = Path(__file__).parents[1] / "golden" / "tokenizers"
SIZES = {
    "passage": {"maxseqlen": 40},
    "pooledpassage": {"maxseqlen": 60, "maxqlen": 8, "passagelen": 30, "stride": 10},
    "apart": {"maxqlen": 20, "maxdoclen": 40},
}
QUERY, DOC = "the cats over hills", "dogs run far away and the gradient, dächer"


@pytest.fixture(params=["bert", "roberta", "xlm-roberta", "camembert", "deberta-v2", "albert", "t5"])
def tokenizer_folder(request, tmp_path):
    made = {"bert": tiny.bert, "roberta": tiny.roberta}
    return made[request.param](tmp_path) if request.param in made else GOLDEN / request.param


def built(name, folder, **changed):
    return EXTRACTORS.get(name)(**{**SIZES[name], **changed}).build(ExtractorContext(pretrained=folder))


@pytest.mark.parametrize("name", ["passage", "pooledpassage"])
def test_a_pair_is_what_the_tokenizer_makes_of_both_texts(name, tokenizer_folder):
    extractor = built(name, tokenizer_folder)
    (sequence,) = extractor.extract(tiny.example(extractor, QUERY, DOC))["pair"]
    whole = extractor.tokenizer._backend.encode(QUERY, DOC)
    assert sequence.ids.tolist() == whole.ids
    assert sequence.segments.tolist() == whole.type_ids
    assert sequence.parts.tolist() == [0 if part is None else 1 + part for part in whole.sequence_ids]


def test_texts_apart_are_what_the_tokenizer_makes_of_each(tokenizer_folder):
    extractor = built("apart", tokenizer_folder)
    made = extractor.extract(tiny.example(extractor, QUERY, DOC))
    for field, text in (("query", QUERY), ("doc", DOC)):
        whole = extractor.tokenizer._backend.encode(text)
        assert (made[field][0].ids.tolist(), made[field][0].segments.tolist()) == (whole.ids, whole.type_ids)


@pytest.mark.parametrize("name", ["passage", "pooledpassage"])
def test_where_a_sequence_is_full_only_text_is_left_out(name, tokenizer_folder):
    lengths = {"maxseqlen": 14, "maxqlen": 4, "passagelen": 6, "stride": 3}
    known = {key: size for key, size in lengths.items() if key in SIZES[name] or key == "maxqlen"}
    extractor = built(name, tokenizer_folder, **known)
    made = extractor.extract(tiny.example(extractor, QUERY, f"{DOC} {DOC}"))["pair"]
    special = extractor.template.special
    assert max(len(s.ids) for s in made) == extractor.fields["pair"].max_length
    for sequence in made:
        assert np.sum(sequence.parts == 0) == special and np.sum(sequence.parts == 1) == 4
        assert 1 <= np.sum(sequence.parts == 2) <= (14 - special - 4 if name == "passage" else 6)
