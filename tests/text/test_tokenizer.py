"""Tokenizers: ids and templates by hand, files kept, a trained vocabulary that is the same every time."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, processors

import rankcli
from rankcli.errors import MissingError, StorageError
from rankcli.text.tokenizer import Tokenizer, well_formed
from rankcli.text.wordpiece import train_wordpiece

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "##s", "dog", "run"]
TEXTS = ["the cat sat on the mat", "the dog ran to the cat", "Über den Dächern", "mats and cats, cats and mats"] * 3


def bert(lowercase: bool = True) -> Backend:
    backend = Backend(models.WordPiece({piece: n for n, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return backend


def roberta() -> Backend:
    words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5}
    backend = Backend(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return backend


def opened(backend: Backend, directory: Path, **config: object) -> Tokenizer:
    backend.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return Tokenizer.open(directory)


def filled(template, *parts):
    return [array.tolist() for array in template.fill(*(np.array(part, np.uint16) for part in parts))[:2]]


def test_tokens_are_those_of_the_vocabulary_without_special_tokens(tmp_path):
    tokenizer = opened(bert(), tmp_path)
    assert [ids.tolist() for ids in tokenizer.encode(["Cats RUN", "bird dog", ""])] == [[5, 6, 8], [1, 7], []]
    assert (tokenizer.vocab_size, tokenizer.pad_id) == (9, 0)


def test_texts_are_tokenised_alike_in_batches_of_any_size(tmp_path, monkeypatch):
    tokenizer = opened(bert(), tmp_path)
    texts = ["cats dog", "", "run", "dog " * 9, "\ud800", "cat"]
    whole = [ids.tolist() for ids in tokenizer.encode(texts)]
    assert whole[:4] == [[5, 6, 7], [], [8], [7] * 9]
    for size in (1, 8, 20):
        monkeypatch.setattr("rankcli.text.tokenizer.BATCH_CHARS", size)
        assert [ids.tolist() for ids in tokenizer.encode(texts)] == whole
    assert tokenizer.encode([]) == []


def test_bert_template_puts_the_second_part_and_its_separator_in_segment_1(tmp_path):
    tokenizer = opened(bert(), tmp_path)
    assert filled(tokenizer.pair_template, [5], [7, 8]) == [[2, 5, 3, 7, 8, 3], [0, 0, 0, 1, 1, 1]]
    assert filled(tokenizer.single_template, [5, 6]) == [[2, 5, 6, 3], [0, 0, 0, 0]]
    assert (tokenizer.pair_template.special, tokenizer.single_template.special) == (3, 2)


def test_roberta_template_has_two_separators_and_one_segment(tmp_path):
    tokenizer = opened(roberta(), tmp_path, pad_token={"content": "<pad>"})
    assert filled(tokenizer.pair_template, [4], [5, 5]) == [[0, 4, 2, 2, 5, 5, 2], [0] * 7]
    assert filled(tokenizer.single_template, [4]) == [[0, 4, 2], [0] * 3]
    assert tokenizer.pad_id == 1


def test_template_holds_empty_parts(tmp_path):
    tokenizer = opened(bert(), tmp_path)
    assert filled(tokenizer.pair_template, [], [7]) == [[2, 3, 7, 3], [0, 0, 1, 1]]


def test_tokenizer_without_post_processor_adds_nothing(tmp_path):
    backend = roberta()
    backend.post_processor = processors.ByteLevel()
    assert filled(opened(backend, tmp_path).pair_template, [4], [5]) == [[4, 5], [0, 1]]


def test_truncation_and_padding_of_the_file_are_not_applied(tmp_path):
    backend = bert()
    backend.enable_truncation(4)
    backend.enable_padding(length=6)
    tokenizer = opened(backend, tmp_path)
    assert tokenizer.encode(["cat " * 10])[0].tolist() == [5] * 10
    (tmp_path / "plain").mkdir()
    assert tokenizer.fingerprint == opened(bert(), tmp_path / "plain").fingerprint


def test_fingerprint_depends_on_rules_and_survives_saving_and_pickling(tmp_path):
    for name in ("lower", "cased", "saved"):
        (tmp_path / name).mkdir()
    lower, cased = opened(bert(), tmp_path / "lower"), opened(bert(lowercase=False), tmp_path / "cased")
    assert lower.fingerprint != cased.fingerprint
    lower.save(tmp_path / "saved")
    assert Tokenizer.open(tmp_path / "saved").fingerprint == lower.fingerprint
    copy = pickle.loads(pickle.dumps(lower))
    assert copy.fingerprint == lower.fingerprint
    assert copy.encode(["cats"])[0].tolist() == [5, 6]


def test_files_of_the_original_are_kept_to_the_byte(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir(), target.mkdir()
    (source / "special_tokens_map.json").write_bytes(b'{"pad_token":   "[PAD]"}')
    (source / "vocab.txt").write_text("\n".join(PIECES))
    (source / "model.safetensors").write_bytes(b"no tokenizer file")
    opened(bert(), source, model_max_length=77).save(target)
    names = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"}
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {n: (source / n).read_bytes() for n in names}


def test_vocab_txt_alone_is_read_by_way_of_transformers(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    tokenizer = Tokenizer.open(tmp_path)
    assert tokenizer.encode(["Cats run"])[0].tolist() == [5, 6, 8]
    assert filled(tokenizer.pair_template, [5], [7]) == [[2, 5, 3, 7, 3], [0, 0, 0, 1, 1]]


@pytest.mark.parametrize("named", [{"config.json": {"model_type": "roberta"}}, {}])
def test_vocab_json_and_merges_are_read_by_way_of_transformers(named, tmp_path):
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "c", "a", "t", "s", "\u0120", "ca", "cat", "\u0120cat", "<mask>"]
    (tmp_path / "vocab.json").write_text(json.dumps({piece: n for n, piece in enumerate(pieces)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nc a\nca t\n\u0120 cat\n")
    settings = {"tokenizer_class": "RobertaTokenizer"}
    for name, content in (named or {"tokenizer_config.json": settings}).items():
        (tmp_path / name).write_text(json.dumps(content))
    tokenizer = Tokenizer.open(tmp_path)
    assert [ids.tolist() for ids in tokenizer.encode(["cat cats", "a</s>"])] == [[10, 11, 7], [5, 2]]
    assert filled(tokenizer.pair_template, [10], [11, 7]) == [[0, 10, 2, 2, 11, 7, 2], [0] * 7]
    assert (tokenizer.pad_id, tokenizer.vocab_size) == (1, 13)


def test_a_vocabulary_that_its_class_does_not_read_is_refused(tmp_path):
    (tmp_path / "vocab.json").write_text('{"<s>": 0}')
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(MissingError, match="its class .* reads vocab.txt: not found"):
        Tokenizer.open(tmp_path)


def test_a_tokenizer_without_letters_is_refused(tmp_path):
    backend = Backend(models.BPE({"x": 0}, []))
    with pytest.raises(MissingError, match="the tokenizer has no token for `a`"):
        opened(backend, tmp_path)


def test_a_folder_without_or_with_a_broken_tokenizer_says_what_to_do(tmp_path):
    with pytest.raises(MissingError, match=r"no tokenizer files[\s\S]*vocab.txt"):
        Tokenizer.open(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(MissingError, match="cannot be read"):
        Tokenizer.open(tmp_path)
    with pytest.raises(StorageError, match=r"tokenizer_config.json: the JSON in it cannot be read"):
        bert().save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "tokenizer_config.json").write_text("{")
        Tokenizer.open(tmp_path)


def test_surrogates_are_replaced_and_pairs_of_them_joined():
    assert well_formed("a\ud800b") == "a\ufffdb"
    assert well_formed("\ud83d\ude00") == "😀"
    assert well_formed("plain") == "plain"


def test_trained_vocabulary_is_the_same_every_time_and_in_every_process():
    code = (
        "import json, sys; from rankcli.text.wordpiece import train_wordpiece;"
        "texts = json.loads(sys.argv[1]); print(train_wordpiece(lambda: texts, 60, True).fingerprint)"
    )
    command, root = [sys.executable, "-c", code, json.dumps(TEXTS)], Path(rankcli.__file__).parents[1]
    other = subprocess.run(command, cwd=root, capture_output=True, check=True)
    here = {train_wordpiece(lambda: TEXTS, 60, True).fingerprint for _ in range(3)}
    assert here == {other.stdout.decode().strip()}


def test_trained_vocabulary_has_frequent_words_whole_and_rare_ones_in_pieces():
    tokenizer = train_wordpiece(lambda: TEXTS, 70, True)
    lengths = [len(ids) for ids in tokenizer.encode(["the", "CATS", "cobra"])]
    assert lengths[:2] == [1, 1]
    assert lengths[2] > 1
    assert 1 not in tokenizer.encode(["ub"])[0]  # the umlaut was stripped: its letter is known
    assert tokenizer.vocab_size <= 70
    assert filled(tokenizer.pair_template, [9], [8]) == [[2, 9, 3, 8, 3], [0, 0, 0, 1, 1]]


def test_trained_vocabulary_can_keep_case():
    tokenizer = train_wordpiece(lambda: ["Cat cat Cat cat"] * 5, 40, False)
    upper, lower = tokenizer.encode(["Cat", "cat"])
    assert len(upper) == len(lower) == 1
    assert upper.tolist() != lower.tolist()


@pytest.mark.parametrize("texts", [[], [""], ["   "], ["\ud800"]])
def test_training_on_nothing_leaves_the_special_tokens(texts):
    tokenizer = train_wordpiece(lambda: texts, 10, True)
    assert tokenizer.vocab_size == 5
    assert tokenizer.encode(["word"])[0].tolist() == [1]


def test_trained_tokenizer_opens_in_transformers_with_the_same_tokens(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = train_wordpiece(lambda: TEXTS, 70, True)
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(str(tmp_path), local_files_only=True)("The cats", "sat on Dächern")
    ours = tokenizer.pair_template.fill(*tokenizer.encode(["The cats", "sat on Dächern"]))
    assert [theirs["input_ids"], theirs["token_type_ids"]] == [array.tolist() for array in ours[:2]]
    special = tokenizer.encode(["[CLS] [SEP]"])[0].tolist()
    assert ours[2].tolist() == [0 if n in special else 1 + segment for n, segment in zip(ours[0], ours[1], strict=True)]


TRAINED = train_wordpiece(lambda: TEXTS, 60, True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=5))
def test_any_text_has_tokens_of_the_vocabulary(texts):
    encoded = TRAINED.encode(texts)
    assert len(encoded) == len(texts)
    assert all(ids.dtype == np.int32 and (ids >= 0).all() and (ids < TRAINED.vocab_size).all() for ids in encoded)


@pytest.mark.parametrize(("stored", "setting"), [(True, False), (False, True)])
def test_settings_of_tokenizer_config_are_obeyed_as_by_transformers(stored, setting, tmp_path):
    from transformers import AutoTokenizer

    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    tokenizer = opened(bert(stored), tmp_path, tokenizer_class="BertTokenizer", do_lower_case=setting, **names)
    ours = tokenizer.pair_template.fill(*tokenizer.encode(["Cat", "dog"]))[0].tolist()
    assert ours == AutoTokenizer.from_pretrained(str(tmp_path))("Cat", "dog")["input_ids"]
    assert ours == [2, 5 if setting else 1, 3, 7, 3]


def test_a_setting_that_another_normaliser_contradicts_is_said(tmp_path, capsys):
    backend = bert()
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase()])
    opened(backend, tmp_path, do_lower_case=True)
    assert capsys.readouterr().err == ""
    opened(backend, tmp_path, do_lower_case=False)
    assert "do_lower_case is False in tokenizer_config.json, but not in tokenizer.json, which is used" in (
        capsys.readouterr().err
    )
