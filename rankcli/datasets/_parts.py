"""A file, or the files of the parts of the split, as sources of features name them."""

from __future__ import annotations

from collections.abc import Mapping

PARTS = ("train", "dev", "test")
PATH_HELP = "the file; or {train, dev, test} files, which then make the split; without dev, a fifth of train is dev"


def check_parts(path: str | Mapping[str, str]) -> None:
    """Raise ValueError where `path` has other parts than train, test and perhaps dev."""
    if not isinstance(path, str) and not {"train", "test"} <= set(path) <= set(PARTS):
        raise ValueError(f"path: the parts are {', '.join(path) or 'none'}; give train, test and perhaps dev")


def parts_of(path: str | Mapping[str, str]) -> dict[str, str]:
    """Return the files by part of the split, in its order; the part of a single file is empty."""
    paths = {"": path} if isinstance(path, str) else path
    return {part: paths[part] for part in ("", *PARTS) if part in paths}
