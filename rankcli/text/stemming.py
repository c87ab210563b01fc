"""Snowball stemmers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

# The stemmers of every PyStemmer since 2.0.
# fmt: off
Stemmer = Literal[
    "none", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german",
    "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "porter",
    "portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish",
]
# fmt: on


def stemmer(name: str) -> Callable[[list[str]], list[str]]:
    """The function from words to their stems; `none` changes nothing."""
    if name == "none":
        return lambda words: words
    import Stemmer as snowball

    stem: Callable[[list[str]], list[str]] = snowball.Stemmer(name).stemWords
    return stem
