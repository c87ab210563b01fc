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
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rankcli.errors import MissingError
from rankcli.log import warn
from rankcli.shapes import DOC, QUERY, Ints
from rankcli.storage.json_files import parse_object, read_object
from rankcli.text import sentencepiece

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
NORMALIZER_SETTINGS = {  # names in tokenizer_config.json, and in tokenizer.json
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
BATCH_CHARS = 1 << 20  # characters per call of the library, whose result takes about 70 bytes per token


class Template(NamedTuple):
    """The special tokens of a sequence: `pieces` surround the parts, which have the segment ids `segments`.

    A template of n parts has n + 1 pieces; each piece is its token ids and their segment ids.
    """

    pieces: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    segments: tuple[int, ...]

    @property
    def special(self) -> int:
        """The number of special tokens that it adds."""
        return sum(len(ids) for ids, _ in self.pieces)

    def fill(self, *texts: Ints, kinds: Sequence[int] = (QUERY, DOC)) -> tuple[Ints, Ints, Ints]:
        """Token ids, segment ids and parts, int32 [T] each, of texts with the special tokens around them.

        `kinds` gives the part, `QUERY` or `DOC`, of each text's tokens.
        """
        length = self.special + sum(len(text) for text in texts)
        ids, segments, parts = np.empty(length, np.int32), np.empty(length, np.int32), np.zeros(length, np.int32)
        at = len(self.pieces[0][0])
        ids[:at], segments[:at] = self.pieces[0]
        for text, kind, segment, special in zip(
            texts, kinds[: len(texts)], self.segments, self.pieces[1:], strict=True
        ):
            middle, end = at + len(text), at + len(text) + len(special[0])
            ids[at:middle], segments[at:middle], parts[at:middle] = text, segment, kind
            ids[middle:end], segments[middle:end] = special
            at = end
        return ids, segments, parts


class Tokenizer:
    """A fast tokenizer with the files it came from; `backend` is a `tokenizers.Tokenizer`.

    `fingerprint` is the SHA-256 of all that decides the tokens: vocabulary, normalisation, splitting and special
    tokens.
    """

    def __init__(self, backend: Any, files: dict[str, bytes]) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend, self._files = backend, files
        self.vocab_size: int = 1 + max(backend.get_vocab(with_added_tokens=True).values())
        self.pad_id: int = _pad_id(backend, files)
        self.single_template = _template(backend, 1)
        self.pair_template = _template(backend, 2)
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
            return cls(backend, files)
        content = _converted(directory, files).to_str().encode()
        # read back, as it is from a saved folder: the library rounds the numbers that it reads
        return cls(_parse(Backend, content, directory), {**files, "tokenizer.json": content})

    def encode(self, texts: Sequence[str]) -> list[Ints]:
        """Token ids of each text, int32 [T], without special tokens, not cut off; lone surrogates become U+FFFD."""
        tokens: list[Ints] = []
        for batch in _batches_of_size(texts):
            encodings = self._backend.encode_batch_fast(batch, add_special_tokens=False)
            tokens += [np.asarray(encoding.ids, np.int32) for encoding in encodings]
        return tokens

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
    try:
        return backend.from_str(content.decode())
    except Exception as error:  # the library raises no narrower class
        raise MissingError(
            f"tokenizer.json cannot be read: {error}",
            where=str(directory),
            fix="save the tokenizer again with a current version of transformers",
        ) from error


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


def _template(backend: Any, parts: int) -> Template:
    """Read the template from the post-processor: encode `parts` probes, and take the tokens added around them."""
    made = backend.encode(*["a"] * parts)
    pieces: list[tuple[list[int], list[int]]] = [([], [])]
    segments: list[int] = []
    for token, segment, part in zip(made.ids, made.type_ids, made.sequence_ids, strict=True):
        if part is None:
            pieces[-1][0].append(token)
            pieces[-1][1].append(segment)
        elif part == len(segments):
            segments.append(segment)
            pieces.append(([], []))
    if len(segments) < parts:
        raise MissingError("the tokenizer has no token for `a`", fix="use a tokenizer with the letters a to z")
    return Template(tuple((tuple(ids), tuple(types)) for ids, types in pieces), tuple(segments))


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
