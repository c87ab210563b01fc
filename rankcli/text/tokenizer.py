"""Subword tokenizers of pretrained models.

All are fast tokenizers of the `tokenizers` library. Texts become plain token ids, without special tokens and never
truncated. The places of special tokens are read from the tokenizer's own post-processor, so that one code is right for
BERT, ELECTRA and RoBERTa.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.errors import MissingError
from rankcli.log import warn
from rankcli.shapes import Ints
from rankcli.storage.json_files import parse_object, read_object
from rankcli.text import sentencepiece
from rankcli.text.template import MOST_IDS, SAVE_AGAIN, template_of

# The tokenizer files of a pretrained model's folder; saved unchanged, so that other tools can read the ones they know.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    *sentencepiece.FILES,
)
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
NORMALIZER_SETTINGS = {  # names in tokenizer_config.json, and in tokenizer.json
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
BATCH_CHARS = 1 << 20  # characters per call of the library, whose result takes about 70 bytes per token


def has_tokenizer(directory: Path) -> bool:
    """True for a directory with the vocabulary of a tokenizer."""
    return any((directory / name).is_file() for name in TOKENIZER_FILES if name not in _SETTINGS)


class Tokenizer:
    """A fast tokenizer with the files it came from; `backend` is a `tokenizers.Tokenizer`.

    `fingerprint` is the SHA-256 of all that decides the tokens: vocabulary, normalisation, splitting and special
    tokens.
    """

    def __init__(self, backend: Any, files: dict[str, bytes], where: str = "") -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend, self._files, self._where = backend, files, where
        with _failures(where):
            self.vocab_size: int = 1 + max(backend.get_vocab(with_added_tokens=True).values())
            self.pad_id: int = _pad_id(backend, files)
            self.single_template = template_of(backend, 1)
            self.pair_template = template_of(backend, 2)
            self.fingerprint = _fingerprint(backend)

    @classmethod
    def open(cls, directory: Path) -> Tokenizer:
        """The tokenizer of a model folder: `tokenizer.json`, else converted from `vocab.txt`, `spm.model` etc.

        MissingError if there are no such files or they cannot be read.
        """
        from tokenizers import Tokenizer as Backend

        files = {name: (directory / name).read_bytes() for name in TOKENIZER_FILES if (directory / name).is_file()}
        if "tokenizer.json" in files:
            backend = _parse(Backend, files["tokenizer.json"], directory)
            _set_normalizer(backend, _json(files, "tokenizer_config.json"), directory)
            if _lower_cases(directory):
                _lower_case(backend)
                files["tokenizer.json"] = backend.to_str().encode()
            return cls(backend, files, str(directory))
        content = _converted(directory, files).to_str().encode()
        # read back, as it is from a saved folder: the library rounds the numbers that it reads
        return cls(_parse(Backend, content, directory), {**files, "tokenizer.json": content}, str(directory))

    def encode(self, texts: Sequence[str]) -> list[Ints]:
        """Token ids of each text, int32 [T], without special tokens, not cut off; lone surrogates become U+FFFD."""
        tokens: list[Ints] = []
        for batch in _batches_of_size(texts):
            with _failures(self._where):
                encodings = self._backend.encode_batch_fast(batch, add_special_tokens=False)
            tokens += [np.asarray(encoding.ids, np.int32) for encoding in encodings]
        return tokens

    def id_of(self, token: str) -> int | None:
        """The id of a token of the vocabulary; None for one that it does not have."""
        found: int | None = self._backend.token_to_id(token)
        return found

    def save(self, directory: Path) -> None:
        """Write the tokenizer's files unchanged; `AutoTokenizer` of transformers opens the folder."""
        for name, content in self._files.items():
            (directory / name).write_bytes(content)


def well_formed(text: str) -> str:
    """Return `text` with surrogate pairs joined and lone surrogates, which are no text, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _batches_of_size(texts: Iterable[str]) -> Iterator[list[str]]:
    """Well-formed texts in batches of about `BATCH_CHARS` characters, or of one text that is longer."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(well_formed(text))
        size += len(text)
        if size >= BATCH_CHARS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _parse(backend: Any, content: bytes, directory: Path) -> Any:
    with _failures(str(directory)):
        _check_ids(parse_object(content, f"{directory}/tokenizer.json"))
        return backend.from_str(content.decode())


@contextmanager
def _failures(where: str) -> Iterator[None]:
    """Turn everything that the library raises into a MissingError."""
    try:
        yield
    except MissingError as error:
        raise MissingError(error.what, where=where, fix=error.fix) from error
    except BaseException as error:  # the library raises no narrower class, and a panic of it is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise MissingError(f"the tokenizer cannot be used: {error}", where=where, fix=SAVE_AGAIN) from error


def _check_ids(content: Mapping[str, Any]) -> None:
    """Raise ValueError for an id beyond `MOST_IDS`: tables of the library are as long as the largest id."""
    vocabulary = content["model"].get("vocab")
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
    ids += [token["id"] for token in content.get("added_tokens") or ()]
    for wrong in (each for each in ids if not (isinstance(each, int) and 0 <= each < MOST_IDS)):
        raise ValueError(f"a token has the id {wrong!r}; ids are whole numbers from 0 to {MOST_IDS - 1:,}")


def _set_normalizer(backend: Any, settings: Mapping[str, Any], directory: Path) -> None:
    """Apply the settings of tokenizer_config.json, which transformers prefers to those of tokenizer.json.

    They change only BERT's normaliser; with any other one, a contradiction to it gives a warning.
    """
    from tokenizers.normalizers import BertNormalizer

    normalizer = backend.normalizer
    for setting, name in NORMALIZER_SETTINGS.items():
        value = settings.get(setting)
        if not isinstance(normalizer, BertNormalizer):
            if setting == "do_lower_case" and isinstance(value, bool) and value != _ignores_case(normalizer):
                what = f"{setting} is {value} in tokenizer_config.json, but not in tokenizer.json, which is used"
                warn(f"{directory}: {what}")
        elif isinstance(value, bool) and value != getattr(normalizer, name):
            setattr(normalizer, name, value)


def _ignores_case(normalizer: Any) -> bool:
    return normalizer is not None and normalizer.normalize_str("A") == normalizer.normalize_str("a")


def _lower_cases(directory: Path) -> bool:
    """True if the directory is of sentence-transformers, with a setting by which it lower-cases texts first."""
    file = directory / "sentence_bert_config.json"
    return file.is_file() and read_object(file).get("do_lower_case") is True


def _lower_case(backend: Any) -> None:
    from tokenizers import normalizers

    own = [backend.normalizer] if backend.normalizer else []
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def _converted(directory: Path, files: dict[str, bytes]) -> Any:
    """Let transformers convert the files of a slow tokenizer to a fast one."""
    if not files:
        raise MissingError(
            "no tokenizer files", where=str(directory), fix="name a folder with a tokenizer.json or a vocab.txt in it"
        )
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # else it says on stderr that PyTorch is missing
    kind = _class_name(directory, files)
    if (pieces := [name for name in sentencepiece.FILES if name in files]) and sentencepiece.reads(kind):
        return sentencepiece.converted(directory / pieces[0], kind, _json(files, "tokenizer_config.json"))
    return _opened_by_transformers(directory, files)


def _class_name(directory: Path, files: dict[str, bytes]) -> str:
    """Return the class of the slow tokenizer: the one in its settings, else that of the model."""
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    config = directory / "config.json"
    model = read_object(config).get("model_type") if config.is_file() else None
    usual = TOKENIZER_MAPPING_NAMES.get(str(model))
    named = _json(files, "tokenizer_config.json").get("tokenizer_class") or (
        usual[0] if isinstance(usual, tuple) else usual
    )
    return str(named or "").removesuffix("Fast")


def _opened_by_transformers(directory: Path, files: dict[str, bytes]) -> Any:
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(str(directory), local_files_only=True, use_fast=True)
        absent = {file for key, file in found.vocab_files_names.items() if key != "tokenizer_file"} - files.keys()
        if absent:  # transformers would make a vocabulary of special tokens alone
            raise ValueError(f"its class {type(found).__name__} reads {' and '.join(sorted(absent))}: not found")
        return found.backend_tokenizer
    except (ValueError, OSError, ImportError, AttributeError) as error:
        raise MissingError(
            f"transformers cannot open this tokenizer: {error}",
            where=str(directory),
            fix="save it as a fast tokenizer: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
        ) from error


def _fingerprint(backend: Any) -> str:
    decisive = {
        key: value
        for key, value in json.loads(backend.to_str()).items()
        if key not in ("truncation", "padding", "decoder")
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _pad_id(backend: Any, files: dict[str, bytes]) -> int:
    """The id of the padding token in the files, else of its usual names, else 0 (masks hide it anyway)."""
    named = [_json(files, name).get("pad_token") for name in ("tokenizer_config.json", "special_tokens_map.json")]
    names = [name["content"] if isinstance(name, dict) else name for name in named]
    ids = [backend.token_to_id(name) for name in (*names, "[PAD]", "<pad>") if name]
    return next((found for found in ids if found is not None), 0)


def _json(files: dict[str, bytes], name: str) -> dict[str, Any]:
    return parse_object(files.get(name, b"{}"), name, fix="copy or download the model again")
