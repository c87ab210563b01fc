"""Resolve names of pretrained models to directories, also from buckets; the only module that uses the hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rankcli.errors import ConfigError, MissingError
from rankcli.log import say
from rankcli.storage.base import is_remote
from rankcli.storage.inputs import local_tree
from rankcli.text import peft

SMALL_FILES = ("*.json", "*.txt", "*.model")  # configurations and tokenizers
SAFETENSORS = (
    "model.safetensors",
    "model-*.safetensors",
    peft.WEIGHTS,
    *(f"*_{kind}/model.safetensors" for kind in ("Dense", "LayerNorm")),
)


def resolve(name: str, check: Callable[[Path], str] | None = None) -> Path:
    """The directory of a model: `name` itself, or a copy of a `gs://` directory or of a model of the hub.

    A copy is downloaded once. Weights come as safetensors if there are any, else as `tf_model.h5`; nothing else is
    downloaded. A directory of `peft` becomes a copy of its model, with the adapter merged. ConfigError for a path that
    does not exist, MissingError if the hub cannot give the model. Before weights are downloaded from the hub, `check`
    gets the directory of the small files: it returns a few words about the model, which are told, or raises an error.
    """

    def find(name: str) -> Path:
        return _directory(name, check)

    found = find(name)
    return peft.merged(found, find) if peft.is_adapter(found) else found


def _directory(name: str, check: Callable[[Path], str] | None) -> Path:
    if is_remote(name):
        return _with_weights(local_tree, name)
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if not re.fullmatch(r"[\w][\w.-]*(/[\w][\w.-]*)?", name, re.ASCII) or path.exists():
        raise ConfigError(f"no such model directory: {name}", fix="give a directory or a hub id such as `org/model`")
    say(f"{name}: no such directory; downloading it from the Hugging Face Hub")
    small = _download(name, SMALL_FILES)
    if check is not None and (small / "config.json").is_file():
        say(f"{name}: {check(small)}{_size(name)}")
    return _with_weights(_download, name)


def _size(name: str) -> str:
    """Return the size of a model's weights, as the hub tells it; nothing where it does not."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        files = huggingface_hub.HfApi().model_info(name, files_metadata=True).siblings or []
    except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError, ValueError):
        return ""
    sizes = {file.rfilename: file.size or 0 for file in files}
    found = [size for each, size in sizes.items() if any(fnmatchcase(each, pattern) for pattern in SAFETENSORS)]
    total = sum(found) or sizes.get("tf_model.h5", 0)
    return f", {total / 1e6:,.0f} MB of weights" if total else ""


def _with_weights(download: Callable[[str, Sequence[str]], Path], name: str) -> Path:
    directory = download(name, (*SMALL_FILES, *SAFETENSORS))
    if not any(directory.glob("model*.safetensors")) and not peft.is_adapter(directory):
        directory = download(name, (*SMALL_FILES, "tf_model.h5"))
    return directory


def _download(name: str, patterns: Sequence[str]) -> Path:
    import huggingface_hub
    from huggingface_hub import errors, utils

    utils.disable_progress_bars()  # type: ignore[attr-defined]
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(patterns)))
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingError(
            f"model {name!r} is not a directory here and cannot be downloaded: {reason}",
            fix="check the id; or give the directory of a downloaded model; or set HF_HOME to the cache that holds it, "
            "with HF_HUB_OFFLINE=1 where there is no network",
        ) from error
