"""Cross-encoders of published shapes with random weights, which the peer draws: what both sides start from.

Their tokenizer is byte-level BPE of 16,000 tokens over the collections, so that texts have about as many tokens as with
the published ones. The table of embeddings is as large as the published one, since an optimizer goes over all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from benchmarks._turns import Contender
from benchmarks._work import MAXSEQLEN, cross_encoder, peer_python

MINILM = "minilm"
TOKENS = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
VOCABULARY = 16_000
_USUAL = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
SHAPES: dict[str, dict[str, Any]] = {
    "ettin-17m": {
        "model_type": "modernbert",
        "vocab_size": 50368,
        "hidden_size": 256,
        "num_hidden_layers": 7,
        "num_attention_heads": 4,
        "intermediate_size": 384,
        "max_position_embeddings": 7999,
        "local_attention": 128,
        "global_attn_every_n_layers": 3,
        "embedding_dropout": 0.1,
        "attention_dropout": 0.1,
        "mlp_dropout": 0.1,
    },
    "xlmr-small": {
        **_USUAL,
        "model_type": "xlm-roberta",
        "vocab_size": 250002,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    },
    "deberta-v3-small": {
        **_USUAL,
        "model_type": "deberta-v2",
        "vocab_size": 128100,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "max_position_embeddings": 512,
        "type_vocab_size": 0,
        "relative_attention": True,
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "pooler_dropout": 0.0,
        "pooler_hidden_size": 384,
        "pooler_hidden_act": "gelu",
    },
}


def started_from(shape: str, folder: Path, data: Path, maxseqlen: int = MAXSEQLEN) -> Path:
    """Return the directory of a cross-encoder in `folder`: MiniLM, or one of random weights."""
    if shape == MINILM:
        return cross_encoder(folder)
    source, target = folder / "shape", folder / "model"
    source.mkdir()
    _write_tokenizer(source, data, maxseqlen)
    content: dict[str, Any] = {
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "cls_token_id": 0,
        "sep_token_id": 2,
    }
    content |= {"num_labels": 1, "initializer_range": 0.05, **SHAPES[shape]}
    (source / "config.json").write_text(json.dumps(content))
    with Contender(peer_python(), "_peer_side", {"does": "make", "source": str(source), "target": str(target)}):
        return target


def _write_tokenizer(folder: Path, data: Path, maxseqlen: int) -> None:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_texts(data), trainer)
    backend.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    backend.save(str(folder / "tokenizer.json"))
    names = {**TOKENS, "cls_token": "<s>", "sep_token": "</s>", "model_max_length": maxseqlen}
    names |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "attention_mask"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))


def _texts(data: Path) -> Iterator[str]:
    for name in ("vaswani", "cranfield"):
        with (data / name / "corpus.jsonl").open() as file:
            yield from (json.loads(line)["text"] for line in file)
