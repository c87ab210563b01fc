"""Model directories that other tools made: which reranker and extractor they stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.errors import MissingError
from rankcli.log import warn
from rankcli.text.weights import small_file

_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
LONGEST = 512  # tokens, where a directory does not say less


def options_for(directory: Path) -> tuple[Any, Any]:
    """Options of the reranker and of the extractor: a cross-encoder for a classifier, a bi-encoder where vectors are
    pooled.
    """
    listed = _json(directory / "modules.json") or []
    modules = {module["type"].rpartition(".")[2]: module["path"] for module in listed}
    architecture = (_json(directory / "config.json").get("architectures") or [""])[0]
    _warn_of_prompts(directory)
    if architecture.endswith("ForSequenceClassification") and modules.keys() <= {"Transformer"}:
        return _crossencoder(directory)
    if modules:
        return _biencoder(directory, modules)
    raise _unknown(directory, "neither a classifier nor a model of sentence-transformers nor one that rankcli saved")


def _crossencoder(directory: Path) -> tuple[Any, Any]:
    """A classifier; sentence-transformers lists its transformer as the only module, or lists nothing."""
    maxseqlen = _longest(directory)
    extractor = EXTRACTORS.get("passage")(maxseqlen=maxseqlen, maxqlen=max(1, maxseqlen // 2 - 4))
    return RERANKERS.get("crossencoder")(), extractor


def _biencoder(directory: Path, modules: Mapping[str, str]) -> tuple[Any, Any]:
    """A transformer, pooling and perhaps normalisation; a bi-encoder here computes nothing beyond that."""
    if (
        not {"Transformer", "Pooling"} <= modules.keys() <= {"Transformer", "Pooling", "Normalize"}
        or modules["Transformer"]
    ):
        raise _unknown(
            directory,
            f"a sentence-transformers model of {', '.join(modules)}; supported: Transformer, Pooling, Normalize",
        )
    similarity = _json(directory / "config_sentence_transformers.json").get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "dot"):
        raise _unknown(directory, f"similarity {similarity!r}; supported: cosine, dot")
    if "Normalize" in modules:
        similarity = "cosine"
    pooling = _pooling(directory, _json(directory / modules["Pooling"] / "config.json"))
    length = _longest(directory)
    extractor = EXTRACTORS.get("apart")(maxqlen=length, maxdoclen=length)
    return RERANKERS.get("biencoder")(pooling=pooling, similarity=similarity), extractor


def _pooling(directory: Path, content: Mapping[str, Any]) -> str:
    """By `pooling_mode`, or by the flags that came before it."""
    chosen = content.get("pooling_mode") or [
        key for key, on in content.items() if key.startswith("pooling_mode_") and on
    ]
    names = [_POOLINGS.get(name, name) for name in ([chosen] if isinstance(chosen, str) else chosen)]
    if len(names) != 1 or names[0] not in _POOLINGS.values():
        raise _unknown(directory, f"pooling by {' and '.join(names) or 'nothing'}; supported: mean, cls")
    return names[0]


def _warn_of_prompts(directory: Path) -> None:
    """sentence-transformers puts these before texts; an extractor does not."""
    prompts = _json(directory / "config_sentence_transformers.json").get("prompts") or {}
    if named := sorted(name for name, text in prompts.items() if text):
        warn(f"{directory}: its prompts ({', '.join(named)}) are not put before the texts")


def _longest(directory: Path) -> int:
    """The smallest of the lengths that the directory's files name."""
    named = [
        _json(directory / "sentence_bert_config.json").get("max_seq_length"),
        _json(directory / "tokenizer_config.json").get("model_max_length"),
        _json(directory / "config.json").get("max_position_embeddings"),
    ]
    return int(min([LONGEST, *(length for length in named if length)]))


def _json(file: Path) -> Any:
    """What a JSON file holds; nothing where there is no file."""
    if not file.is_file():
        return {}
    try:
        return json.loads(small_file(file))
    except (ValueError, RecursionError) as error:
        raise _unknown(file, f"not readable as JSON ({error})") from error


def _unknown(place: Path, what: str) -> MissingError:
    return MissingError(
        f"cannot be opened as a reranker: {what}", where=str(place), fix="name a directory that rankcli saved"
    )
