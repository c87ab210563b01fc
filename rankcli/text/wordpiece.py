"""Train a WordPiece vocabulary on a collection, if there is no pretrained tokenizer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rankcli.text.tokenizer import Tokenizer, well_formed

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
MAX_ALPHABET = 1000  # characters of a trained vocabulary; rarer ones become [UNK]
MIN_FREQUENCY = 2  # a word piece seen once gets no place in a trained vocabulary


def train_wordpiece(
    texts: Callable[[], Iterable[str]], vocab_size: int, lowercase: bool, more: Sequence[str] = ()
) -> Tokenizer:
    """Train the vocabulary of a BERT tokenizer (normalisation, splitting, `[CLS] a [SEP] b [SEP]`) on `texts`.

    `texts` is called twice. The result is deterministic: the trainer of `tokenizers` would number the continuation
    pieces (`##x`) of single characters in the order of a randomly seeded hash map, and break ties between merges by
    these numbers. So it is given these pieces already numbered. All characters but the rarest are in the vocabulary,
    which may make it larger than `vocab_size`. Tokens in `more` are in it, but never found in a text.
    """
    from tokenizers.models import WordPiece
    from tokenizers.trainers import WordPieceTrainer

    learner = _bert_backend({}, lowercase)
    alphabet = _alphabet(learner.normalizer.normalize_str, texts(), limit=max(1, min(MAX_ALPHABET, vocab_size // 4)))
    numbered = [*SPECIAL_TOKENS.values(), *more, *(f"##{char}" for char in alphabet)]
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=numbered,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner.model = WordPiece({}, unk_token=SPECIAL_TOKENS["unk_token"])
    learner.train_from_iterator(_batches(texts()), trainer)
    backend = _bert_backend(learner.get_vocab(), lowercase)
    return Tokenizer(backend, _bert_files(backend, lowercase))


def _bert_backend(vocabulary: dict[str, int], lowercase: bool) -> Any:
    """A WordPiece vocabulary with BERT's rules of normalisation, splitting and special tokens."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    backend = Backend(models.WordPiece(vocabulary, unk_token=SPECIAL_TOKENS["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    if vocabulary:
        backend.add_special_tokens(list(SPECIAL_TOKENS.values()))
        around = [(token, vocabulary[token]) for token in (SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"])]
        backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", around)
    return backend


def _bert_files(backend: Any, lowercase: bool) -> dict[str, bytes]:
    """The files from which transformers reads a trained tokenizer."""
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": lowercase,
        "model_max_length": 512,
        **SPECIAL_TOKENS,
    }
    vocabulary = backend.get_vocab()
    return {
        "tokenizer.json": backend.to_str().encode(),
        "tokenizer_config.json": json.dumps(settings, indent=2).encode(),
        "special_tokens_map.json": json.dumps(SPECIAL_TOKENS, indent=2).encode(),
        "vocab.txt": "".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.__getitem__)).encode(),
    }


def _alphabet(normalize: Callable[[str], str], texts: Iterable[str], limit: int) -> list[str]:
    """The `limit` most frequent characters of the normalised texts, in code point order."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalize(well_formed(text)))
    written = [char for char in counts if not char.isspace()]
    return sorted(sorted(written, key=lambda char: (-counts[char], char))[:limit])


def _batches(texts: Iterable[str], size: int = 1000) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(well_formed(text))
        if len(batch) == size:
            yield batch
            batch = []
    yield batch
