"""Models that no family computes: the reasons by settings of config.json, and the nearest models that work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rankcli.config.registry import Registry
from rankcli.errors import ConfigError

SMALL = "cross-encoder/ms-marco-MiniLM-L6-v2"
LONG = "Alibaba-NLP/gte-reranker-modernbert-base"
LANGUAGES = "BAAI/bge-reranker-v2-m3"
LARGE = "cross-encoder/ettin-reranker-1b-v1"
_DECODER = "a decoder, which reads from left to right; only encoders are supported"
_PAIR = "an encoder with a decoder; only its encoder could be used, and is not"
_POSITIONS = "an encoder whose positions or attention are not computed here"
_VISION = "a model of images and text"
_KINDS: dict[tuple[str, ...], tuple[str, str]] = {
    ("qwen2", "qwen3", "qwen3_5", "llama", "llama_bidirec", "gemma", "gemma2", "gemma3_text"): (_DECODER, LARGE),
    ("mistral", "phi3", "gpt2", "gpt_neox", "gptj", "opt", "bloom", "falcon", "minicpm", "smollm3"): (_DECODER, LARGE),
    ("bart", "mbart", "t5gemma", "t5gemma2", "pegasus"): (_PAIR, LARGE),
    ("mt5", "umt5"): (_PAIR, LANGUAGES),
    ("new", "gte", "xlm-roberta-flash", "nomic_bert", "neobert", "eurobert"): (_POSITIONS, LANGUAGES),
    ("longformer", "big_bird", "nystromformer", "reformer", "funnel", "deberta", "xlnet"): (_POSITIONS, LONG),
    ("clip", "siglip", "qwen2_vl", "qwen3_vl", "idefics3"): (_VISION, LONG),
}
_REFUSED = {kind: refusal for kinds, refusal in _KINDS.items() for kind in kinds}


def check_kind(content: Mapping[str, Any], registry: Registry, where: str) -> str:
    """Return the `model_type` of a config.json; one ConfigError lists why no family computes it."""
    kind, names = content.get("model_type"), registry.names()
    if isinstance(kind, str) and registry.canonical(kind) in names:
        return kind
    reason, nearest = _REFUSED.get(kind, ("", SMALL)) if isinstance(kind, str) else ("", SMALL)
    named = f"model_type is {kind!r}" if kind else "model_type is missing"
    faults = [f"{named}, {reason}" if reason else f"{named}; supported are {', '.join(names)}", *refused(content)]
    raise ConfigError("; ".join(faults), where=where, fix=f"use {nearest}, the nearest model that works")


def refused(content: Mapping[str, Any]) -> list[str]:
    """Return the settings that no family computes: code of its own, decoders, pruned heads, quantised weights."""
    faults = []
    if code := content.get("auto_map"):
        files = sorted({str(name) for name in (code.values() if isinstance(code, dict) else [code])})
        faults.append(f"auto_map: code of its own, which is never run ({', '.join(files)})")
    if content.get("is_decoder") or content.get("add_cross_attention"):
        faults.append("a decoder; only encoders are supported")
    if content.get("pruned_heads"):
        faults.append(f"pruned_heads {content['pruned_heads']!r}: layers must have all heads")
    if quantised := content.get("quantization_config"):
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else quantised
        faults.append(f"quantization_config: weights are quantised ({method}); only plain numbers are read")
    return faults


def nearest(content: Mapping[str, Any]) -> str:
    """Return advice on a model in place of one with settings that are not supported."""
    long = isinstance(size := content.get("max_position_embeddings"), int) and size > 1024
    many = isinstance(words := content.get("vocab_size"), int) and words > 120_000
    return f"use {LANGUAGES if many else LONG if long else SMALL}, the nearest model that works"
