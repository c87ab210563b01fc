"""`tokenizer.json` with any one value changed: it opens and tokenises, or one error says why not. In bounded memory."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankcli.errors import MissingError, StorageError
from rankcli.text.tokenizer import Tokenizer
from tests.mutated import mutants

MB = 1024


def word(text: str, n: int, special: bool = True) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": n, "content": text, **flags, "special": special}


def template(first: str, last: str) -> dict[str, Any]:
    def ends(*parts: str) -> list[dict[str, Any]]:
        texts = [{"Sequence": {"id": part, "type_id": 0}} for part in parts]
        return [{"SpecialToken": {"id": first, "type_id": 0}}, *texts, {"SpecialToken": {"id": last, "type_id": 0}}]

    tokens = {each: {"id": each, "ids": [n], "tokens": [each]} for n, each in ((2, first), (3, last))}
    return {"type": "TemplateProcessing", "single": ends("A"), "pair": ends("A", "B"), "special_tokens": tokens}


COMMON = {"version": "1.0", "truncation": None, "padding": None, "decoder": None}
WORDPIECE = {
    **COMMON,
    "added_tokens": [word(text, n) for n, text in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])],
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
    | {"lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": template("[CLS]", "[SEP]"),
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    | {"max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "##b": 5}},
}
BPE = {
    **COMMON,
    "added_tokens": [word(text, n) for n, text in enumerate(["<pad>", "<unk>", "<s>", "</s>"])],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 3], "cls": ["<s>", 2]}
    | {"trim_offsets": True, "add_prefix_space": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None}
    | {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    | {"vocab": {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3, "a": 4, "b": 5, "ab": 6}, "merges": [["a", "b"]]},
}
UNIGRAM = {
    **COMMON,
    "added_tokens": [word(text, n) for n, text in enumerate(["<pad>", "<unk>", "<s>", "</s>"])],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
    "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
    "post_processor": template("<s>", "</s>"),
    "model": {"type": "Unigram", "unk_id": 1, "byte_fallback": False}
    | {"vocab": [["<pad>", 0.0], ["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0], ["\u2581a", -1.0], ["b", -2.0]]},
}
ANY = st.one_of(*map(mutants, (WORDPIECE, BPE, UNIGRAM)))
FEW = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(FEW, max_examples=20_000)


@pytest.mark.parametrize("content", [WORDPIECE, BPE, UNIGRAM])
def test_the_unchanged_ones_open(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert [len(ids) for ids in Tokenizer.open(tmp_path).encode(["ab"])][0] in (1, 2)


def check(folder: Path, content: Any) -> None:
    (folder / "tokenizer.json").write_text(json.dumps(content))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        tokenizer = Tokenizer.open(folder)
        ids = tokenizer.encode(["ab a", "", "b b b"])
        tokenizer.pair_template.fill(ids[0], ids[2])
    except (MissingError, StorageError) as error:
        assert str(folder) in str(error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 200 * MB


@FEW
@given(ANY)
def test_any_change_opens_or_is_one_error(tmp_path: Path, content: Any) -> None:
    check(tmp_path, content)


@pytest.mark.slow
@MANY
@given(ANY)
def test_any_change_opens_or_is_one_error_often(tmp_path: Path, content: Any) -> None:
    check(tmp_path, content)
