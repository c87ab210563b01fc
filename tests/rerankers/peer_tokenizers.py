"""Tiny tokenizers of every family of encoders, as the files that a model directory has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from rankcli.text.tokenizer import Tokenizer
from rankcli.text.wordpiece import SPECIAL_TOKENS, train_wordpiece

GOLDEN = Path(__file__).parents[1] / "golden" / "tokenizers"
NAMES = {"bos_token": "<s>", "cls_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "sep_token": "</s>"}
CLASSES = {"xlm-roberta": "XLMRobertaTokenizer", "camembert": "CamembertTokenizer", "albert": "AlbertTokenizer"}
CLASSES |= {"deberta-v2": "DebertaV2Tokenizer", "t5": "T5Tokenizer"}
PIECES = 300  # of a vocabulary
ROBERTA = [*dict.fromkeys(NAMES.values()), "<unk>", "<mask>"]


def write(kind: str, texts: Sequence[str], directory: Path) -> Path:
    """Write the tokenizer of a `model_type`, with a vocabulary of these texts or of sentencepiece's golden ones."""
    directory.mkdir()
    if (GOLDEN / kind).exists():
        Tokenizer.open(GOLDEN / kind).save(directory)
        for file in directory.glob("*.model"):
            file.unlink()  # transformers would read it with the library sentencepiece
        (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": CLASSES[kind]}))
    elif kind == "roberta":
        byte_level(texts).save(str(directory / "tokenizer.json"))
        settings(directory, "RobertaTokenizer", unk_token="<unk>")
    elif kind == "modernbert":
        backend = byte_level(texts)
        pair = "<s> $A </s> $B </s>"
        special = [("<s>", 0), ("</s>", 2)]
        backend.post_processor = processors.TemplateProcessing("<s> $A </s>", pair, special)
        backend.save(str(directory / "tokenizer.json"))
        settings(directory, "PreTrainedTokenizerFast", unk_token="<unk>")
    elif kind == "mpnet":
        mpnet(texts).save(str(directory / "tokenizer.json"))
        settings(directory, "MPNetTokenizer", unk_token="[UNK]")
    else:
        train_wordpiece(lambda: texts, PIECES, True).save(directory)
    return directory


def settings(directory: Path, tokenizer_class: str, **more: str) -> None:
    """Write tokenizer_config.json."""
    content = {"tokenizer_class": tokenizer_class, "mask_token": "<mask>", **NAMES, **more}
    (directory / "tokenizer_config.json").write_text(json.dumps(content))


def byte_level(texts: Sequence[str]) -> Backend:
    """RoBERTa's: byte-level BPE, with two separators between the texts of a pair."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES + 256, special_tokens=ROBERTA, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return backend


def mpnet(texts: Sequence[str]) -> Backend:
    """MPNet's: WordPiece with the special tokens of RoBERTa."""
    trained = train_wordpiece(lambda: texts, PIECES, True)._backend.get_vocab()
    pieces = [piece for piece in sorted(trained, key=trained.__getitem__) if piece not in SPECIAL_TOKENS.values()]
    vocabulary = {piece: n for n, piece in enumerate(["<s>", "<pad>", "</s>", "[UNK]", *pieces, "<mask>"])}
    backend = Backend(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"])
    return backend
