"""Files with checksums of themselves and of files beside them: without these, and forged so that nothing is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rankcli.storage.sealed import CHECKSUM


def plain(text: str | bytes) -> dict[str, Any]:
    """The content of a `result.json` without checksums."""
    content: dict[str, Any] = json.loads(text)
    return {key: value for key, value in content.items() if key not in (CHECKSUM, "files")}


def forge(path: Path, change: Callable[[dict[str, Any]], Any] = lambda content: None) -> None:
    """Change a file, as one of an older version, which has no checksums."""
    content = plain(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
