"""Vocabularies of sentencepiece: the pieces of the library itself, the ids and special tokens of transformers."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rankcli.errors import MissingError
from rankcli.text.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "tokenizers"
STORED = json.loads((GOLDEN / "pieces.json").read_text())
TEMPLATES = {  # of a pair, with A and B in place of the texts, and the id of padding
    "xlm-roberta": ("<s> A </s> </s> B </s>", "<pad>"),
    "camembert": ("<s> A </s> </s> B </s>", "<pad>"),
    "deberta-v2": ("[CLS] A [SEP] B [SEP]", "[PAD]"),
    "albert": ("[CLS] A [SEP] B [SEP]", "<pad>"),
    "t5": ("A </s> B </s>", "<pad>"),
}
every = pytest.mark.parametrize("kind", TEMPLATES)


def token_ids(tokenizer):
    return tokenizer._backend.get_vocab(with_added_tokens=True)


@every
def test_texts_are_cut_as_by_sentencepiece(kind):
    tokenizer = Tokenizer.open(GOLDEN / kind)
    ids = token_ids(tokenizer)
    unknown = ids["[UNK]" if kind == "deberta-v2" else "<unk>"]
    for text, pieces in zip(STORED["texts"], STORED["pieces"][kind], strict=True):
        assert tokenizer.encode([text])[0].tolist() == [ids.get(piece, unknown) for piece in pieces], text


@every
def test_ids_and_special_tokens_are_those_of_the_model(kind):
    tokenizer = Tokenizer.open(GOLDEN / kind)
    ids, (template, pad) = token_ids(tokenizer), TEMPLATES[kind]
    filled = tokenizer.pair_template.fill(np.array([70]), np.array([71, 72]))[0].tolist()
    marked = template.replace("A", "70").replace("B", "71 72").split()
    assert filled == [ids.get(token, int(token) if token.isdigit() else None) for token in marked]
    assert tokenizer.pad_id == ids[pad]
    last = template.rsplit(" ", 1)[-1]
    assert tokenizer.encode([last])[0].tolist() == [ids[last]]


def test_the_first_ids_are_those_of_fairseq():
    """XLM-R's model puts padding between the special tokens of sentencepiece, and CamemBERT's puts five before them."""
    ids = token_ids(Tokenizer.open(GOLDEN / "xlm-roberta"))
    assert [ids[token] for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")] == [0, 1, 2, 3, max(ids.values())]
    ids = token_ids(Tokenizer.open(GOLDEN / "camembert"))
    assert [ids[token] for token in ("<pad>", "<unk>", "<s>", "</s>")] == [1, 3, 5, 6]


@every
def test_saved_it_opens_as_the_same_tokenizer_with_the_original_file(kind, tmp_path):
    tokenizer = Tokenizer.open(GOLDEN / kind)
    tokenizer.save(tmp_path)
    assert Tokenizer.open(tmp_path).fingerprint == tokenizer.fingerprint
    (original,) = GOLDEN.joinpath(kind).glob("*.model")
    assert (tmp_path / original.name).read_bytes() == original.read_bytes()


def test_special_tokens_that_the_file_does_not_have_are_found_in_texts():
    tokenizer = Tokenizer.open(GOLDEN / "xlm-roberta")
    assert tokenizer.encode(["<pad> <mask>"])[0].tolist() == [1, tokenizer.vocab_size - 1]


def test_settings_come_from_the_tokenizer_s_file_where_there_is_one(tmp_path):
    shutil.copy(GOLDEN / "deberta-v2" / "spm.model", tmp_path)
    settings = {"tokenizer_class": "DebertaV2TokenizerFast", "do_lower_case": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    upper, lower = Tokenizer.open(tmp_path).encode(["THE CATS", "the cats"])
    np.testing.assert_array_equal(upper, lower)


def test_bytes_in_place_of_unknown_characters_are_refused(tmp_path):
    shutil.copytree(GOLDEN / "xlm-roberta", tmp_path, dirs_exist_ok=True)
    model = importlib.import_module("transformers.convert_slow_tokenizer").import_protobuf().ModelProto()
    model.ParseFromString((tmp_path / "sentencepiece.bpe.model").read_bytes())
    model.trainer_spec.byte_fallback = True
    (tmp_path / "sentencepiece.bpe.model").write_bytes(model.SerializeToString())
    with pytest.warns(UserWarning), pytest.raises(MissingError, match="unknown characters become bytes"):
        Tokenizer.open(tmp_path)


@pytest.mark.parametrize("content", [b"\x0a\xff\xff", b""])
def test_a_damaged_file_says_so(content, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}')
    (tmp_path / "sentencepiece.bpe.model").write_bytes(content)
    with pytest.raises(MissingError, match=r"sentencepiece.bpe.model cannot be read"):
        Tokenizer.open(tmp_path)
