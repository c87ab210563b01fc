"""Vocabularies of sentencepiece (`spm.model`, ...) as fast tokenizers, for directories without a `tokenizer.json`.

The converters are those of transformers, which made the `tokenizer.json` files on the hub. They read the file with
protobuf. The classes above them ask for the library sentencepiece as well, and some leave out its normalisation.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rankcli.errors import MissingError

FILES = ("sentencepiece.bpe.model", "spm.model", "spiece.model", "tokenizer.model")
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
_DEFAULTS = {"keep_accents": False, "split_by_punct": False, "extra_ids": 100}


def converted(file: Path, kind: str, settings: Mapping[str, Any]) -> Any:
    """Return the `tokenizers.Tokenizer` of a file, for a tokenizer class of transformers with these settings.

    MissingError if the file is damaged, or of a kind that fast tokenizers do not compute.
    """
    read = {key: settings.get(key, default) for key, default in _DEFAULTS.items()}
    lower = settings.get("do_lower_case", kind == "AlbertTokenizer")
    slow = SimpleNamespace(vocab_file=str(file), do_lower_case=lower, _extra_ids=read["extra_ids"], **read)
    try:
        converter = _converters()[kind](slow)
        numbered = {piece: n for n, (piece, _) in enumerate(converter.vocab(converter.proto))}
        slow.convert_tokens_to_ids = numbered.__getitem__
        if not converter.proto.pieces:
            raise _unreadable(file, "it has no pieces")
        if converter.proto.trainer_spec.byte_fallback:
            raise _unreadable(file, "unknown characters become bytes (byte_fallback), which is not supported")
        backend = converter.converted()
    except MissingError:
        raise
    except Exception as error:  # neither protobuf nor tokenizers raises a narrower class
        raise _unreadable(file, f"{type(error).__name__}: {error}") from error
    return _finished(backend, numbered)


def reads(kind: str) -> bool:
    """True if transformers has a converter for this tokenizer class."""
    return kind in _converters()


def _converters() -> Mapping[str, Any]:
    module = importlib.import_module("transformers.convert_slow_tokenizer")  # the package has a function of this name
    found: Mapping[str, Any] = module.SLOW_TO_FAST_CONVERTERS
    return found


def _finished(backend: Any, numbered: Mapping[str, int]) -> Any:
    """Drop spaces at the ends of a text, which ALBERT's converter leaves, and let special tokens in a text be found."""
    from tokenizers import AddedToken, normalizers

    backend.normalizer = normalizers.Sequence([backend.normalizer, normalizers.Strip()])
    known = [token for token in _SPECIAL if token in numbered]
    backend.add_special_tokens([AddedToken(token, lstrip=token in ("<mask>", "[MASK]")) for token in known])
    return backend


def _unreadable(file: Path, what: str) -> MissingError:
    fix = "save it as a fast tokenizer: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
    return MissingError(f"{file.name} cannot be read: {what}", where=str(file.parent), fix=fix)
