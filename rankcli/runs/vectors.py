"""Where base vectors are kept."""

from __future__ import annotations

from rankcli.storage.base import Storage
from rankcli.storage.open import open_storage
from rankcli.storage.places import cache_uri


def vectors_storage(option: str | None) -> Storage:
    """Open the storage of vectors for the option `storage`."""
    return open_storage(f"{cache_uri(option)}/vectors")
